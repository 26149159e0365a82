"""A box: the machine's own systemd as PID 1 of fresh namespaces, over a scratch layer of the machine's root.

Nothing that happens inside reaches the machine's files. The network is the machine's own.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Self

from eventually import eventually

if TYPE_CHECKING:
    from collections.abc import Mapping

PID1 = Path(__file__).with_name("pid1.sh")
TOOLS = ("unshare", "nsenter", "setpriv", "findmnt", "systemctl", "systemd-analyze")
JOIN_CGROUP = 'echo $$ >"$0/cgroup.procs"; exec "$@"'
"""First, so that this cgroup becomes the root of the cgroup namespace."""
UNSHARED = (
    "setpriv --pdeathsig=KILL unshare --mount --pid --uts --ipc --cgroup --propagation=private "
    "--fork --kill-child=KILL --"
)
"""Namespaces that end with the tests, however these end."""
PATIENCE = 60.0
"""Seconds that anything in a box may take, unless a test says otherwise."""


def obstacle() -> str | None:
    """Why no box can be started here; None where one can."""
    if os.geteuid() != 0:
        return "a box with systemd needs root"
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if missing or not Path("/lib/systemd/systemd").exists():
        return f"a box needs systemd and util-linux; missing: {', '.join(missing) or '/lib/systemd/systemd'}"
    hierarchy = _cgroup2()
    if hierarchy is None:
        return "a box needs a mounted cgroup2 hierarchy"
    if not os.access(hierarchy, os.W_OK) or os.statvfs(hierarchy).f_flag & os.ST_RDONLY:
        return f"a box needs a writable {hierarchy}"
    namespaces = ["unshare", "--mount", "--pid", "--fork", "true"]
    if subprocess.run(namespaces, capture_output=True, check=False).returncode:
        return "a box needs the right to make namespaces"
    return None


def _cgroup2() -> Path | None:
    found = subprocess.run(
        ["findmnt", "--noheadings", "--raw", "--output", "TARGET", "--types", "cgroup2"],
        capture_output=True,
        check=False,
        text=True,
    ).stdout.split()
    return Path(found[0]) if found else None


class Box:
    """A systemd of our own, from `with` to its end.

    Args:
        scratch: a directory for it alone.
        binds: directories of the machine to their places inside.
    """

    def __init__(self, scratch: Path, binds: Mapping[Path, str]) -> None:
        self._scratch = scratch
        self._binds = binds
        self._console = scratch / "console.log"
        hierarchy = _cgroup2()
        assert hierarchy is not None
        self._cgroup = hierarchy / f"queuewarden-box-{os.getpid()}-{scratch.name}"
        self._outer: subprocess.Popen[bytes] | None = None
        self._pid1 = 0

    def __enter__(self) -> Self:
        self._cgroup.mkdir()
        binds = [str(part) for bind in self._binds.items() for part in bind]
        with self._console.open("wb") as console:
            self._outer = subprocess.Popen(
                ["sh", "-c", JOIN_CGROUP, self._cgroup, *UNSHARED.split(), PID1, self._scratch, *binds],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )
        try:
            eventually(self._booted, seconds=PATIENCE, what="systemd has booted")
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def run(
        self,
        *command: str | Path,
        check: bool = True,
        timeout: float = PATIENCE,
        env: Mapping[str, str] | None = None,
        stdin: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside, as root; a failure shows what it said.

        Raises:
            AssertionError: with `check`, the command did not exit with 0.
        """
        ended = subprocess.run(
            ["nsenter", "--target", str(self._pid1), "--all", "--", *command],
            env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8", **(env or {})},
            input=None if stdin is None else stdin.encode(),
            capture_output=True,
            check=False,
            timeout=timeout,
        )
        # Decoded here: the text mode would turn a carriage return into a newline.
        stdout, stderr = ended.stdout.decode(), ended.stderr.decode()
        assert not check or ended.returncode == 0, f"{command}: {ended.returncode}\n{stdout}{stderr}"
        return subprocess.CompletedProcess(ended.args, ended.returncode, stdout, stderr)

    def write(self, path: str, content: str) -> None:
        """Write a file inside, with the folders above it; an existing one keeps owner and mode."""
        self.run("sh", "-c", 'mkdir -p "${1%/*}" && cat >"$1"', "sh", path, stdin=content)

    def _booted(self) -> bool:
        assert self._outer is not None
        if self._outer.poll() is not None:
            raise AssertionError(f"no systemd: {self._console.read_text()}")
        children = Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children").read_text().split()
        if not children:
            return False
        self._pid1 = int(children[0])
        # Until it is systemd, it has the machine's own /run, where another systemd might answer.
        if Path(f"/proc/{self._pid1}/comm").read_text() != "systemd\n":
            return False
        state = self.run("systemctl", "is-system-running", check=False).stdout.strip()
        return state in {"running", "degraded"}

    def _end(self) -> None:
        if self._outer is None:
            return
        self._outer.kill()
        self._outer.wait()
        # The kernel takes the whole PID namespace down with its PID 1; only then is the cgroup empty.
        eventually(self._removed, seconds=PATIENCE, what="the cgroup of the box is empty")

    def _removed(self) -> bool:
        for folder, _, _ in os.walk(self._cgroup, topdown=False):
            with contextlib.suppress(OSError):
                Path(folder).rmdir()
        return not self._cgroup.exists()
