"""Whom the server runs as: PostgreSQL refuses root, so there it runs as another user."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from queuewarden.errors import UnavailableError

if TYPE_CHECKING:
    from queuewarden.adapters.postgres.binaries import Binaries

PARTIAL: Final = ".partial-"
"""What the name of a directory begins with that was made somewhere else than where temporary ones are."""

_NAMES: Final = ("postgres", "nobody")
_SOCKET_PATH_ROOM: Final = 60  # a socket's path holds about 100 bytes, and ours adds some 35 to this
_TRAVERSABLE: Final = 0o001


@dataclass(frozen=True, slots=True)
class Account:
    """The user that the server runs as; ``uid`` is None where it is simply ours."""

    uid: int | None = None
    gid: int | None = None

    @classmethod
    def choose(cls) -> Account:
        """Ourselves; as root, the user ``postgres``, else ``nobody``.

        Raises:
            UnavailableError: we are root, and there is no such user.

        """
        if os.geteuid() != 0:
            return cls()
        for name in _NAMES:
            try:
                entry = pwd.getpwnam(name)
            except KeyError:
                continue
            return cls(entry.pw_uid, entry.pw_gid)
        raise UnavailableError(
            "PostgreSQL refuses to run as root, and there is no user postgres or nobody to run it as; "
            "run as an ordinary user"
        )

    @property
    def groups(self) -> tuple[int, ...] | None:
        """Supplementary groups of a child that runs as this user; None where they stay as they are."""
        return None if self.uid is None else ()

    def prefix(self) -> tuple[str, ...]:
        """What a person puts before a command to run it as this user."""
        if self.uid is None:
            return ()
        return ("setpriv", f"--reuid={self.uid}", f"--regid={self.gid}", "--clear-groups")

    def directory(self, base: Path | None = None) -> Path:
        """A new private directory: this user's, reachable by it, its path short enough for a socket.

        Args:
            base: where it is made, unless another user has to reach it; None: where temporary ones are.
        """
        if base is not None and self.uid is None:
            return Path(tempfile.mkdtemp(prefix=PARTIAL, dir=base))
        base = Path(tempfile.gettempdir()).resolve()
        reachable = self.uid is None or all(
            path.stat().st_mode & _TRAVERSABLE for path in (base, *base.parents)
        )
        if len(str(base)) > _SOCKET_PATH_ROOM or not reachable:
            base = Path("/tmp")  # noqa: S108 -- mkdtemp below creates a private directory in it
        created = Path(tempfile.mkdtemp(prefix="queuewarden-", dir=base))
        self.own(created)
        return created

    def own(self, top: Path) -> None:
        """Give a directory and all that is in it to this user."""
        if self.uid is None or self.gid is None:
            return
        for path in (top, *top.rglob("*")):
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def usable(self, binaries: Binaries, directory: Path) -> Path:
        """The programs; a copy in ``directory`` where this user may not read them (a wheel in root's home).

        Raises:
            UnavailableError: they are unreadable, and not of the wheel, which alone can be copied.

        """
        if self.uid is None or self._can_run(binaries.directory / "postgres"):
            return binaries.directory
        if binaries.source != "wheel":
            raise UnavailableError(
                f"PostgreSQL refuses to run as root, and the user it runs as instead (uid {self.uid}) cannot "
                f"read {binaries.directory}; open it with chmod, or run as an ordinary user"
            )
        install = binaries.directory.parent
        package, copies = install.parent, directory / "wheel"
        copy = copies / package.name / install.name
        shutil.copytree(install, copy, symlinks=True, ignore=shutil.ignore_patterns("include", "*.a"))
        for libraries in (package.parent / f"{package.name}.libs", package / ".dylibs"):
            if libraries.is_dir():
                shutil.copytree(libraries, copies / libraries.relative_to(package.parent))
        self.own(copies)
        return copy / "bin"

    def _can_run(self, program: Path) -> bool:
        try:
            subprocess.run(  # noqa: S603 -- the program asked for its version is the one to be run
                [program, "--version"],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                timeout=5,
                check=True,
                user=self.uid,
                group=self.gid,
                extra_groups=self.groups,
            )
        except (OSError, subprocess.SubprocessError):
            return False
        return True
