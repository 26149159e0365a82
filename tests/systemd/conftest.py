"""A box with a fresh installation in it, once a run; each test finds it as `make install-systemd` left it."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import servers
from eventually import eventually

from .box import PATIENCE, Box, obstacle

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CHECKOUT = Path(__file__).parents[2]
PARTS = ("pyproject.toml", "README.md", "LICENSE", "src", "config", "systemd")
PYTHON = "/usr/bin/python3"
SOCKETS = "/run/postgresql"
UNIT = "/etc/systemd/system/queuewarden.service"
OF_UPKEEP = "queuewarden-upkeep"
UPKEEP = f"{OF_UPKEEP}@prod"
UPKEEP_UNITS = (
    "/etc/systemd/system/queuewarden-upkeep@.service",
    "/etc/systemd/system/queuewarden-upkeep@.timer",
)
PLACES = (
    "/opt/queuewarden",
    "/etc/queuewarden",
    UNIT,
    *UPKEEP_UNITS,
    "/etc/sysusers.d",
    "/usr/local/bin/queuewarden",
)
SNAPSHOT = "/srv/snapshot"
SLOW = 120.0
"""Seconds for an installation on a busy machine."""


def pytest_itemcollected(item: pytest.Item) -> None:
    # The first one waits for the installation, too, which one process makes for all of them.
    item.add_marker(pytest.mark.timeout(300))
    item.add_marker(pytest.mark.xdist_group("systemd"))


@pytest.fixture(scope="session")
def postgresql() -> Iterator[servers.OwnServer]:
    """A server whose sockets the box has at the usual place, open to the unit's own user."""
    source = next((source for source in servers.find_sources() if source.binaries), None)
    if source is None:
        pytest.skip("no PostgreSQL binaries here that a box could reach")
    server = servers.start_own(source, unix_socket_permissions="0777")
    try:
        server.server.directory.chmod(0o755)
        yield server
    finally:
        server.close()


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All that an installation needs, so that the box needs no package index."""
    reason = obstacle()
    if reason is not None:
        pytest.skip(reason)
    probe = "import ensurepip, sys; sys.exit(sys.version_info < (3, 11))"
    if subprocess.run([PYTHON, "-c", probe], capture_output=True, check=False).returncode:
        pytest.skip(f"{PYTHON} is missing, older than 3.11, or without its module venv")
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    with (shared / "wheels.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / "wheels").exists():
            build_wheels(shared / "wheels")
    return shared / "wheels"


def build_wheels(folder: Path) -> None:
    """The checkout, all that it requires, and what building it takes."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        pip, built = Path(scratch, "pip"), Path(scratch, "built")
        subprocess.run([PYTHON, "-m", "venv", pip], check=True)
        wanted = [f"{CHECKOUT}[http,notify]", *build_requirements()]
        subprocess.run([pip / "bin/pip", "wheel", "--quiet", "--wheel-dir", built, *wanted], check=True)
        built.rename(folder)


def build_requirements() -> list[str]:
    """What a build of the checkout installs for itself."""
    found = re.search(r"^requires = (\[.*\])$", (CHECKOUT / "pyproject.toml").read_text(), re.MULTILINE)
    assert found is not None
    requirements: list[str] = json.loads(found[1])
    return requirements


