"""Many batches listed by one look, several in one transaction: nothing lost, nothing counted twice."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import kit
import ledgers
import pytest
from eventually import eventually
from ledgers import Ledgered

from queuewarden.adapters.db.session import Query
from queuewarden.checks import stuck_jobs
from queuewarden.engine import render
from queuewarden.engine.memory import Memory
from queuewarden.engine.resolve import resolve
from queuewarden.engine.runner import Runner
from queuewarden.queues.mapping import Jobs, Mapping, States, TableName

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from servers import Database

    from queuewarden.model import Outcome
    from queuewarden.queues.target import Target

LIMITS = replace(kit.LIMITS, checks=("stuck_jobs",), batch=10)
FILL = """
INSERT INTO jobs (status, started_at, label)
SELECT 'running', now() - interval '1 hour' + n * interval '1 second', n::text
  FROM generate_series(1, {}) AS n"""
WAITING_ONCE = "CREATE UNIQUE INDEX ON jobs (label) WHERE status = 'waiting'"


@pytest.fixture
def database(databases: Callable[..., Database]) -> Database:
    return databases(ledgers.SCHEMA)


def stuck(database: Database) -> list[int]:
    return [id_ for (id_,) in database.rows("SELECT id FROM jobs WHERE status = 'running' ORDER BY id")]


def counted_writes(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each batch that was tried came through."""
    tried: list[bool] = []
    write = Runner._write

    async def counted(self: Runner, *given: Any) -> Any:
        tried.append(False)
        done = await write(self, *given)
        tried[-1] = True
        return done

    monkeypatch.setattr(Runner, "_write", counted)
    return tried


