"""Races with real connections: what the application does between our look and our write wins."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import kit
import psycopg
import pytest
from psycopg import sql
from rows import Rows

from queuewarden.adapters.db.connect import connect
from queuewarden.adapters.db.session import Query, Session
from queuewarden.checks import CHECKS
from queuewarden.engine.memory import Memory
from queuewarden.engine.resolve import resolve
from queuewarden.engine.runner import Runner
from queuewarden.engine.sweep import Sweeper
from queuewarden.queues.sqltext import every

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from datetime import datetime

    from servers import Database

    from queuewarden.model import Limits, Outcome, Rule
    from queuewarden.queues.target import Target

LIMITS = replace(kit.LIMITS, checks=("dead_workers", "stuck_jobs"))
PATIENT = replace(LIMITS, lock_timeout=timedelta(seconds=20), stuck_after_alive=timedelta(hours=1))
GATE = 4711


@pytest.fixture
def rows(databases: Callable[..., Database]) -> Rows:
    made = Rows(databases(kit.SCHEMA))
    made.database.execute(f"ALTER DATABASE \"{made.database.name}\" SET deadlock_timeout = '60s'")
    return made


class Interrupted(Session):
    """A session in which something happens just before a statement that locks rows is sent."""

    happens: Callable[[], object] | None = None
    at: int = 1

    async def execute(self, query: Query, **rest: Any) -> list[Any]:
        if b"FOR UPDATE" in query.text and self.happens is not None:
            self.at -= 1
            if self.at == 0:
                await asyncio.to_thread(self.happens)
        return await super().execute(query, **rest)


@asynccontextmanager
async def interrupted(
    rows: Rows, limits: Limits, happens: Callable[[], object] | None, at: int = 1
) -> AsyncIterator[tuple[Interrupted, Target, datetime]]:
    """The session, what it is about, and the database's clock."""
    connection = await connect(
        rows.dsn,
        application_name="queuewarden/test",
        connect_timeout=limits.connect_timeout,
        statement_timeout=limits.statement_timeout,
    )
    session = Interrupted(
        connection, statement_timeout=limits.statement_timeout, lock_timeout=limits.lock_timeout
    )
    session.happens, session.at = happens, at
    try:
        target = (await resolve(session, "test", kit.MAPPING, limits)).target
        assert target is not None
        ((now,),) = await session.rows(Query(b"SELECT now()", {}))
        yield session, target, now
    finally:
        await session.close()


def mend(
    rows: Rows, code: str, happens: Callable[[], object] | None, at: int = 1, *, gate: bool = False
) -> Outcome:
    """Mend by one rule while something happens: before its nth locking statement, or in the midst of it."""

    async def run() -> Outcome:
        async with interrupted(rows, PATIENT, None if gate else happens, at) as (session, target, now):
            rules = {rule.code: (name, rule) for name in LIMITS.checks for rule in CHECKS[name].rules(target)}
            check, rule = rules[code]
            return await Runner(session, now).mend(target, check, gated(rule) if gate else rule, Memory())

    if not gate:
        return asyncio.run(run())
    assert happens is not None
    with rows.database.connect() as gatekeeper, ThreadPoolExecutor(1) as pool:
        gatekeeper.execute("SELECT pg_advisory_lock(%s)", (GATE,))
        future = pool.submit(lambda: asyncio.run(run()))
        wait_for(gatekeeper, "locktype = 'advisory' AND NOT granted")
        happens()
        gatekeeper.execute("SELECT pg_advisory_unlock(%s)", (GATE,))
        return future.result(timeout=30)


def gated(rule: Rule) -> Rule:
    """The same rule, its statement held up after its snapshot was taken and before a row is locked."""
    gate = sql.SQL(f"(SELECT count(pg_advisory_xact_lock({GATE}))) = 1")
    return replace(rule, where=every([gate, rule.where]))


