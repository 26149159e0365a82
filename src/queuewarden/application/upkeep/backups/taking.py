"""Taking a backup: a dump, and the rows of each table in the very snapshot that is dumped."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from queuewarden.adapters.db.upkeep import APPLICATION
from queuewarden.adapters.postgres.dumping import find_tools
from queuewarden.application.upkeep.backups import source
from queuewarden.application.upkeep.backups.files import megabytes
from queuewarden.application.upkeep.backups.keeping import Keep
from queuewarden.application.upkeep.backups.manifest import Manifest, Rows
from queuewarden.engine.upkeep.task import Progress
from queuewarden.errors import GaveWayError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import AsyncConnection

    from queuewarden.adapters.postgres.dumping import Tools
    from queuewarden.application.upkeep.backups.backup import Backup, Draft
    from queuewarden.application.upkeep.backups.shelf import Shelf
    from queuewarden.settings.configuration import EnvironmentConfig

ATTEMPTS = 3
"""How often it is tried where somebody else needs a table."""

PAUSE = 30.0
"""Seconds between two of these."""

POLL = 0.25
"""Seconds between two looks whether somebody waits."""

_WAITING = b"""
SELECT a.pid FROM pg_catalog.pg_stat_activity AS a
 WHERE a.wait_event_type = 'Lock' AND a.datname = current_database() AND a.application_name <> %s
   AND EXISTS (SELECT FROM pg_catalog.pg_stat_activity AS o
                WHERE o.pid = ANY(pg_blocking_pids(a.pid)) AND o.application_name = %s)"""

_DENIED = "permission denied for"
"""What a server says, in English, of a table that may not be read; pg_dump hands it on."""

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
        GaveWayError: somebody waited for a table each time.
        UnavailableError: it could not be taken; nothing of it is left.
    """
    with shelf.locked():
        backup = await _patiently(config, shelf, tell)
        upkeep = config.upkeep
        keep = Keep(ZoneInfo(upkeep.time_zone), upkeep.keep_daily, upkeep.keep_weekly, upkeep.keep_monthly)
        return Taken(backup, tuple(shelf.tidy(keep, backup)))


async def _patiently(config: EnvironmentConfig, shelf: Shelf, tell: Callable[[Progress], None]) -> Backup:
    """Take one; where it had to give way, begin anew after a while."""
    for _ in range(ATTEMPTS - 1):
        try:
            return await _take(config, shelf, tell)
        except GaveWayError as error:
            tell(Progress(str(error), "waiting", 0, 0))
        await asyncio.sleep(PAUSE)
    return await _take(config, shelf, tell)


async def _take(config: EnvironmentConfig, shelf: Shelf, tell: Callable[[Progress], None]) -> Backup:
    begun, dsn = time.monotonic(), source.direct(config)
    async with source.opened(config, dsn) as connection, source.opened(config, dsn) as watcher:
        facts = await source.begin(connection)
        tools = find_tools(facts.major)
        _require_room(shelf, facts.size)
        writer = _Writer(config, tools, connection, watcher, source.pinned(dsn, connection), tell)
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
                search_path=facts.search_path,
            )
            draft.settle(manifest)
            return shelf.publish(manifest)


@dataclass(frozen=True, slots=True)
class _Writer:
    config: EnvironmentConfig
    tools: Tools
    connection: AsyncConnection
    watcher: AsyncConnection
    dsn: str
    tell: Callable[[Progress], None]

    async def write(self, draft: Draft, database: str) -> tuple[tuple[Rows, ...], int]:
        """Dump and count at the same time, until both are done, one fails, or somebody waits for a lock."""
        working: asyncio.Task[Any] = asyncio.create_task(self._work(draft, database))
        watching: asyncio.Task[Any] = asyncio.create_task(self._watch())
        try:
            await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
            if watching.done():
                watching.result()
            counted: tuple[tuple[Rows, ...], int] = working.result()
            return counted
        finally:
            await _ended(working, watching)

    async def _work(self, draft: Draft, database: str) -> tuple[tuple[Rows, ...], int]:
        cursor = await self.connection.execute(b"SELECT pg_export_snapshot()")
        (snapshot,) = await cursor.fetchone() or ("",)

        def taken(piece: bytes) -> None:
            draft.write(piece)
            self.tell(Progress(database, "dumping", draft.size, 0))

        within = self.config.upkeep.timeout.total_seconds()
        dumping = asyncio.create_task(self.tools.dump(self.dsn, snapshot, within, taken))
        counting = asyncio.create_task(source.count(self.connection))
        try:
            await asyncio.gather(dumping, counting)
        except UnavailableError as error:
            if _DENIED not in str(error):
                raise
            raise UnavailableError(f"{error}: GRANT pg_read_all_data to the role that backs up") from None
        finally:
            await _ended(dumping, counting)
        return counting.result()

    async def _watch(self) -> None:
        """Look whether somebody waits for a lock of ours, and whoever comes behind waits for that."""
        patience = self.config.limits.lock_timeout.total_seconds()
        since: dict[int, float] = {}
        while True:
            rows = await (await self.watcher.execute(_WAITING, [APPLICATION] * 2)).fetchall()
            now = time.monotonic()
            since = {pid: since.get(pid, now) for (pid,) in rows}
            if any(now - begun >= patience for begun in since.values()):
                raise GaveWayError(f"gave way to server process {min(since)}, which waited for its lock")
            await asyncio.sleep(POLL)


async def _ended(*tasks: asyncio.Task[Any]) -> None:
    """End them all, and ask for their errors, lest asyncio print these."""
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.exception()


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
