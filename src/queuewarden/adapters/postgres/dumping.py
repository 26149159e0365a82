"""``pg_dump`` and ``pg_restore``: which ones fit a server, and how they are told where it is."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import psycopg
from psycopg import conninfo

from queuewarden.adapters.postgres.binaries import candidates, numbers
from queuewarden.adapters.postgres.children import FailedError, environment, run
from queuewarden.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path
    from typing import IO

LOCK_WAIT: Final = "10s"
"""How long a dump waits for each table that somebody else has locked against readers."""

REMEDY: Final = "install one (on Debian: postgresql-client), or: pip install 'queuewarden[demo]'"

_PROGRAMS: Final = ("pg_dump", "pg_restore")
_DEFAULTS: Final = {
    "connect_timeout": "10",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}
_APPLICATION: Final = "queuewarden/upkeep"
_OTHER_SECRETS: Final = ("sslpassword", "scram_client_key", "scram_server_key", "oauth_client_secret")
# Set by each restore since this version; older servers do not know it, and need not.
_NEW_SETTING: Final = '"transaction_timeout"'
_NEW_SETTING_SINCE: Final = 17


@dataclass(frozen=True, slots=True)
class Tools:
    """Both programs, of one installation.

    Attributes:
        directory: where they stand.
        version: as they print it, such as ``15.14``.
    """

    directory: Path
    version: str

    @property
    def major(self) -> int:
        """The major version."""
        return numbers(self.version)[0]

    async def dump(self, dsn: str, snapshot: str, within: float, take: Callable[[bytes], None]) -> None:
        """Dump a whole database in the custom format.

        Args:
            dsn: which database.
            snapshot: as `pg_export_snapshot` names it; its transaction must last as long.
            within: seconds that it may take.
            take: is given the dump, piece by piece.

        Raises:
            UnavailableError: it did not come to its end; the message holds what it said.
        """
        options = ["--format=custom", f"--snapshot={snapshot}", f"--lock-wait-timeout={LOCK_WAIT}"]
        await self._run("pg_dump", options, dsn, within, take=take)

    async def restore(
        self, dsn: str, server_major: int, dump: IO[bytes], within: float, *, bare: bool = False
    ) -> None:
        """Restore a dump into an empty database; the first error ends it.

        Args:
            dsn: which database.
            server_major: its server's version.
            dump: the file.
            within: seconds that it may take.
            bare: without owners, privileges, tablespaces and publications; subscriptions never are restored.

        Raises:
            UnavailableError: it did not come to its end; the message holds what it said.
        """
        # A subscription would share the slot of the original, and keep the database from being dropped.
        options = ["--no-subscriptions"]
        if bare:
            options += ["--no-owner", "--no-privileges", "--no-tablespaces", "--no-security-labels"]
            options += ["--no-publications"]
        if not server_major < _NEW_SETTING_SINCE <= self.major:
            await self._run("pg_restore", ["--exit-on-error", *options], dsn, within, stdin=dump)
            return
        try:
            await self._run("pg_restore", options, dsn, within, stdin=dump)
        except FailedError as error:
            failures = [line for line in error.lines if "error:" in line]
            if not failures or not all(_NEW_SETTING in line for line in failures):
                raise

    async def _run(
        self,
        program: str,
        options: Sequence[str],
        dsn: str,
        within: float,
        *,
        stdin: IO[bytes] | None = None,
        take: Callable[[bytes], None] | None = None,
    ) -> None:
        place, secrets = handed(dsn)
        command = [str(self.directory / program), "--no-password", f"--dbname={place}", *options]
        await run(command, environment(**secrets), within, stdin=stdin, take=take)


def find_tools(server_major: int, extra: Iterable[Path] = ()) -> Tools:
    """The programs that fit a server best: of its own version, else of the next one.

    Args:
        server_major: a program that is older than this refuses to dump.
        extra: directories to look in first.

    Raises:
        UnavailableError: there are none that are new enough.
    """
    found: dict[Path, Tools] = {}
    for directory, _ in candidates(extra):
        real = (directory / "pg_dump").resolve()
        # What is named otherwise chooses a version by itself, such as Debian's wrapper.
        if real.name != "pg_dump" or real.parent in found:
            continue
        version = _version(real.parent)
        if version is not None:
            found[real.parent] = Tools(real.parent, version)
    fitting = [tools for tools in found.values() if tools.major >= server_major]
    if fitting:
        return min(fitting, key=lambda tools: tools.major)
    there = ", ".join(sorted({tools.version for tools in found.values()})) or "none"
    raise UnavailableError(
        f"no pg_dump and pg_restore of version {server_major} or later found here"
        f" (there is: {there}); {REMEDY}"
    )


def handed(dsn: str) -> tuple[str, dict[str, str]]:
    """What of a DSN may stand on a command line, and what goes into the environment.

    Raises:
        UnavailableError: it is not understood, or holds a secret that a program can only be given in sight.
    """
    try:
        parts = {name: str(value) for name, value in conninfo.conninfo_to_dict(dsn).items()}
    except (psycopg.Error, UnicodeError):
        raise UnavailableError("connection string not understood") from None
    for name in _OTHER_SECRETS:
        if name in parts:
            raise UnavailableError(f"{name} cannot be handed to pg_dump without showing it; use a file")
    password = parts.pop("password", None)
    parts = _DEFAULTS | parts | {"application_name": _APPLICATION}
    return conninfo.make_conninfo("", **parts), {} if password is None else {"PGPASSWORD": password}


def _version(directory: Path) -> str | None:
    """Of both programs, if they are of one version."""
    versions = set()
    for program in _PROGRAMS:
        try:
            done = subprocess.run(  # noqa: S603 -- the program asked for its version is the one to be run
                [directory / program, "--version"], capture_output=True, text=True, timeout=5, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        match = re.search(r"PostgreSQL\) (\d\S*)", done.stdout)
        versions.add(match and match[1])
    return versions.pop() if len(versions) == 1 else None