def wait_for(connection: psycopg.Connection[Any], condition: str) -> None:
    """Until somebody in this database waits for a lock."""
    deadline = time.monotonic() + 20
    query = (
        f"SELECT count(*) FROM pg_locks WHERE {condition}"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    while time.monotonic() < deadline:
        row = connection.execute(query).fetchone()
        if row is not None and row[0]:
            return
        time.sleep(0.01)
    raise AssertionError("nobody waits")


CHANGES = {
    "heartbeat": "UPDATE workers SET heartbeat = now() WHERE id = 'w1'",
    "finish": "UPDATE jobs SET status = 'done', finished_at = now() WHERE worker = 'w1'",
    "claim": "UPDATE jobs SET worker = 'w2', started_at = now() WHERE worker = 'w1'",
    "deletion": "DELETE FROM jobs WHERE worker = 'w1'",
    "another worker": "UPDATE jobs SET worker = 'nobody' WHERE worker = 'w1'",
}


@pytest.mark.versions
@pytest.mark.parametrize("gate", [False, True], ids=["before the write", "in the midst of it"])
@pytest.mark.parametrize("change", CHANGES)
def test_r9_p1_what_lands_between_find_and_repair_of_a_dead_workers_job_wins(
    rows: Rows, change: str, *, gate: bool
) -> None:
    rows.worker("w1", "3 minutes")
    rows.worker("w2", "1 second")
    rows.job(worker="w1", started="1 minute")
    before: list[Any] = []

    def happens() -> None:
        rows.database.execute(CHANGES[change])
        before.extend(rows.database.rows("SELECT * FROM jobs"))

    done = mend(rows, "silent", happens, gate=gate)
    assert (done.mended, done.error) == (0, None)
    assert rows.database.rows("SELECT * FROM jobs") == before


@pytest.mark.versions
@pytest.mark.parametrize("gate", [False, True], ids=["before the write", "in the midst of it"])
@pytest.mark.parametrize("change", [*CHANGES, "job heartbeat"])
def test_r9_p1_what_lands_between_find_and_repair_of_a_stuck_job_wins(
    rows: Rows, change: str, *, gate: bool
) -> None:
    rows.worker("w1", "3 minutes")
    rows.worker("w2", "1 second")
    rows.job(worker="w1", started="4 minutes")
    before: list[Any] = []

    def happens() -> None:
        rows.database.execute(CHANGES.get(change, "UPDATE jobs SET started_at = now()"))
        before.extend(rows.database.rows("SELECT * FROM jobs"))

    done = mend(rows, "stuck", happens, gate=gate)
    assert (done.mended, done.error) == (0, None)
    assert rows.database.rows("SELECT * FROM jobs") == before


@pytest.mark.parametrize("gate", [False, True], ids=["before the write", "in the midst of it"])
def test_r9_a_heartbeat_wins_over_being_marked_offline(rows: Rows, *, gate: bool) -> None:
    rows.worker("w1", "3 minutes")
    done = mend(rows, "offline", lambda: rows.database.execute(CHANGES["heartbeat"]), gate=gate)
    assert (done.mended, rows.of_worker("w1")) == (0, "idle")


@pytest.mark.parametrize("at", [1, 2], ids=["before it is locked", "after it is locked"])
def test_a_claim_in_the_same_instant_keeps_its_worker_unmarked(rows: Rows, at: int) -> None:
    rows.worker("w1", "3 minutes")
    waiting = rows.job("waiting")

    def claim() -> None:
        rows.database.execute("UPDATE jobs SET status = 'running', worker = 'w1' WHERE id = %s", (waiting,))

    done = mend(rows, "offline", claim, at)
    assert (done.mended, done.skipped, rows.of_worker("w1")) == (0, 1, "idle")


@pytest.mark.parametrize("at", [1, 2], ids=["before it is locked", "after it is locked"])
@pytest.mark.parametrize("code", ["no_worker_row", "stuck_no_worker"])
def test_a_worker_that_registers_in_the_same_instant_keeps_its_job(rows: Rows, code: str, at: int) -> None:
    job = rows.job(worker="w1", started="4 minutes")
    done = mend(rows, code, lambda: rows.worker("w1", "1 second"), at)
    assert (done.mended, rows.of_job(job)) == (0, "running")


def test_rows_that_drop_out_after_they_were_locked_do_not_end_the_work_on_those_behind(rows: Rows) -> None:
    """Where absence decides, a batch may shrink in its second statement; more batches follow all the same."""
    jobs = [rows.job(worker=f"w{number}", started="4 minutes") for number in range(5)]

    def register() -> None:
        rows.worker("w0", "1 second")

    async def run() -> Outcome:
        async with interrupted(rows, replace(LIMITS, batch=2), register, 2) as (session, target, now):
            rule = next(one for one in CHECKS["dead_workers"].rules(target) if one.code == "no_worker_row")
            return await Runner(session, now).mend(target, "dead_workers", rule, Memory())

    done = asyncio.run(run())
    assert (done.mended, done.skipped) == (4, 0)
    assert [rows.of_job(job) for job in jobs] == ["running", *["waiting"] * 4]


@pytest.mark.versions
def test_a_heartbeat_that_is_joined_but_not_locked_is_missed_and_ours_is_not(rows: Rows) -> None:
    """Why the worker's row is locked with the job's."""
    rows.worker("w1", "3 minutes")
    rows.job(worker="w1", started="4 minutes")
    naive = (
        "UPDATE jobs AS j SET status = 'waiting' FROM workers AS w WHERE j.worker = w.id"
        " AND j.status = 'running' AND w.heartbeat < statement_timestamp() - interval '2 minutes'"
    )
    with rows.database.connect(autocommit=False) as application, ThreadPoolExecutor(1) as pool:
        application.execute("UPDATE jobs SET priority = priority + 1")
        missed = pool.submit(rows.database.execute, naive)
        with rows.database.connect() as watcher:
            wait_for_blocked(watcher)
        application.execute(CHANGES["heartbeat"])
        application.commit()
        assert missed.result(timeout=20) == 1, "the server re-checks only what the statement locks"
    rows.database.execute("UPDATE jobs SET status = 'running'")
    rows.database.execute("UPDATE workers SET heartbeat = now() - interval '3 minutes'")
    with rows.database.connect(autocommit=False) as application:
        application.execute(CHANGES["heartbeat"])
        held = mend(rows, "silent", None)
        application.commit()
    assert (held.mended, held.skipped) == (0, 1)
    assert rows.database.value("SELECT status FROM jobs") == "running"


def wait_for_blocked(watcher: psycopg.Connection[Any]) -> None:
    deadline = time.monotonic() + 20
    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND cardinality(pg_blocking_pids(pid)) > 0"
    )
    while time.monotonic() < deadline:
        row = watcher.execute(query).fetchone()
        if row is not None and row[0]:
            return
        time.sleep(0.01)
    raise AssertionError("nobody waits")


