"""Repairs: the same work by the daemon's engine and by one bare statement, on clones of one database."""

from __future__ import annotations

import asyncio
import time
from statistics import median
from typing import TYPE_CHECKING, Any, LiteralString

import psycopg
from benchmarks.jobs_table import STUCK, WAITING, Built, built, opened
from benchmarks.table import Line, compared, duration, tell

from queuewarden.engine.ledger.schema import read_schema, script
from queuewarden.engine.policy import Policy
from queuewarden.engine.standing import Standing
from queuewarden.engine.sweep import Sweeper

if TYPE_CHECKING:
    from collections.abc import Iterator

    from servers import TestServer

    from queuewarden.engine.report import SweepReport

RUNS = 5

BARE_RESET: LiteralString = """
UPDATE jobs SET status = 'waiting', worker = NULL, started_at = NULL, error = 'reset'
 WHERE status = 'running' AND started_at < now() - interval '3 min'"""

BATCH_RESET: LiteralString = """
UPDATE jobs SET status = 'waiting', worker = NULL, started_at = NULL, error = 'reset'
 WHERE id = ANY (ARRAY(SELECT id FROM jobs
                        WHERE status = 'running' AND started_at < now() - interval '3 min'
                        ORDER BY started_at, id LIMIT 1000 FOR UPDATE SKIP LOCKED))"""
"""What a person would write who must not hold locks for long: run until it changes nothing."""

RANKED: LiteralString = """
SELECT id, lane, position, row_number() OVER (PARTITION BY lane ORDER BY priority DESC, enqueued_at, id) AS n
  FROM jobs WHERE status = 'waiting'"""
BARE_CHECK: LiteralString = f"""
SELECT lane, count(*) FROM ({RANKED}) AS r WHERE position IS DISTINCT FROM n GROUP BY lane"""
BARE_RENUMBER: LiteralString = f"""
UPDATE jobs AS j SET position = r.n FROM ({RANKED}) AS r
 WHERE j.id = r.id AND j.position IS DISTINCT FROM r.n"""


def reset(server: TestServer, scale: int) -> Iterator[Line]:
    """Stuck jobs go back to waiting: all checks of stuck jobs, batch by batch, against one UPDATE."""
    rows = 100_000 // scale
    tell(f"reset: building {rows:,} stuck jobs")
    ours, booked, bare, batches = [], [], [], []
    with built(server, STUCK, rows=rows) as template:
        for _ in range(RUNS):
            with template.clone() as table:
                bare.append(_bare(table, BARE_RESET, rows))
            with template.clone() as table:
                ours.append(_swept(table, rows, "stuck_jobs"))
            with template.clone() as table:
                booked.append(_swept(table, rows, "stuck_jobs", ledger=True))
            with template.clone() as table:
                batches.append(_batched(table, BATCH_RESET, rows))
    what = f"reset {rows:,} stuck jobs"
    yield compared(f"{what} (bare: one UPDATE)", ours, bare, 1.5)
    yield compared(f"{what} (bare: batches of 1000, each committed)", ours, batches)
    yield compared(f"{what} with the ledger (bare: ours without it)", booked, ours, 1.2)
    yield compared(f"{what} with the ledger (bare: one UPDATE)", booked, bare)


def positions(server: TestServer, scale: int) -> Iterator[Line]:
    """Positions of waiting jobs in 1000 lanes: looked at while all are right, then all repaired."""
    rows = 1_000_000 // scale
    tell(f"positions: building {rows:,} waiting jobs, twice")
    ours, bare = [], []
    with built(server, WAITING, rows=rows, shift=0) as table:
        for _ in range(RUNS):
            bare.append(_bare(table, BARE_CHECK, 0))
            ours.append(_swept(table, 0, "positions", write=False))
    what = f"check positions of {rows:,} waiting jobs in 1000 lanes"
    ratio = median(ours) / median(bare)
    yield Line(what, duration(median(ours)), duration(median(bare)), ratio, "< 2 s", median(ours) < 2)
    ours, bare = [], []
    with built(server, WAITING, rows=rows, shift=1) as template:
        for _ in range(max(1, RUNS // 2)):
            with template.clone() as table:
                bare.append(_bare(table, BARE_RENUMBER, rows))
            with template.clone() as table:
                ours.append(_swept(table, rows, "positions"))
    yield compared(f"renumber {rows:,} waiting jobs in 1000 lanes", ours, bare, 1.2)


def _bare(table: Built, statement: LiteralString, rows: int) -> float:
    with psycopg.connect(table.dsn) as connection:
        _warm(connection)
        begun = time.perf_counter()
        cursor = connection.execute(statement)
        connection.commit()
        taken = time.perf_counter() - begun
    _expect(rows, cursor.rowcount)
    return taken


def _batched(table: Built, statement: LiteralString, rows: int) -> float:
    done = 0
    with psycopg.connect(table.dsn, autocommit=True, prepare_threshold=None) as connection:
        _warm(connection)
        begun = time.perf_counter()
        while (changed := connection.execute(statement).rowcount) > 0:
            done += changed
        taken = time.perf_counter() - begun
    _expect(rows, done)
    return taken


def _swept(table: Built, rows: int, check: str, *, write: bool = True, ledger: bool = False) -> float:
    async def measured() -> tuple[float, SweepReport]:
        async with opened(table, lanes=check == "positions", position_rows=10**9) as (session, target):
            standing = Standing()
            if ledger:
                await session.script(script())
                standing = Standing(await read_schema(session), "bench")
            with psycopg.connect(table.dsn) as connection:
                _warm(connection)
            begun = time.perf_counter()
            report = await Sweeper("bench").sweep(
                session, [target], policy=_policy(check, write=write), standing=standing
            )
            return time.perf_counter() - begun, report

    taken, report = asyncio.run(measured())
    _expect(rows, sum(one.mended for queue in report.queues for one in queue.outcomes))
    return taken


def _policy(check: str, *, write: bool) -> Policy:
    """As a command by hand: the mass brakes, which would hold such a repair, only warn."""
    return Policy(daemon=False, grace=False, only=(check,), write=write)


def _warm(connection: psycopg.Connection[Any]) -> None:
    """Read the table once: a clone's pages are not in the server's memory yet."""
    connection.execute("SELECT count(*), count(error) FROM jobs").fetchall()
    connection.execute("SELECT count(*) FROM (SELECT FROM jobs ORDER BY id) AS s").fetchall()
    connection.commit()


def _expect(wanted: int, done: int) -> None:
    if done != wanted:
        raise RuntimeError(f"{done} rows were found or changed, not {wanted}: this measures something else")
