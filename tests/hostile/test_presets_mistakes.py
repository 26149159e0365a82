"""Mappings that speak of columns: wrong words, values beyond all times, own limits, jobs that are over."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import kit
import psycopg
import pytest
from eventually import eventually
from ledgers import Ledgered, refusals

from queuewarden.checks.by_hand import Wanted, reset_rules, retry_rules
from queuewarden.engine.ledger import schema
from queuewarden.engine.resolve import Resolution, resolve
from queuewarden.engine.sweep import Sweeper
from queuewarden.queues.conditions import written
from queuewarden.queues.mapping import Alive, Backend, Jobs, Mapping, Reference, Starts, States, TableName

if TYPE_CHECKING:
    from collections.abc import Callable

    from servers import Database

    from queuewarden.model import Outcome

SCHEMA = """
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE DOMAIN tempered AS mood;
CREATE TABLE jobs (
    id bigserial PRIMARY KEY, locked_at timestamptz, locked_by text, ended_at timestamptz,
    failed_at timestamptz, attempts int NOT NULL DEFAULT 0, beat timestamptz, beat_seconds numeric,
    seconds float8, note text, mood tempered DEFAULT 'good', "we)i%r""d" text);
CREATE TABLE events (job_id bigint, at timestamptz);
"""
STATES = States(
    waiting=("locked_at is null", "ended_at is null"), running=("locked_at is not null", "ended_at is null")
)
MAPPING = Mapping(
    "mail", Jobs(TableName("jobs"), ("id",), worker="locked_by", started_at="locked_at"), STATES
)
LIMITS = replace(kit.LIMITS, checks=("stuck_jobs",), stuck_after_alive=None)


@pytest.fixture
def database(databases: Callable[..., Database]) -> Database:
    return databases(SCHEMA)


def job(database: Database, **columns: str) -> int:
    """A job that has been running for an hour; columns as SQL expressions."""
    given = {"locked_at": "now() - interval '1 hour'", "locked_by": "'w'"} | columns
    names = ", ".join(f'"{name}"' for name in given)
    id_ = database.value(f"INSERT INTO jobs ({names}) VALUES ({', '.join(given.values())}) RETURNING id")
    assert isinstance(id_, int)
    return id_


def running(database: Database) -> list[int]:
    return [id_ for (id_,) in database.rows("SELECT id FROM jobs WHERE locked_at IS NOT NULL ORDER BY id")]


def sweep(database: Database, mapping: Mapping, **rest: Any) -> dict[str, Outcome]:
    return kit.sweep(database.dsn, mapping, LIMITS, **rest)


def look(database: Database, mapping: Mapping) -> Resolution:
    async def resolved() -> Resolution:
        async with kit.session(database.dsn) as session:
            return await resolve(session, "test", mapping, LIMITS)

    return asyncio.run(resolved())


def mapped(**changes: Any) -> Mapping:
    """`MAPPING` with other columns of the jobs table."""
    return replace(MAPPING, jobs=replace(MAPPING.jobs, **changes))


WRITES = {
    "note = +1": "REQUEUE: public.jobs.note is of type text, not a number",
    "attempts = null": "REQUEUE: public.jobs.attempts cannot be NULL",
    "attempts = 'it''s 100%'": 'REQUEUE: invalid input syntax for type integer: "it\'s 100%"',
    "mood = 'sad'": 'REQUEUE: invalid input value for enum public.mood: "sad"',
    "attempts = now": "REQUEUE: public.jobs.attempts is of type int4, not a timestamp",
    "id = +1": "REQUEUE: public.jobs.id is the job's key, which never changes",
}


@pytest.mark.parametrize("words", WRITES)
def test_what_a_column_cannot_hold_is_said_before_any_job_is_set_aside(
    database: Database, words: str
) -> None:
    job(database)
    mapping = replace(MAPPING, requeue=(written(words),))
    assert WRITES[words] in look(database, mapping).faults
    done = sweep(database, mapping)["stuck"]
    assert (done.mended, done.set_aside, done.error, done.held) == (0, 0, None, "hold")


def test_odd_names_and_texts_are_written_as_they_are(database: Database) -> None:
    job(database)
    words = ("\"we)i%r\"\"d\" = 'it''s 100% %s {x}'", "note = '$1 \\'", "mood = 'bad'", "attempts = +1")
    assert sweep(database, replace(MAPPING, requeue=tuple(map(written, words))))["stuck"].mended == 1
    assert database.rows('SELECT "we)i%r""d", note, mood::text, attempts FROM jobs') == [
        ("it's 100% %s {x}", "$1 \\", "bad", 1)
    ]


CONDITIONS = {
    "attempts < 'abc'": 'STATES__RUNNING: invalid input syntax for type integer: "abc"',
    "note has 'x'": "STATES__RUNNING: function pg_catalog.jsonb_exists(text, text) does not exist",
    "locked": "ALIVE__ADVISORY_LOCK: not set, though states, or SPARE, say that a job is locked",
}


@pytest.mark.parametrize("text", CONDITIONS)
def test_a_state_that_cannot_be_told_is_a_fault(database: Database, text: str) -> None:
    resolution = look(database, replace(MAPPING, states=replace(STATES, running=(text,))))
    assert (resolution.faults, resolution.target) == ((CONDITIONS[text],), None)


def test_a_state_told_by_a_lock_without_its_column_is_a_fault(database: Database) -> None:
    lost = replace(MAPPING, states=replace(STATES, running=("locked",)), alive=Alive(advisory_lock="nope"))
    resolution = look(database, lost)
    assert resolution.target is None
    assert resolution.faults[0].startswith("ALIVE__ADVISORY_LOCK: public.jobs has no column nope")


@pytest.mark.versions
def test_a_domain_over_an_enum_can_tell_a_state(database: Database) -> None:
    good, _ = job(database), job(database, mood="'bad'")
    states = replace(STATES, running=("locked_at is not null", "mood <> 'good'"))
    assert sweep(database, replace(MAPPING, states=states))["stuck"].mended == 1
    assert running(database) == [good]


def test_a_job_that_is_over_does_not_run_whatever_it_has_kept(database: Database) -> None:
    job(database)
    ended, failed = job(database, ended_at="now()"), job(database, failed_at="now()")
    states = States(
        waiting=("locked_at is null",), running=("locked_at is not null",), done=("ended_at is not null",),
        failed=("failed_at is not null",),
    )  # fmt: skip
    done = sweep(database, replace(MAPPING, states=states))["stuck"]
    assert (done.found, done.mended) == (1, 1)
    assert running(database) == [ended, failed]


@pytest.mark.parametrize("kept", ["locked_at = keep", "locked_at = now"])
def test_a_release_that_would_not_end_the_running_is_none(database: Database, kept: str) -> None:
    """Else each sweep would tell of a reset, and the job would go on running."""
    one = job(database)
    mapping = replace(MAPPING, requeue=(written(kept),))
    assert look(database, mapping).notes
    done = sweep(database, mapping)["stuck"]
    assert (done.found, done.mended, done.error) == (1, 0, None)
    assert database.rows("SELECT id, locked_by FROM jobs") == [(one, "w")]
    target = look(database, mapping).target
    assert target is not None
    assert [rule.write for rule in reset_rules(target, Wanted())] == [None]


def test_an_undo_sees_that_a_job_was_done_meanwhile(databases: Callable[..., Database]) -> None:
    """Though the columns that tell so are mapped in conditions alone, and all others are as we left them."""
    database = databases(SCHEMA + schema.script())
    job(database)
    states = replace(STATES, done=("ended_at is not null",))
    queue = Ledgered(database, replace(MAPPING, states=states), LIMITS)
    assert queue.sweep()["stuck"].mended == 1
    database.execute("UPDATE jobs SET ended_at = now()")
    assert refusals(queue.undo()) == {"1": "it has changed since: ended_at"}


def test_failed_jobs_are_retried_by_when_they_failed(database: Database) -> None:
    states = replace(STATES, failed=("failed_at is not null",))
    target = look(database, replace(mapped(failed_at="failed_at"), states=states)).target
    assert target is not None
    (rule,) = retry_rules(target, timedelta(days=1))
    assert rule.write is not None
    assert "failed_at" in rule.write.values


class TestOwnLimits:
    def test_without_a_start_a_job_is_judged_by_its_own_limits_too(self, database: Database) -> None:
        mapping = replace(
            mapped(
                started_at=None, heartbeat="beat", heartbeat_seconds="beat_seconds", timeout_seconds="seconds"
            ),
            requeue=(written("locked_at = null"),),
        )
        ago = {"beat": "now() - interval '10 minutes'"}
        slow, long = job(database, beat_seconds="7200", **ago), job(database, seconds="7200", **ago)
        job(database, **ago)
        assert sweep(database, mapping)["stuck_no_start"].mended == 1
        assert running(database) == [slow, long]

    def test_nor_before_them_where_another_table_notes_its_start(self, database: Database) -> None:
        mapping = replace(
            mapped(started_at=None, timeout_seconds="seconds"),
            starts=Starts(TableName("events"), "job_id", "at"),
            requeue=(written("locked_at = null"),),
        )
        long, _ = job(database, seconds="7200"), job(database)
        database.execute("INSERT INTO events SELECT id, now() - interval '10 minutes' FROM jobs")
        assert sweep(database, mapping)["stuck_no_start"].mended == 1
        assert running(database) == [long]

    @pytest.mark.versions
    def test_limits_beyond_all_times_mean_for_ever(self, database: Database) -> None:
        mapping = mapped(heartbeat="beat", heartbeat_seconds="beat_seconds", timeout_seconds="seconds")
        lasting = [job(database, seconds=one) for one in ("1e300", "'NaN'", "'Infinity'")]
        lasting += [job(database, beat_seconds="1e30")]
        job(database)
        job(database, seconds="-5")
        done = sweep(database, mapping)["stuck"]
        assert (done.mended, done.error) == (2, None)
        assert running(database) == lasting


class TestEpochs:
    SCHEMA = (
        "CREATE TABLE jobs (id bigserial PRIMARY KEY, status text, taken bigint, came bigint, ended bigint)"
    )
    MAPPING = Mapping(
        "mail",
        Jobs(
            TableName("jobs"),
            ("id",),
            status="status",
            started_at="taken",
            enqueued_at="came",
            finished_at="ended",
            epoch="seconds",
        ),
        States(("waiting",), ("running",), done=("done",)),
        timestamps=(("done", "ended"),),
    )

    @pytest.mark.versions
    def test_one_row_beyond_all_times_blinds_no_check(self, databases: Callable[..., Database]) -> None:
        database = databases(self.SCHEMA)
        database.execute(
            "INSERT INTO jobs (status, taken, came) VALUES ('running', 1000, 1000),"
            " ('running', -9223372036854775808, 5), ('running', 9223372036854775807, 9223372036854775807),"
            " ('done', extract(epoch FROM now()) + 3600, 1), ('waiting', NULL, -9223372036854775808)"
        )
        outcomes = kit.sweep(
            database.dsn, self.MAPPING, replace(kit.LIMITS, checks=("stuck_jobs", "timestamps"))
        )
        assert not [one.failure for one in outcomes.values() if one.error]
        assert (outcomes["stuck"].mended, outcomes["in_the_future"].found) == (2, 2)
        assert outcomes["missing_ended_done"].mended == 1
        assert database.rows("SELECT id FROM jobs WHERE status = 'running'") == [(3,)]


@pytest.mark.versions
@pytest.mark.parametrize("name", ["bürö-%s-1", "ä", "w\u2028x", "w" * 62 + "é" + "w"])
def test_a_session_is_known_by_a_name_that_the_server_respells(database: Database, name: str) -> None:
    mapping = replace(MAPPING, alive=Alive(backend=Backend("application_name", "locked_by")))
    job(database)
    alive = job(database, locked_by=f"'{name}'")
    with psycopg.connect(database.dsn, application_name=name) as worker:
        worker.execute("SELECT")
        assert sweep(database, mapping)["stuck"].mended == 1
        assert running(database) == [alive]
        session = [worker.info.backend_pid]
    eventually(lambda: not database.rows("SELECT FROM pg_stat_activity WHERE pid = %s", session))
    assert sweep(database, mapping)["stuck"].mended == 1


class TestNothingRuns:
    """Where no job runs, no look for stuck ones is taken: only if that is sure, and for those alone."""

    def test_a_look_of_an_earlier_sweep_hides_no_job(self, database: Database) -> None:
        sweeper = Sweeper("test")
        assert sweep(database, MAPPING, sweeper=sweeper) == {}
        sweeper.state("mail").next_look = float("inf")  # it took long
        one = job(database)
        assert sweep(database, MAPPING, sweeper=sweeper)["stuck"].mended == 1
        assert one not in running(database)

    def test_orphans_that_wait_for_their_time_are_not_forgotten(
        self, databases: Callable[..., Database]
    ) -> None:
        database = databases(kit.SCHEMA + "CREATE TABLE parents (id bigint); INSERT INTO parents VALUES (1)")
        database.execute("INSERT INTO jobs (parent) VALUES (7)")
        mapping = replace(
            kit.jobs_mapping(enqueued_at=None),
            references=(Reference("parent", TableName("parents"), "id"),),
        )
        limits, sweeper = replace(kit.LIMITS, checks=("stuck_jobs", "orphans")), Sweeper("test")
        kit.sweep(database.dsn, mapping, limits, sweeper=sweeper)
        seen = sweeper.state("mail").memory.seen
        kit.sweep(database.dsn, mapping, limits, sweeper=sweeper)
        assert {code for code, _ in seen} == {"orphan_parent"}