@pytest.mark.parametrize("locked", ["jobs", "workers"])
def test_rows_that_somebody_holds_are_skipped_and_said_to_be(rows: Rows, locked: str) -> None:
    rows.worker("w1", "3 minutes")
    rows.worker("w2", "3 minutes")
    held, free = rows.job(worker="w1", started="1 minute"), rows.job(worker="w2", started="1 minute")
    with rows.database.connect(autocommit=False) as other:
        other.execute(f"SELECT FROM {locked} WHERE id::text IN ('w1', %s) FOR NO KEY UPDATE", (str(held),))
        done = kit.sweep(rows.dsn, limits=LIMITS)
        assert (done["silent"].found, done["silent"].mended, done["silent"].skipped) == (2, 1, 1)
        assert [finding.key for finding in done["silent"].sample if finding.after is None] == [(str(held),)]
    assert (rows.of_job(held), rows.of_job(free)) == ("running", "waiting")


@pytest.mark.versions
def test_a_unique_key_in_flight_costs_its_own_row_only_and_no_deadlock(rows: Rows) -> None:
    """The application holds a key that we need and wants a row that we hold: we are the ones who give way."""
    rows.database.execute(
        "CREATE UNIQUE INDEX ON jobs (label) WHERE status = 'waiting';"
        f"ALTER DATABASE \"{rows.database.name}\" SET deadlock_timeout = '10s'"
    )
    # Long enough to be seen to wait, far shorter than what the server takes for a deadlock.
    limits = replace(LIMITS, lock_timeout=timedelta(seconds=1))
    wanted = rows.job(started="5 minutes", label="free")
    clashing = rows.job(started="4 minutes", label="same")
    after = rows.job(started="3 minutes 30 seconds", label="other")
    done: dict[str, Outcome] = {}
    sweeper = Sweeper("test")
    with rows.database.connect(autocommit=False) as application:
        application.execute("INSERT INTO jobs (status, label) VALUES ('waiting', 'same')")
        guard = threading.Thread(
            target=lambda: done.update(kit.sweep(rows.dsn, limits=limits, sweeper=sweeper))
        )
        guard.start()
        with rows.database.connect() as watcher:
            wait_for_blocked(watcher)
        application.execute("UPDATE jobs SET priority = 1 WHERE id = %s", (wanted,))  # no deadlock, no error
        application.commit()
        guard.join(timeout=60)
    assert not guard.is_alive()
    assert done["stuck"].error is None
    assert rows.of_job(after) == "waiting"
    again = kit.sweep(rows.dsn, limits=LIMITS, sweeper=sweeper)
    assert rows.of_job(wanted) == "waiting"
    assert rows.of_job(clashing) == "running"
    assert sum(one.set_aside for one in (*done.values(), *again.values())) == 1
    assert (
        rows.database.value("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == 0
    )


def test_a_key_that_stays_in_flight_stops_nobody_else_and_sets_nothing_aside(rows: Rows) -> None:
    rows.database.execute(
        "CREATE UNIQUE INDEX ON jobs (label) WHERE status = 'waiting';"
        f"ALTER DATABASE \"{rows.database.name}\" SET deadlock_timeout = '40ms'"
    )
    jobs = [
        rows.job(started="4 minutes", label="same" if number == 3 else str(number)) for number in range(8)
    ]
    sweeper = Sweeper("test")
    with rows.database.connect(autocommit=False) as application:
        application.execute("INSERT INTO jobs (status, label) VALUES ('waiting', 'same')")
        done = kit.sweep(rows.dsn, limits=LIMITS, sweeper=sweeper)["stuck"]
        assert (done.mended, done.skipped, done.set_aside, done.error) == (7, 1, 0, None)
        application.rollback()
    assert rows.of_job(jobs[3]) == "running"
    assert kit.sweep(rows.dsn, limits=LIMITS, sweeper=sweeper)["stuck"].mended == 1


def test_a_locked_table_is_left_for_the_next_sweep(rows: Rows) -> None:
    for _ in range(3):
        rows.job(started="4 minutes")
    rows.database.execute(f"ALTER DATABASE \"{rows.database.name}\" SET deadlock_timeout = '20ms'")
    with rows.database.connect(autocommit=False) as application:
        application.execute("LOCK TABLE jobs IN SHARE MODE")
        done = kit.sweep(rows.dsn, limits=LIMITS)["stuck"]
        assert (done.found, done.mended, done.skipped, done.set_aside, done.error) == (3, 0, 3, 0, None)
    assert kit.sweep(rows.dsn, limits=LIMITS)["stuck"].mended == 3


def test_two_sweeps_at_once_repair_each_row_once(rows: Rows) -> None:
    for _ in range(40):
        rows.job(started="4 minutes", attempts=0)
    mapping = kit.jobs_mapping(attempts_counted="finish")
    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(kit.sweep, rows.dsn, mapping, replace(LIMITS, batch=3)) for _ in range(2)]
        outcomes = [future.result(timeout=60) for future in futures]
    mended = sum(one.mended for done in outcomes for one in done.values())
    kit.sweep(rows.dsn, mapping, LIMITS)
    assert 3 <= mended <= 40
    assert rows.database.rows("SELECT DISTINCT status, attempts FROM jobs") == [("waiting", 1)]


