"""Sweeps that find nothing: what the daemon does nearly always, and what it costs as a table grows."""

from __future__ import annotations

import asyncio
import contextlib
import time
from statistics import median
from typing import TYPE_CHECKING, LiteralString

import psycopg
from benchmarks.jobs_table import HISTORY, Built, built, opened
from benchmarks.table import Line, duration, tell

from queuewarden.engine.sweep import Sweeper

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from servers import TestServer

    from queuewarden.engine.report import SweepReport

    Sweep = Callable[[], Awaitable[SweepReport]]

ROUNDS = 60
SETTLING = 3
"""Sweeps before measuring: the first ones read whole tables, and after that only what was modified."""

BARE: LiteralString = """
SELECT id FROM jobs WHERE status = 'running' AND started_at < now() - interval '3 min'
 ORDER BY started_at, id LIMIT 1000 FOR UPDATE SKIP LOCKED"""
TOUCH: LiteralString = "UPDATE jobs SET attempts = attempts WHERE id = (SELECT max(id) FROM jobs)"


def idle(server: TestServer, scale: int) -> Iterator[Line]:
    """Two histories, one ten times the other, swept in turn: at rest, and with a write before each sweep."""
    less, more = 1_000_000 // scale, 10_000_000 // scale
    with contextlib.ExitStack() as stack:
        tables = []
        for rows in (less, more):
            tell(f"idle: building {rows:,} jobs")
            tables.append(stack.enter_context(built(server, HISTORY, rows=rows)))
        yield from _lines("at rest", tables, (less, more), touch=False)
        yield from _lines("in use", tables, (less, more), touch=True)


def _lines(how: str, tables: list[Built], rows: tuple[int, int], *, touch: bool) -> Iterator[Line]:
    times, bare, trips = asyncio.run(_measured(tables, touch=touch))
    small, large = (median(one) for one in times)
    sweep = f"sweep that finds nothing, table {how}"
    yield Line(f"{sweep}, {rows[0]:,} jobs (p50)", duration(small), duration(bare[0]), small / bare[0])
    most = " at rest" if touch else ""
    yield Line(
        f"{sweep}, {rows[1]:,} jobs (p50)", duration(large), duration(bare[1]), large / bare[1],
        "" if most else "< 10 ms", None if most else large < 0.01,
    )  # fmt: skip
    yield Line(
        f"{sweep}: {rows[1]:,} against {rows[0]:,} jobs", "", "", large / small,
        "" if most else "≤ 1.5", None if most else large / small <= 1.5,
    )  # fmt: skip
    yield Line(
        f"{sweep}: round trips",
        str(max(trips)),
        "1",
        None,
        "" if most else "≤ 3",
        None if most else max(trips) <= 3,
    )


async def _measured(tables: list[Built], *, touch: bool) -> tuple[list[list[float]], list[float], list[int]]:
    """Seconds of each sweep of each table, the bare query's median, round trips."""
    times: list[list[float]] = [[] for _ in tables]
    bare: list[list[float]] = [[] for _ in tables]
    trips = []
    async with contextlib.AsyncExitStack() as stack:
        sweeps = [await stack.enter_async_context(_sweeper(table)) for table in tables]
        clients = [
            await stack.enter_async_context(
                await psycopg.AsyncConnection.connect(table.dsn, autocommit=True, prepare_threshold=None)
            )
            for table in tables
        ]
        for sweep in sweeps * SETTLING:
            await sweep()
        for _ in range(ROUNDS):
            for number, (sweep, client) in enumerate(zip(sweeps, clients, strict=True)):
                if touch:
                    await client.execute(TOUCH)
                    await client.execute("SELECT pg_stat_force_next_flush()")
                begun = time.perf_counter()
                await (await client.execute(BARE)).fetchall()
                bare[number].append(time.perf_counter() - begun)
                begun = time.perf_counter()
                report = await sweep()
                times[number].append(time.perf_counter() - begun)
                trips.append(report.round_trips)
    return times, [median(one) for one in bare], trips


@contextlib.asynccontextmanager
async def _sweeper(table: Built) -> AsyncIterator[Sweep]:
    """Sweeps as the daemon makes them: its limits, its brakes, what it remembers."""
    async with opened(table, lanes=True) as (session, target):
        sweeper = Sweeper("bench")
        yield lambda: sweeper.sweep(session, [target])
