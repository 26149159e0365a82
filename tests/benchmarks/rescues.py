"""Queue libraries: their own rescue of jobs under dead workers, one bare UPDATE, ours, on the same rows."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import time
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING, Any

import psycopg
from benchmarks.jobs_table import Built
from benchmarks.table import Line, compared, duration, tell
from conformance.libraries import library as driver

from queuewarden.adapters.db.connect import connect
from queuewarden.adapters.db.session import Session
from queuewarden.engine.inspection import inspected, statements
from queuewarden.engine.ledger.schema import read_schema, script
from queuewarden.engine.policy import Policy
from queuewarden.engine.resolve import resolve
from queuewarden.engine.standing import Standing
from queuewarden.engine.sweep import Sweeper
from queuewarden.queues.presets import library_of
from queuewarden.settings.load import load

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from servers import TestServer

    from queuewarden.engine.report import SweepReport
    from queuewarden.queues.target import Target

NAMES = ("procrastinate", "pgqueuer", "pg_boss", "graphile_worker")
"""Those with a preset whose own programs run here; their modules are in `benchmarks.libraries`."""

RUNS = 3
FINISHED, WAITING, RUNNING = 500_000, 50_000, (10_000, 100_000)
SETTLED = 2.0
"""Seconds until the counters by which a sweep knows a table at rest have come to rest themselves."""

BY_HAND = Policy(daemon=False, grace=False)
"""As a command by hand: the mass brakes, which would hold such a repair, only warn."""


def rescue(server: TestServer, scale: int) -> Iterator[Line]:
    """Each library: ours with the ledger and all guards, and its own, as ratios of one bare UPDATE."""
    for name in NAMES:
        if (why := driver(name).missing()) is not None:
            tell(f"{name}: not here, {why}")
            continue
        library = importlib.import_module(f"benchmarks.libraries.{name}")
        for running in RUNNING:
            yield from _rescued(server, library, running // scale, scale)
        yield from _ticks(server, library, scale)


def _rescued(server: TestServer, library: Any, running: int, scale: int) -> Iterator[Line]:
    tell(f"{library.PRESET}: building {running:,} jobs under dead workers")
    ours, own, bare = [], [], []
    with _filled(server, library, FINISHED // scale, WAITING // scale, running) as template:
        for number in range(RUNS):
            with template.clone() as table:
                bare.append(_timed(running, lambda at=table.dsn: _bare(library, at)))
            with template.clone() as table:
                ours.append(_swept(library, table.dsn, running))
            # The library's own loop takes minutes for a hundred thousand, and grows as they do.
            if running * scale <= RUNNING[0] and not number:
                with template.clone() as table:
                    own.append(_timed(running, lambda at=table.dsn: library.own_rescue(at)))
    what = f"{library.PRESET}: {running:,} jobs of dead workers, with the ledger"
    called = library_of(library.PRESET).moves == "procrastinate"
    yield compared(f"{what} (bare: one UPDATE)", ours, bare, None if called else 1.3)
    if own:
        yield compared(f"{what} (bare: its own rescue)", ours, own, 0.25 if called else None)


def _ticks(server: TestServer, library: Any, scale: int) -> Iterator[Line]:
    """A sweep in which nothing is found: with the library's own indexes, and with those that are advised."""
    what = f"{library.PRESET}: a sweep that finds nothing, {(FINISHED + WAITING) // scale:,} jobs"
    with _filled(server, library, FINISHED // scale, WAITING // scale, 0) as table:
        plain = asyncio.run(_idle(library, table.dsn))
        yield Line(what, duration(plain), goal="< 5 ms", met=plain < 0.005)
        for statement in asyncio.run(_advised(library, table.dsn)):
            with psycopg.connect(table.dsn, autocommit=True) as connection:
                connection.execute(statement.encode())
        helped = asyncio.run(_idle(library, table.dsn))
        yield Line(f"{what}, indexes as advised", duration(helped), goal="< 5 ms", met=helped < 0.005)


async def _advised(library: Any, dsn: str) -> list[str]:
    async with _opened(library, dsn) as (session, target):
        missing = (await inspected(session, target)).missing
        return [one for index in missing for one in await statements(session, target, index)]


@contextlib.contextmanager
def _filled(server: TestServer, library: Any, finished: int, waiting: int, running: int) -> Iterator[Built]:
    with server.database() as database:
        library.create(database.dsn)
        with psycopg.connect(
            database.dsn, autocommit=True, cursor_factory=psycopg.ClientCursor
        ) as connection:
            library.fill(connection, finished, waiting, running)
            connection.execute("VACUUM (ANALYZE)")
            connection.execute("CHECKPOINT")
        yield Built(server, database.name)


def _timed(wanted: int, work: Callable[[], int]) -> float:
    begun = time.perf_counter()
    done = work()
    taken = time.perf_counter() - begun
    _expect(wanted, done)
    return taken


def _bare(library: Any, dsn: str) -> int:
    with psycopg.connect(dsn) as connection:
        done: int = library.bare(connection)
    return done


def _swept(library: Any, dsn: str, running: int) -> float:
    async def measured() -> tuple[float, SweepReport]:
        async with _opened(library, dsn) as (session, target):
            await session.script(script())
            standing = Standing(await read_schema(session), "bench")
            begun = time.perf_counter()
            report = await Sweeper("bench").sweep(session, [target], policy=BY_HAND, standing=standing)
            return time.perf_counter() - begun, report

    taken, report = asyncio.run(measured())
    _expect(running, sum(one.mended for queue in report.queues for one in queue.outcomes))
    return taken


async def _idle(library: Any, dsn: str) -> float:
    """The median of a few sweeps of a table at rest, behind those that look at what only changes seldom."""
    async with _opened(library, dsn) as (session, target):
        await session.script(script())
        standing = Standing(await read_schema(session), "bench")
        await asyncio.sleep(SETTLED)
        sweeper, taken = Sweeper("bench"), list[float]()
        for _ in range(20):
            begun = time.perf_counter()
            await sweeper.sweep(session, [target], policy=Policy(daemon=True, grace=False), standing=standing)
            taken.append(time.perf_counter() - begun)
    return median(taken[5:])


@contextlib.asynccontextmanager
async def _opened(library: Any, dsn: str) -> AsyncIterator[tuple[Session, Target]]:
    """A session as the daemon opens it, and the queue by its preset, resolved."""
    settings = {f"QUEUEWARDEN_QUEUE__BENCH__{name}": value for name, value in library.SETTINGS.items()}
    preset = {"QUEUEWARDEN_QUEUE__BENCH__PRESET": library.PRESET}
    config = load({"QUEUEWARDEN_DSN": dsn, **preset, **settings}).environments[0]
    limits = replace(config.queue_limits["bench"], mode="repair")
    connection = await connect(
        dsn,
        application_name="queuewarden/bench",
        connect_timeout=limits.connect_timeout,
        statement_timeout=limits.statement_timeout,
    )
    session = Session(
        connection, statement_timeout=limits.statement_timeout, lock_timeout=limits.lock_timeout
    )
    try:
        resolution = await resolve(session, config.name, config.queues[0], limits)
        if resolution.target is None or resolution.faults:
            raise RuntimeError(f"{library.PRESET} does not fit: {resolution.faults}")
        yield session, resolution.target
    finally:
        await session.close()


def _expect(wanted: int, done: int) -> None:
    if done != wanted:
        raise RuntimeError(f"{done} jobs were rescued, not {wanted}: this measures something else")