def meanwhile(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Something happens between the look ahead and what is written by it, once."""
    listed, left = Runner._listed, [act]

    async def later(self: Runner, *given: Any) -> None:
        if left:
            left.pop()()
        await listed(self, *given)

    monkeypatch.setattr(Runner, "_listed", later)


def assert_booked(database: Database, mended: set[int]) -> None:
    """The ledger has each of these jobs once, under ids without a gap."""
    changes = ledgers.changes(database)
    assert [one.id for one in changes] == list(range(1, len(mended) + 1))
    assert sorted(int(one.finding.key[0]) for one in changes) == sorted(mended)
    assert database.value("SELECT last_id FROM queuewarden.counter") == len(mended)


@pytest.mark.versions
@pytest.mark.parametrize("deferred", [False, True], ids=["at once", "at the commit"])
def test_one_row_at_fault_amid_many_batches(
    database: Database, monkeypatch: pytest.MonkeyPatch, *, deferred: bool
) -> None:
    database.execute(FILL.format(215))
    if deferred:
        database.execute(
            "CREATE FUNCTION t() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN IF NEW.id = 205 THEN"
            " RAISE integrity_constraint_violation; END IF; RETURN NULL; END$$;"
            "CREATE CONSTRAINT TRIGGER t AFTER UPDATE ON jobs DEFERRABLE INITIALLY DEFERRED"
            " FOR EACH ROW EXECUTE FUNCTION t()"
        )
    else:
        database.execute(WAITING_ONCE)
        database.execute("INSERT INTO jobs (label) VALUES ('205')")
    tried = counted_writes(monkeypatch)
    done = Ledgered(database, limits=LIMITS).sweep()["stuck"]
    assert (done.found, done.mended, done.set_aside, done.skipped, done.error) == (215, 214, 1, 0, None)
    assert stuck(database) == [205]
    assert_booked(database, set(range(1, 216)) - {205})
    assert len(tried) < 70, "22 batches, once more each where one of them failed, and the parts of that one"


def test_rows_on_which_somebody_waits_cost_few_waits(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.execute(FILL.format(215))
    database.execute(WAITING_ONCE)
    tried = counted_writes(monkeypatch)
    with database.connect(autocommit=False) as other:
        other.execute("INSERT INTO jobs (label) VALUES ('150'), ('160')")
        done = Ledgered(database, limits=LIMITS).sweep()["stuck"]
        other.rollback()
    assert (done.found, done.mended, done.set_aside, done.skipped, done.error) == (215, 213, 0, 2, None)
    assert stuck(database) == [150, 160]
    assert tried.count(False) <= 2 * 7


def test_locked_rows_are_left_and_counted_once(database: Database) -> None:
    database.execute(FILL.format(60))
    with database.connect(autocommit=False) as other:
        other.execute("SELECT FROM jobs WHERE id IN (3, 25, 26, 60) FOR UPDATE")
        done = Ledgered(database, limits=LIMITS).sweep()["stuck"]
    assert (done.found, done.mended, done.skipped) == (60, 56, 4)
    assert stuck(database) == [3, 25, 26, 60]
    assert_booked(database, set(range(1, 61)) - {3, 25, 26, 60})


@pytest.mark.versions
def test_rows_that_change_behind_the_look_are_judged_anew(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.execute(FILL.format(60))
    meanwhile(
        monkeypatch,
        lambda: database.execute(
            "UPDATE jobs SET started_at = now() WHERE id = 20; UPDATE jobs SET status = 'done' WHERE id = 30;"
            "DELETE FROM jobs WHERE id = 40; UPDATE jobs SET priority = 1 WHERE id = 50;"
            "INSERT INTO jobs (id, status, started_at) VALUES (100, 'running', '2000-01-01')"
        ),
    )
    ledgered = Ledgered(database, limits=LIMITS)
    first = ledgered.sweep()["stuck"]
    assert (first.found, first.mended, first.skipped, first.error) == (58, 56, 2, None)
    assert stuck(database) == [20, 50, 100], "what has moved, or come meanwhile, is for the next sweep"
    assert ledgered.sweep()["stuck"].mended == 2
    assert stuck(database) == [20]
    assert_booked(database, {*range(1, 61), 100} - {20, 30, 40})


def test_a_lease_that_is_lost_between_ends_it_there(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.execute(FILL.format(60))
    ledgered = Ledgered(database, limits=LIMITS, actor="one")
    ledgered.take_lease()
    meanwhile(monkeypatch, lambda: database.execute("UPDATE queuewarden.lease SET epoch = epoch + 1"))
    done = ledgered.sweep()["stuck"]
    assert (done.mended, done.held) == (10, "lease")
    assert stuck(database) == list(range(11, 61))
    assert_booked(database, set(range(1, 11)))


def test_workers_are_asked_for_at_the_very_end_and_all_or_nothing_stands(database: Database) -> None:
    database.execute(FILL.format(60))
    database.execute("UPDATE jobs SET worker = 'w' || id")
    asked: list[set[str]] = []

    async def confirm(_: Target, workers: Collection[str]) -> bool:
        asked.append(set(workers))
        return len(asked) < 2

    async def mend() -> Outcome:
        async with kit.session(database.dsn) as session:
            target = (await resolve(session, "test", kit.MAPPING, LIMITS)).target
            assert target is not None
            ((now,),) = await session.rows(Query(b"SELECT now()", {}))
            rule = next(rule for rule in stuck_jobs.rules(target) if rule.code == "stuck")
            runner = Runner(session, now, confirm)
            return await runner.mend(target, "stuck_jobs", rule, Memory())

    done = asyncio.run(mend())
    assert (done.mended, done.held) == (10, "busy")
    assert asked[0] == {f"w{number}" for number in range(1, 11)}
    assert {f"w{number}" for number in range(11, 21)} < asked[1], "those of several batches at once"
    assert stuck(database) == list(range(11, 61))


@pytest.mark.versions
def test_keys_of_several_columns_in_partitions(databases: Callable[..., Database]) -> None:
    database = databases(
        """
        CREATE TYPE kind AS ENUM ('b', 'a');
        CREATE TABLE jobs (kind kind, name text COLLATE "C", status text, at timestamptz,
                           PRIMARY KEY (kind, name)) PARTITION BY LIST (kind);
        CREATE TABLE jobs_a PARTITION OF jobs FOR VALUES IN ('a');
        CREATE TABLE jobs_b PARTITION OF jobs FOR VALUES IN ('b');
        INSERT INTO jobs SELECT k::kind, CASE WHEN n % 2 = 0 THEN '{",\\%s ' ELSE '' END || n, 'running',
                                now() - interval '1 hour'
          FROM generate_series(1, 40) AS n, unnest(ARRAY['a', 'b']) AS k;
        """
    )
    mapping = Mapping(
        "mail",
        Jobs(TableName("jobs"), ("kind", "name"), status="status", started_at="at"),
        States(("waiting",), ("running",)),
    )
    done = kit.sweep(database.dsn, mapping, LIMITS)["stuck"]
    assert (done.found, done.mended, done.error) == (80, 80, None)
    assert database.value("SELECT count(*) FROM jobs WHERE status = 'waiting' AND at IS NULL") == 80


def test_the_look_ahead_goes_on_behind_the_last_row(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that stay at fault are not listed again and again."""
    monkeypatch.setattr("queuewarden.engine.runner.AHEAD", 2)
    database.execute(FILL.format(70))
    looks: list[tuple[str, ...]] = []
    ahead = render.ahead

    def noted(*given: Any) -> Query:
        looks.append(given[2].after)
        return ahead(*given)

    monkeypatch.setattr(render, "ahead", noted)
    with database.connect(autocommit=False) as other:
        other.execute("SELECT FROM jobs WHERE id > 10 FOR UPDATE")
        done = Ledgered(database, limits=LIMITS).sweep()["stuck"]
    assert (done.mended, len(looks)) == (10, 4)
    assert [place[-1] for place in looks] == ["10", "30", "50", "70"]


KILLED = """
import asyncio, sys
sys.path.insert(0, sys.argv[2])
from test_ahead import LIMITS
from ledgers import Ledgered
from servers import Database
Ledgered(Database(sys.argv[1], ""), limits=LIMITS).sweep()
"""


def test_a_guard_that_is_killed_amid_several_batches_leaves_whole_ones(database: Database) -> None:
    database.execute(FILL.format(60))
    database.execute(
        "CREATE FUNCTION t() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN IF NEW.id = 35 THEN PERFORM pg_sleep(4); END IF; RETURN NEW; END$$;"
        "CREATE TRIGGER t BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION t()"
    )
    here = Path(__file__).parent
    path = os.pathsep.join([str(here), str(here.parent)])
    guard = subprocess.Popen(
        [sys.executable, "-c", KILLED, database.dsn, str(here)], env=os.environ | {"PYTHONPATH": path}
    )
    sessions = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    try:
        eventually(lambda: database.value(f"{sessions} AND wait_event = 'PgSleep'") == 1)
    finally:
        guard.send_signal(signal.SIGKILL)
        guard.wait()
    eventually(lambda: database.value(sessions) == 0, seconds=60, what="the server has noticed")
    left = stuck(database)
    assert 35 in left
    assert len(left) % 10 == 0
    assert_booked(database, set(range(1, 61)) - set(left))
