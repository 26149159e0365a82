"""The runner, on a real server: batches, rows at fault, and what is remembered of them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import kit
import psycopg
import pytest
from rows import Rows

from queuewarden.adapters.db.session import Query
from queuewarden.checks import stuck_jobs
from queuewarden.engine import render
from queuewarden.engine.memory import Memory
from queuewarden.engine.resolve import resolve
from queuewarden.engine.runner import Runner
from queuewarden.engine.sweep import Sweeper
from queuewarden.queues.mapping import Positions, Reference, TableName

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from servers import Database

    from queuewarden.model import Outcome
    from queuewarden.queues.target import Target

LIMITS = replace(kit.LIMITS, checks=("stuck_jobs",))


@pytest.fixture
def rows(databases: Callable[..., Database]) -> Rows:
    return Rows(databases(kit.SCHEMA))


def sweep(rows: Rows, sweeper: Sweeper | None = None, **limits: Any) -> dict[str, Outcome]:
    return kit.sweep(rows.dsn, limits=replace(LIMITS, **limits), sweeper=sweeper)


def one_waiting_each(rows: Rows) -> None:
    """At most one waiting job of each label, and one of label `same` waits already."""
    rows.database.execute("CREATE UNIQUE INDEX ON jobs (label) WHERE status = 'waiting'")
    rows.job("waiting", label="same")


@pytest.mark.versions
def test_p2_of_a_batch_only_the_row_at_fault_is_set_aside(rows: Rows) -> None:
    one_waiting_each(rows)
    jobs = [
        rows.job(started="4 minutes", label="same" if number == 5 else str(number)) for number in range(8)
    ]
    sweeper = Sweeper("test")
    first = sweep(rows, sweeper)["stuck"]
    assert (first.found, first.mended, first.set_aside, first.skipped, first.error) == (8, 7, 1, 0, None)
    told = [finding for finding in first.sample if "set_aside" in finding.facts]
    assert [(finding.key, finding.facts["set_aside"], finding.check) for finding in told] == [
        ((str(jobs[5]),), "23505", "stuck_jobs")
    ]
    assert [job for job in jobs if rows.of_job(job) == "running"] == [jobs[5]]
    assert sweep(rows, sweeper) == {}, "told once, then left alone"
    rows.database.execute("DELETE FROM jobs WHERE status = 'waiting' AND label = 'same'")
    assert sweep(rows, sweeper) == {}, "left alone until the row itself changes"
    rows.database.execute("UPDATE jobs SET priority = 1 WHERE id = %s", (jobs[5],))
    assert sweep(rows, sweeper)["stuck"].mended == 1
    assert rows.of_job(jobs[5]) == "waiting"


def test_p2_a_row_is_tried_again_once_what_stood_in_its_way_may_be_gone(rows: Rows) -> None:
    sweeper = Sweeper("test")
    rows.database.execute("ALTER TABLE jobs ADD CHECK (label <> 'no' OR status <> 'waiting')")
    stuck = rows.job(started="1 hour", label="no")
    assert sweep(rows, sweeper)["stuck"].set_aside == 1
    rows.database.execute("ALTER TABLE jobs DROP CONSTRAINT jobs_check")
    assert "stuck" not in sweep(rows, sweeper)
    memory = sweeper.state("mail").memory
    assert memory.aside_since is not None
    memory.aside_since -= kit.LIMITS.remind_after
    assert sweep(rows, sweeper)["stuck"].mended == 1
    assert rows.of_job(stuck) == "waiting"


def test_p2_a_row_that_changed_and_is_still_at_fault_is_set_aside_anew(rows: Rows) -> None:
    one_waiting_each(rows)
    rows.job(started="4 minutes", label="same")
    sweeper = Sweeper("test")
    assert sweep(rows, sweeper)["stuck"].set_aside == 1
    rows.database.execute("UPDATE jobs SET priority = 1")
    assert sweep(rows, sweeper)["stuck"].set_aside == 1
    assert sweep(rows, sweeper) == {}


@pytest.mark.parametrize("batch", [1, 2, 3, 100])
def test_p3_rows_at_fault_do_not_starve_those_behind_them(rows: Rows, batch: int) -> None:
    one_waiting_each(rows)
    bad = [rows.job(started="1 hour", label="same") for _ in range(5)]
    good = [rows.job(started="4 minutes") for _ in range(5)]
    done = sweep(rows, batch=batch)["stuck"]
    assert (done.mended, done.set_aside) == (5, 5)
    assert {rows.of_job(job) for job in bad} == {"running"}
    assert {rows.of_job(job) for job in good} == {"waiting"}


FAULTS = {
    "22003": "ALTER TABLE jobs ALTER attempts TYPE smallint; UPDATE jobs SET attempts = 32767 WHERE id = 2",
    "23514": "ALTER TABLE jobs ADD CHECK (id <> 2 OR status <> 'waiting')",
    "23502": "CREATE FUNCTION t() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN IF NEW.id = 2 THEN"
    " NEW.enqueued_at := NULL; END IF; RETURN NEW; END$$;"
    "CREATE TRIGGER t BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION t()",
    "P0001": "CREATE FUNCTION t() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN IF NEW.id = 2 THEN"
    " RAISE 'not that one'; END IF; RETURN NEW; END$$;"
    "CREATE TRIGGER t BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION t()",
    "42501": "CREATE FUNCTION t() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN IF NEW.id = 2 THEN"
    " RAISE insufficient_privilege; END IF; RETURN NEW; END$$;"
    "CREATE TRIGGER t BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION t()",
    # Without SET CONSTRAINTS ALL IMMEDIATE these would show as a COMMIT that fails.
    "23000": "CREATE FUNCTION t() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN IF NEW.id = 2 THEN"
    " RAISE integrity_constraint_violation; END IF; RETURN NULL; END$$;"
    "CREATE CONSTRAINT TRIGGER t AFTER UPDATE ON jobs DEFERRABLE INITIALLY DEFERRED"
    " FOR EACH ROW EXECUTE FUNCTION t()",
    "23503": "CREATE TABLE words (word text PRIMARY KEY);"
    "INSERT INTO words VALUES ('running'), ('done'), ('failed'), ('cancelled'), ('waiting');"
    "ALTER TABLE jobs ADD home text"
    " GENERATED ALWAYS AS (CASE WHEN id = 2 AND status = 'waiting' THEN 'x' END)"
    " STORED REFERENCES words DEFERRABLE INITIALLY DEFERRED",
}


@pytest.mark.versions
@pytest.mark.parametrize("state", FAULTS)
def test_p2_whatever_a_row_violates_the_others_are_mended(rows: Rows, state: str) -> None:
    jobs = [rows.job(started="4 minutes") for _ in range(3)]
    rows.database.execute(FAULTS[state])
    sweeper = Sweeper("test")
    mapping = kit.jobs_mapping(attempts_counted="finish")
    done = kit.sweep(rows.dsn, mapping, LIMITS, sweeper=sweeper)["stuck"]
    assert (done.mended, done.set_aside, done.error) == (2, 1, None)
    assert [finding.facts.get("set_aside") for finding in done.sample if finding.after is None] == [state]
    assert [rows.of_job(job) for job in jobs] == ["waiting", "running", "waiting"]
    assert kit.sweep(rows.dsn, mapping, LIMITS, sweeper=sweeper) == {}


@pytest.mark.parametrize("count", [3, 27])
def test_a_job_that_a_trigger_keeps_running_was_not_reset(rows: Rows, count: int) -> None:
    """Whether images are wanted of the batch, or only counts."""
    jobs = [rows.job(started=f"{60 - number} minutes") for number in range(count)]
    rows.database.execute(
        "CREATE FUNCTION t() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN"
        f" IF NEW.id = {jobs[-1]} AND NEW.status = 'waiting' THEN RETURN OLD; END IF; RETURN NEW; END$$;"
        "CREATE TRIGGER t BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION t()"
    )
    done = sweep(rows, batch=3)["stuck"]
    assert (done.mended, done.set_aside, done.error) == (count - 1, 1, None)
    assert [job for job in jobs if rows.of_job(job) == "running"] == jobs[-1:]


def test_an_orphan_that_a_trigger_keeps_waiting_was_not_cancelled(rows: Rows) -> None:
    rows.database.execute(
        "CREATE TABLE parents (id bigint PRIMARY KEY); INSERT INTO parents VALUES (1);"
        "CREATE FUNCTION t() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN NEW.status := OLD.status; RETURN NEW; END$$;"
        "CREATE TRIGGER t BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION t()"
    )
    rows.job("waiting", parent=9, enqueued_at="1 hour")
    mapping = replace(kit.MAPPING, references=(Reference("parent", TableName("parents"), "id"),))
    done = kit.sweep(rows.dsn, mapping)["orphan_parent"]
    assert (done.mended, done.set_aside) == (0, 1)


def test_a_check_that_cannot_be_carried_out_is_an_error_not_a_zero(rows: Rows) -> None:
    rows.job(started="4 minutes")
    rows.database.execute(
        "CREATE FUNCTION t() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN PERFORM 1 FROM nowhere; RETURN NEW; END$$;"
        "CREATE TRIGGER t BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION t()"
    )
    done = sweep(rows)["stuck"]
    assert (done.error, done.mended) == ("42P01", 0)
    assert sweep(rows)["stuck"].error == "42P01"


@pytest.mark.versions
@pytest.mark.parametrize("level", ["serializable", "repeatable read", "read uncommitted"])
def test_a_role_that_defaults_to_another_isolation_is_guarded_alike(rows: Rows, level: str) -> None:
    rows.database.execute(
        f"ALTER DATABASE \"{rows.database.name}\" SET default_transaction_isolation = '{level}';"
        f'ALTER DATABASE "{rows.database.name}" SET default_transaction_read_only = on'
    )

    async def seen() -> tuple[str, str]:
        async with kit.session(rows.dsn) as session:
            query = Query(b"SELECT current_setting('transaction_isolation')", {})
            async with session.transaction() as transaction:
                ((writing,),) = await transaction.execute(query)
            ((reading,),) = await session.rows(query)
            return writing, reading

    assert asyncio.run(seen()) == ("read committed", "read committed")
    with rows.database.connect() as other:
        other.execute("SET default_transaction_read_only = off")
        other.execute("INSERT INTO jobs (status, started_at) VALUES ('running', now() - interval '1 hour')")
    assert sweep(rows)["stuck"].mended == 1


@pytest.mark.versions
def test_locking_is_refused_where_only_reading_was_meant(rows: Rows) -> None:
    """So a find can never become a repair by mistake."""

    async def lock() -> None:
        async with kit.session(rows.dsn) as session:
            target = (await resolve(session, "test", kit.MAPPING, LIMITS)).target
            assert target is not None
            await session.rows(render.lock(target, stuck_jobs.rules(target)[0], render.Scope(1)))

    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        asyncio.run(lock())


@pytest.mark.versions
@pytest.mark.parametrize(
    ("deadlock", "expected"), [("1s", "100ms"), ("120ms", "60ms"), ("3min", "100ms"), ("1ms", "1ms")]
)
def test_the_lock_timeout_is_never_above_half_the_servers_deadlock_timeout(
    rows: Rows, deadlock: str, expected: str
) -> None:
    rows.database.execute(f"ALTER DATABASE \"{rows.database.name}\" SET deadlock_timeout = '{deadlock}'")

    async def seen() -> str:
        async with kit.session(rows.dsn) as session, session.transaction() as transaction:
            ((value,),) = await transaction.execute(Query(b"SELECT current_setting('lock_timeout')", {}))
            return str(value)

    assert asyncio.run(seen()) == expected


def test_more_rows_than_a_sample_holds_are_all_remembered(rows: Rows) -> None:
    for number in range(45):
        rows.job(started="4 minutes", worker=f"w{number}")
    sweeper = Sweeper("test")
    done = sweep(rows, sweeper, batch=10)["stuck"]
    assert (done.found, done.mended, len(done.sample)) == (45, 45, 20)
    resets = sweeper.state("mail").memory.resets
    assert {key: reset.worker for key, reset in resets.items()} == {(str(n + 1),): f"w{n}" for n in range(45)}
    assert all(reset.started for reset in resets.values())


def test_the_batches_go_by_time_and_then_by_key(rows: Rows) -> None:
    young, old, older = (rows.job(started=age) for age in ("4 minutes", "5 minutes", "6 minutes"))
    done = sweep(rows, batch=1)["stuck"]
    assert [int(finding.key[0]) for finding in done.sample] == [older, old, young]


def mended_with(rows: Rows, confirm: Any, memory: Memory, **limits: Any) -> Outcome:
    async def mend() -> Outcome:
        async with kit.session(rows.dsn) as session:
            target = (await resolve(session, "test", kit.MAPPING, replace(LIMITS, **limits))).target
            assert target is not None
            ((now,),) = await session.rows(Query(b"SELECT now()", {}))
            rule = next(rule for rule in stuck_jobs.rules(target) if rule.code == "stuck")
            return await Runner(session, now, confirm).mend(target, "stuck_jobs", rule, memory)

    return asyncio.run(mend())


def test_what_was_committed_counts_although_the_rest_could_not_be_done(rows: Rows) -> None:
    """The batch is bisected; its first half is done, then a worker beats before the second is."""
    one_waiting_each(rows)
    for number in range(4):
        rows.job(started="4 minutes", label="same" if number == 3 else str(number))
    asked: list[int] = []

    async def confirm(_: Target, workers: Collection[str]) -> bool:
        asked.append(len(workers))
        return len(asked) < 2

    memory = Memory()
    done = mended_with(rows, confirm, memory)
    assert (done.mended, done.skipped, done.held) == (2, 2, "busy")
    assert len(memory.resets) == 2
    assert sum(status == "waiting" for status in rows.statuses().values()) == 3


def test_a_worker_that_beats_just_before_the_commit_keeps_its_jobs(rows: Rows) -> None:
    job = rows.job(started="4 minutes", worker="w1")

    async def confirm(_: Target, workers: Collection[str]) -> bool:
        return "w1" not in workers

    memory = Memory()
    done = mended_with(rows, confirm, memory)
    assert (done.mended, done.skipped, done.held) == (0, 1, "busy")
    assert rows.of_job(job) == "running"
    assert not memory.resets


def test_a_row_that_no_lock_could_be_had_on_is_counted_only_while_it_is(rows: Rows) -> None:
    job = rows.job(started="4 minutes")
    sweeper = Sweeper("test")
    with rows.database.connect(autocommit=False) as other:
        other.execute("SELECT FROM jobs FOR UPDATE")
        for _ in range(2):
            assert sweep(rows, sweeper)["stuck"].skipped == 1
        assert sweeper.state("mail").memory.skips == {("jobs", (str(job),)): 2}
    assert sweep(rows, sweeper)["stuck"].mended == 1
    assert sweeper.state("mail").memory.skips == {}


def test_r16_while_another_guard_repairs_nothing_is_written_and_nothing_counted(rows: Rows) -> None:
    job = rows.job(started="4 minutes")
    sweeper = Sweeper("test")

    async def both() -> dict[str, Outcome]:
        async with kit.session(rows.dsn) as first, first.transaction():
            report = await kit.sweep_async(rows.dsn, limits=LIMITS, sweeper=sweeper)
            return {outcome.code: outcome for outcome in report.queues[0].outcomes}

    done = asyncio.run(both())["stuck"]
    assert (done.held, done.mended, done.skipped, done.error) == ("busy", 0, 1, None)
    assert rows.of_job(job) == "running"
    assert sweeper.state("mail").memory.skips == {}
    assert sweep(rows, sweeper)["stuck"].mended == 1


def test_the_position_columns_stand_in_the_image(rows: Rows) -> None:
    rows.job(started="4 minutes", lane=3, position=7)
    mapping = replace(kit.MAPPING, positions=Positions("position", lane=("lane",)))
    (finding,) = kit.sweep(rows.dsn, mapping, LIMITS)["stuck"].sample
    assert (finding.before["lane"], finding.before["position"]) == ("3", "7")


def test_a_rule_without_patience_left_remembers_no_more_than_it_may(rows: Rows) -> None:
    for _ in range(3):
        rows.job(started_at=None)
    sweeper = Sweeper("test")
    sweep(rows, sweeper)
    assert {key for _, key in sweeper.state("mail").memory.seen} == {("1",), ("2",), ("3",)}