@dataclass(frozen=True)
class Installed:
    """A box with queuewarden in it.

    Attributes:
        checkouts: shared with the box, where they are below /srv/checkouts.
        first: the output of the first installation.
    """

    box: Box
    checkouts: Path
    first: str

    def checkout(self, version: str) -> str:
        """A checkout of that version; its place inside."""
        folder = self.checkouts / version
        if not folder.exists():
            copy_checkout(folder)
            init = folder / "src/queuewarden/__init__.py"
            init.write_text(re.sub(r'__version__ = ".*"', f'__version__ = "{version}"', init.read_text()))
        return f"/srv/checkouts/{version}"

    def install(
        self, checkout: str, *, check: bool = True, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run its installation, as `make install-systemd` does."""
        return install(self.box, checkout, check=check, env=env)


def install(
    box: Box, checkout: str, *, check: bool = True, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    pip = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/srv/wheels", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    return box.run(f"{checkout}/systemd/install.sh", check=check, timeout=SLOW, env={**pip, **(env or {})})


def copy_checkout(folder: Path) -> None:
    folder.mkdir()
    for part in PARTS:
        source = CHECKOUT / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder)


@pytest.fixture(scope="session")
def first_installation(
    tmp_path_factory: pytest.TempPathFactory, wheels: Path, postgresql: servers.OwnServer
) -> Iterator[Installed]:
    checkouts = tmp_path_factory.mktemp("checkouts")
    copy_checkout(checkouts / "first")
    binds = {wheels: "/srv/wheels", checkouts: "/srv/checkouts", postgresql.server.directory: SOCKETS}
    with Box(tmp_path_factory.mktemp("box"), binds) as box:
        said = install(box, "/srv/checkouts/first").stdout
        box.run("mkdir", SNAPSHOT)
        box.run("cp", "-a", "--parents", *PLACES, SNAPSHOT)
        yield Installed(box, checkouts, said)


@pytest.fixture
def installed(first_installation: Installed) -> Iterator[Installed]:
    """The box as the first installation left it, with nothing running."""
    yield first_installation
    box = first_installation.box
    box.run("systemctl", "stop", "queuewarden", "queuewarden-upkeep@*", check=False)
    box.run("systemctl", "disable", "--quiet", "queuewarden", f"{UPKEEP}.timer", check=False)
    state = [
        f"{folder}{name}"
        for folder in ("/var/lib/private/", "/var/lib/")
        for name in ("queuewarden", OF_UPKEEP)
    ]
    box.run("rm", "-rf", *PLACES, *(f"{unit}.d" for unit in (UNIT, *UPKEEP_UNITS)), *state)
    box.run("cp", "-a", f"{SNAPSHOT}/.", "/")
    box.run("systemctl", "daemon-reload")
    box.run("systemctl", "reset-failed")


class Service:
    """The service in the box: its configuration, its state, its journal."""

    def __init__(self, box: Box) -> None:
        self.box = box
        self._since = box.run("date", "+%s.%N").stdout.strip()

    def configure(self, **variables: str) -> None:
        """Write the configuration: names without their prefix."""
        lines = [f"QUEUEWARDEN_{name}={value}\n" for name, value in variables.items()]
        self.box.write("/etc/queuewarden/queuewarden.env", "".join(lines))

    def credential(self, name: str, content: str) -> None:
        """Write a secret, readable for root only."""
        self.box.write(f"/etc/queuewarden/credentials/{name}", content)
        self.box.run("chmod", "0600", f"/etc/queuewarden/credentials/{name}")

    def drop_in(self, *lines: str) -> None:
        """Settings of the unit for this test."""
        self.box.write(f"{UNIT}.d/test.conf", "\n".join(("[Service]", *lines)))
        self.box.run("systemctl", "daemon-reload")

    def start(self, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Start; returns when the daemon has said READY=1, or has failed."""
        return self.box.run("systemctl", "start", "queuewarden", check=check)

    def show(self, name: str) -> str:
        """A property of the unit."""
        return self.box.run(
            "systemctl", "show", "queuewarden", f"--property={name}", "--value"
        ).stdout.strip()

    def journal(self, *matches: str) -> list[dict[str, Any]]:
        """The entries of this test that match, oldest first; all that was said by now is among them."""
        self.box.run("journalctl", "--sync")
        shown = self.box.run(
            "journalctl",
            "--unit=queuewarden",
            f"--since=@{self._since}",
            "--output=json",
            "--no-pager",
            *matches,
        )
        return [json.loads(line) for line in shown.stdout.splitlines()]

    def wait_for(self, event: str, *matches: str) -> dict[str, Any]:
        """The first entry of an event, when it is there."""

        def found() -> list[dict[str, Any]]:
            entries = self.journal(*matches)
            return [entry for entry in entries if str(entry["MESSAGE"]).split()[:1] == [event]]

        return eventually(found, seconds=PATIENCE, what=f"the journal has {event}")[0]


@pytest.fixture
def service(installed: Installed) -> Service:
    return Service(installed.box)
