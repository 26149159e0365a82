"""Backups by pgbackrest: which kind is due, and the proof: a server of our own is started on one."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from psycopg.conninfo import make_conninfo

from queuewarden.adapters.postgres import Server, find_binaries
from queuewarden.adapters.postgres.children import FailedError
from queuewarden.adapters.postgres.pgbackrest import Stanza
from queuewarden.application.upkeep.backups import source
from queuewarden.application.upkeep.backups.backup import BadBackupError
from queuewarden.application.upkeep.backups.files import megabytes, room
from queuewarden.application.upkeep.backups.manifest import Verification
from queuewarden.application.upkeep.backups.proving import judged
from queuewarden.engine.upkeep.task import Progress
from queuewarden.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from queuewarden.adapters.postgres import Binaries
    from queuewarden.adapters.postgres.pgbackrest import Held, Kind
    from queuewarden.application.upkeep.backups.proving import Restorer
    from queuewarden.settings.configuration import EnvironmentConfig

FULL_EVERY = timedelta(days=7)
DIFF_EVERY = timedelta(days=1)

_SLACK = timedelta(hours=1)
"""A backup that is due each week may begin a little earlier than a week after the last one ended."""

# The original's own settings may not fit this machine. A recovery may meet prepared transactions. Its
# subscriptions must sleep: they would read from the very slots of the original.
_SETTINGS = {
    "hot_standby": "off",
    "max_prepared_transactions": "1000",
    "max_logical_replication_workers": "0",
}
_KEPT = ("restore_command", "recovery_target")
_OWNER = b"SELECT rolname FROM pg_roles WHERE oid = 10"


def stanza(config: EnvironmentConfig) -> Stanza | None:
    """The stanza of an environment, if it has one."""
    name = config.upkeep.pgbackrest
    return None if name is None else Stanza(name, config.upkeep.timeout.total_seconds())


def due(held: Sequence[Held], now: datetime) -> Kind:
    """What kind of backup is taken now: a full one each week, a differential one each day, else the rest."""

    def younger(than: timedelta, *kinds: Kind) -> bool:
        return any(one.kind in kinds and now - one.taken_at < than - _SLACK for one in held)

    if not younger(FULL_EVERY, "full"):
        return "full"
    return "incr" if younger(DIFF_EVERY, "full", "diff") else "diff"


@dataclass(frozen=True, slots=True)
class Trial:
    """Proves backups of one environment.

    Attributes:
        folder: where one is restored to, as large as what was backed up; not where we are root.
    """

    restorer: Restorer
    stanza: Stanza
    folder: Path

    async def prove(self, held: Held) -> Verification:
        """Restore a backup, start a server on it, read every row, run the checks; note what came of it.

        Raises:
            UnavailableError: it could not be tried, which says nothing about the backup.
        """
        begun, findings, rows, why = time.monotonic(), 0, 0, ""
        try:
            async with self._served(held) as dsn:
                rows = await self._read(dsn, held)
                findings = await self.restorer.check(dsn, held.label)
        except BadBackupError as error:
            why = str(error)
        verification = Verification(
            datetime.now(UTC), not why, round(time.monotonic() - begun, 3), why, findings, rows
        )
        with suppress(FailedError):
            await self.stanza.annotate(held.label, None if why else verification.at)
        return verification

    @asynccontextmanager
    async def _served(self, held: Held) -> AsyncIterator[str]:
        """The environment's database on a server of our own; that and its data are gone at the end."""
        config, tell = self.restorer.config, self.restorer.tell
        async with source.opened(config, source.direct(config)) as connection:
            user, database = connection.info.user, connection.info.dbname
        server = Server(_binaries(held.major), settings=_SETTINGS, base=self.folder)
        server.prepare()
        try:
            if (free := room(server.directory)) < held.database_size:
                needed = megabytes(held.database_size)
                raise UnavailableError(
                    f"{self.folder} has room for {megabytes(free)}, a trial takes {needed}"
                )
            tell(Progress(held.label, "restoring", 0, 0))
            await self._restored(held, server)
            yield make_conninfo("", host=str(server.directory), port=server.port, dbname=database, user=user)
        finally:
            await asyncio.to_thread(server.stop)

    async def _restored(self, held: Held, server: Server) -> None:
        try:
            await self.stanza.restore(held.label, server.data)
        except FailedError as error:
            raise judged(f"{held.label} cannot be restored: {error}") from None
        _tame(server.data)
        self.restorer.tell(Progress(held.label, "recovering", 0, 0))
        try:
            await asyncio.to_thread(server.launch, self.stanza.within)
        except UnavailableError as error:
            raise judged(f"{held.label} cannot be started: {error}") from None

    async def _read(self, dsn: str, held: Held) -> int:
        """Read every row of every table, as whoever may."""
        config, tell = self.restorer.config, self.restorer.tell
        async with source.opened(config, dsn) as connection:
            (owner,) = await (await connection.execute(_OWNER)).fetchone() or (connection.info.user,)
        try:
            async with source.opened(config, make_conninfo(dsn, user=owner)) as connection:
                await source.begin(connection)
                tables, _ = await source.count(
                    connection, lambda table, done, total: tell(Progress(table, "counting", done, total))
                )
        except UnavailableError as error:
            raise BadBackupError(f"{held.label} cannot be read: {error}") from None
        return sum(one.rows for one in tables)


def _tame(data: Path) -> None:
    """Exchange the original's configuration for one that fits a trial; what recovers it stays."""
    auto = data / "postgresql.auto.conf"
    lines = [line for line in auto.read_text().splitlines() if line.startswith(_KEPT)]
    auto.write_text("".join(f"{line}\n" for line in lines))
    for name, content in (
        ("postgresql.conf", ""),
        ("pg_ident.conf", ""),
        ("pg_hba.conf", "local all all trust\n"),
    ):
        place = data / name
        place.unlink(missing_ok=True)
        place.write_text(content)
        place.chmod(0o644)


def _binaries(major: int) -> Binaries:
    for found in find_binaries():
        if found.major == major:
            return found
    raise UnavailableError(f"no PostgreSQL server of version {major} here to start the backup with")
