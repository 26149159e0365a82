"""Taking a backup: a dump, and the rows of each table in the very snapshot that is dumped."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from queuewarden.adapters.postgres.dumping import find_tools
from queuewarden.application.upkeep.backups import source
from queuewarden.application.upkeep.backups.files import megabytes
from queuewarden.application.upkeep.backups.keeping import Keep
from queuewarden.application.upkeep.backups.manifest import Manifest, Rows
from queuewarden.engine.upkeep.task import Progress
from queuewarden.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import AsyncConnection

    from queuewarden.adapters.postgres.dumping import Tools
    from queuewarden.application.upkeep.backups.backup import Backup, Draft
    from queuewarden.application.upkeep.backups.shelf import Shelf
    from queuewarden.settings.configuration import EnvironmentConfig

ROOM = 1.2
"""A dump may become so many times as large as the last one, for a database of the same size."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A new backup, and those that it made superfluous."""

    backup: Backup
    removed: tuple[Backup, ...]


async def take(config: EnvironmentConfig, shelf: Shelf, tell: Callable[[Progress], None]) -> Taken:
    """Take one, and then remove those that need not be kept any more.

    Raises:
        BusyError: another one is being taken.
        UnavailableError: it could not be taken; nothing of it is left.
    """
    begun, dsn = time.monotonic(), source.direct(config)
    with shelf.locked():
        async with source.opened(config, dsn) as connection:
            facts = await source.begin(connection)
            tools = find_tools(facts.major)
            _require_room(shelf, facts.size)
            writer = _Writer(config, tools, connection, source.pinned(dsn, connection), tell)
            with shelf.draft() as draft:
                tables, large_objects = await writer.write(draft, facts.database)
                manifest = Manifest(
                    environment=config.name,
                    database=facts.database,
                    server_version=facts.version,
                    tool_version=tools.version,
                    taken_at=facts.now,
                    seconds=round(time.monotonic() - begun, 3),
                    size=draft.size,
                    sha256=draft.sha256,
                    database_size=facts.size,
                    locale=facts.locale,
                    tables=tables,
                    large_objects=large_objects,
                )
                draft.settle(manifest)
                backup = shelf.publish(manifest)
        upkeep = config.upkeep
        keep = Keep(ZoneInfo(upkeep.time_zone), upkeep.keep_daily, upkeep.keep_weekly, upkeep.keep_monthly)
        return Taken(backup, tuple(shelf.tidy(keep)))


@dataclass(frozen=True, slots=True)
class _Writer:
    config: EnvironmentConfig
    tools: Tools
    connection: AsyncConnection
    dsn: str
    tell: Callable[[Progress], None]

    async def write(self, draft: Draft, database: str) -> tuple[tuple[Rows, ...], int]:
        """Dump and count at the same time, until both are done or one of them fails."""
        cursor = await self.connection.execute(b"SELECT pg_export_snapshot()")
        (snapshot,) = await cursor.fetchone() or ("",)

        def taken(piece: bytes) -> None:
            draft.write(piece)
            self.tell(Progress(database, "dumping", draft.size, 0))

        within = self.config.upkeep.timeout.total_seconds()
        dumping = asyncio.create_task(self.tools.dump(self.dsn, snapshot, within, taken))
        counting = asyncio.create_task(source.count(self.connection))
        both = (dumping, counting)
        try:
            await asyncio.gather(*both)
        finally:
            for task in both:
                task.cancel()
            await asyncio.wait(both)
        return counting.result()


def _require_room(shelf: Shelf, size: int) -> None:
    """A dump is mostly far smaller than its database: only the first one has nothing else to go by.

    Raises:
        UnavailableError: there is not enough room.
    """
    free, needed = shelf.free(), size
    for last in shelf.look()[0][:1]:
        growth = max(1.0, size / max(1, last.manifest.database_size))
        needed = round(last.manifest.size * growth * ROOM)
    if free < needed:
        raise UnavailableError(
            f"{shelf.folder} has room for {megabytes(free)}, a backup may take {megabytes(needed)}"
        )