def test_r6_a_row_that_changes_while_its_batch_is_bisected_keeps_its_patience(rows: Rows) -> None:
    """It was seen unchanged for long enough, but no longer is when its half of the batch is written."""
    rows.database.execute("CREATE UNIQUE INDEX ON jobs (label) WHERE status = 'waiting'")
    rows.job("waiting", label="same")
    for label in ("same", "touched", "untouched"):
        rows.job(started_at=None, label=label)
    memory = Memory()

    def touch() -> None:
        rows.database.execute("UPDATE jobs SET priority = 1 WHERE label = 'touched'")

    async def run() -> Outcome:
        async with interrupted(rows, LIMITS, touch, 2) as (session, target, now):
            rule = next(one for one in CHECKS["stuck_jobs"].rules(target) if one.code == "stuck_no_time")
            await Runner(session, now).mend(target, "stuck_jobs", rule, memory)
            for known, (version, since) in memory.seen.items():
                memory.seen[known] = (version, since - timedelta(hours=1))
            return await Runner(session, now).mend(target, "stuck_jobs", rule, memory)

    done = asyncio.run(run())
    assert (done.mended, done.set_aside) == (1, 1)
    assert rows.database.rows("SELECT label, status FROM jobs WHERE id > 1 ORDER BY id") == [
        ("same", "running"),
        ("touched", "running"),
        ("untouched", "waiting"),
    ]
