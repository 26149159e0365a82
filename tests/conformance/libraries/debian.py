"""Libraries that Debian brings as packages, each driven by a program in its own language."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import psycopg

from conformance import starting
from conformance.library import DONE

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = Path(__file__).parent


class Packaged:
    """What the drivers have in common.

    Attributes:
        program: the command of the library's program, which knows ``create``, ``enqueue`` and ``work``.
        packages: what it needs; the first one's version is the library's.
    """

    program: ClassVar[tuple[str, str]]
    packages: ClassVar[tuple[str, ...]]

    def missing(self) -> str | None:
        here = _installed(self.packages)
        if absent := [package for package in self.packages if package not in here]:
            return f"not installed: apt-get install --no-install-recommends {' '.join(absent)}"
        return None

    def version(self) -> str:
        return _upstream(_installed(self.packages)[self.packages[0]])

    def create(self, dsn: str) -> None:
        self._call(dsn, "create")
        with psycopg.connect(dsn) as connection:
            connection.execute(DONE)

    def enqueue(self, dsn: str, seconds: Sequence[float]) -> list[str]:
        return self._call(dsn, "enqueue", *(f"{one:g}" for one in seconds))

    def worker(self, dsn: str) -> subprocess.Popen[bytes]:
        return starting.start([*self.program, "work"], HERE, **starting.variables(dsn))

    def collide(self, dsn: str) -> None:
        """Nothing can collide: none of these tables has a unique key beside its primary key."""

    def _call(self, dsn: str, *words: str) -> list[str]:
        """Run the program to its end; the words that it prints."""
        return starting.call([*self.program, *words], HERE, dsn)


def _installed(packages: Sequence[str]) -> dict[str, str]:
    """The versions of those packages that are installed; of none where the system is not Debian's kin."""
    asked = ["dpkg-query", "--show", "--showformat", "${db:Status-Status} ${Package} ${Version}\n", *packages]
    try:
        told = subprocess.run(
            asked, capture_output=True, text=True, check=False, timeout=starting.CALL_SECONDS
        ).stdout
    except FileNotFoundError:
        return {}
    rows = [line.split() for line in told.splitlines()]
    return {package: version for status, package, version in rows if status == "installed"}


def _upstream(version: str) -> str:
    """A package's version without what the distribution adds to it."""
    return re.sub(r"^\d+:|[-+].*$", "", version)
