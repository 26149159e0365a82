"""Upkeep in tests: a task on a database, as the daemon and the command run it; writers that are watched."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import kit
import psycopg

from queuewarden.adapters.db.upkeep import UpkeepConnection
from queuewarden.engine.resolve import resolve
from queuewarden.engine.upkeep.config import Upkeep
from queuewarden.engine.upkeep.task import Done, Place, Progress, Step

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from servers import Database

    from queuewarden.engine.upkeep.task import Task
    from queuewarden.model import Limits
    from queuewarden.queues.mapping import Mapping

LOCK_TIMEOUT = kit.LIMITS.lock_timeout


@asynccontextmanager
async def opened(dsn: str, longest: timedelta = timedelta(seconds=60)) -> AsyncIterator[UpkeepConnection]:
    """Upkeep's connection."""
    connection = await UpkeepConnection.open(
        dsn,
        connect_timeout=kit.LIMITS.connect_timeout,
        statement_timeout=kit.LIMITS.statement_timeout,
        lock_timeout=LOCK_TIMEOUT,
        longest=longest,
    )
    try:
        yield connection
    finally:
        await connection.close()


async def run_async(
    task: Task,
    dsn: str,
    *mappings: Mapping,
    upkeep: Upkeep | None = None,
    limits: Limits = kit.LIMITS,
    ledger: bool = False,
    meanwhile: Callable[[UpkeepConnection], object] | None = None,
    told: list[Progress] | None = None,
    **how: bool,
) -> Done:
    """A task on some queues, by default `kit.MAPPING` alone."""
    async with opened(dsn) as connection:
        targets = []
        for mapping in mappings or (kit.MAPPING,):
            resolution = await resolve(connection.session, "test", mapping, limits)
            assert resolution.target is not None, resolution.faults
            targets.append(resolution.target)
        if meanwhile is not None:
            meanwhile(connection)
        tell = told.append if told is not None else lambda _: None
        return await task.run(
            Place(connection, tuple(targets), upkeep or Upkeep(), ledger=ledger, tell=tell, **how)
        )


def run_steps(task: Task, dsn: str, *mappings: Mapping, **rest: Any) -> list[Step]:
    """As `run_async`: what was done, in order."""
    return list(asyncio.run(run_async(task, dsn, *mappings, **rest)).did)


def run(task: Task, dsn: str, *mappings: Mapping, **rest: Any) -> dict[str, Step]:
    """As `run_async`: what was done, by its subject; the last step of each."""
    return {step.subject: step for step in run_steps(task, dsn, *mappings, **rest)}


def bloated(database: Database, rows: int = 30_000) -> None:
    """Give the jobs table of `kit.SCHEMA` an index, and make most of that and of the key's waste."""
    database.execute(
        "CREATE INDEX jobs_enqueued ON jobs (enqueued_at, id);"
        "INSERT INTO jobs (status, enqueued_at)"
        f" SELECT 'waiting', now() - n * interval '1 s' FROM generate_series(1, {rows}) AS n;"
        "DELETE FROM jobs WHERE id % 5 <> 0"
    )
    database.execute("VACUUM ANALYZE jobs")


def indexes(database: Database, table: str = "jobs") -> dict[str, bool]:
    """The indexes of a table, and whether each is valid."""
    query = "SELECT indexrelid::regclass::text, indisvalid FROM pg_index WHERE indrelid = %s::regclass"
    return dict(database.rows(query, [table]))


class Watched:
    """What writers lived through.

    Attributes:
        waited: the longest that one of them waited for a lock, in seconds.
        written: statements that they got through.
        locks: modes of relation locks that upkeep held on tables.
        failed: what they met.
    """

    def __init__(self) -> None:
        self.waited = 0.0
        self.written = 0
        self.locks: set[str] = set()
        self.failed: list[str] = []


_STEPS = (
    "UPDATE jobs SET status = 'running', started_at = now() WHERE id = %s",
    "UPDATE jobs SET status = 'done', finished_at = now() WHERE id = %s",
)


@contextmanager
def writers(database: Database, number: int = 8) -> Iterator[Watched]:
    """Writers at work on the jobs table, and a look at who waits for a lock twenty times a second."""
    watched, stop = Watched(), threading.Event()

    async def write() -> None:
        connection = await psycopg.AsyncConnection.connect(
            database.dsn, autocommit=True, application_name="writer"
        )
        async with connection:
            while not stop.is_set():
                try:
                    cursor = await connection.execute("INSERT INTO jobs DEFAULT VALUES RETURNING id")
                    job = await cursor.fetchone()
                    for step in _STEPS:
                        await connection.execute(step, job)
                        watched.written += 1
                        await asyncio.sleep(0.02)
                except psycopg.Error as error:
                    watched.failed.append(str(error))

    async def look() -> None:
        connection = await psycopg.AsyncConnection.connect(database.dsn, autocommit=True)
        async with connection:
            while not stop.is_set():
                cursor = await connection.execute(
                    "SELECT coalesce(extract(epoch FROM clock_timestamp() - min(l.waitstart)"
                    # What makes a table's file longer is their own, and takes as long as the disk does.
                    " FILTER (WHERE a.application_name = 'writer' AND NOT l.granted"
                    " AND l.locktype <> 'extend')), 0)::float8,"
                    " array_agg(DISTINCT l.mode) FILTER (WHERE a.application_name = 'queuewarden/upkeep'"
                    " AND l.granted AND l.locktype = 'relation' AND c.relkind IN ('r', 'p')"
                    " AND c.relnamespace = 'public'::regnamespace)"
                    " FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)"
                    " LEFT JOIN pg_class AS c ON c.oid = l.relation"
                )
                (waited, modes) = (await cursor.fetchone()) or (0.0, None)
                watched.waited = max(watched.waited, waited)
                watched.locks |= set(modes or ())
                await asyncio.sleep(0.05)

    async def work() -> None:
        await asyncio.gather(look(), *(write() for _ in range(number)))

    thread = threading.Thread(target=asyncio.run, args=(work(),))
    thread.start()
    try:
        while watched.written < number:
            assert thread.is_alive()
            time.sleep(0.01)
        yield watched
    finally:
        stop.set()
        thread.join(20)
