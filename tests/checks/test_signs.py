"""Signs of life, states told by other columns, integer times, notes of starts: on a real server."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import kit
import psycopg
import pytest

from queuewarden.adapters.db.session import Query
from queuewarden.engine.runner import Runner
from queuewarden.queues.conditions import written
from queuewarden.queues.mapping import Alive, Backend, Jobs, Mapping, RowLock, Starts, States, TableName
from queuewarden.queues.presets import presets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from servers import Database

    from queuewarden.adapters.db.transaction import Transaction
    from queuewarden.engine.batch import Batch
    from queuewarden.model import Outcome

SCHEMA = """
CREATE TABLE jobs (
    id bigserial PRIMARY KEY, locked_at timestamptz, locked_by text, pid int, done_at timestamptz,
    attempts int NOT NULL DEFAULT 0, most int NOT NULL DEFAULT 3, run_at timestamptz, note text,
    beat timestamptz, beat_seconds int, seconds int);
CREATE TABLE job_locks (job_id bigint PRIMARY KEY REFERENCES jobs);
CREATE TABLE job_events (job_id bigint, what text, at timestamptz NOT NULL DEFAULT now());
"""
STATES = States(
    waiting=("locked_at is null", "done_at is null", "attempts < most"),
    running=("locked_at is not null", "done_at is null"),
    done=("done_at is not null",),
    failed=("locked_at is null", "done_at is null", "attempts >= most"),
)
MAPPING = Mapping(
    name="mail",
    jobs=Jobs(
        TableName("jobs"), ("id",), worker="locked_by", started_at="locked_at", attempts="attempts",
        max_attempts="most",
    ),
    states=STATES,
    fail=(written("locked_at = null"), written("locked_by = null"), written("note = 'given up'")),
)  # fmt: skip
ONLY = replace(kit.LIMITS, checks=("dead_workers", "stuck_jobs"), stuck_after_alive=None)


@pytest.fixture
def database(databases: Callable[..., Database]) -> Database:
    return databases(SCHEMA)


def job(database: Database, **columns: Any) -> str:
    """A job that has been running for an hour, with other columns as given (SQL expressions)."""
    given = {"locked_at": "now() - interval '1 hour'", "locked_by": "'w1'", **columns}
    names, values = ", ".join(given), ", ".join(str(value) for value in given.values())
    ((id_,),) = database.rows(f"INSERT INTO jobs ({names}) VALUES ({values}) RETURNING id::text")
    return str(id_)


def running(database: Database) -> set[str]:
    return {row[0] for row in database.rows("SELECT id::text FROM jobs WHERE locked_at IS NOT NULL")}


def sweep(database: Database, mapping: Mapping, **limits: Any) -> dict[str, Outcome]:
    return kit.sweep(database.dsn, mapping, replace(ONLY, **limits))


@contextmanager
def holding(database: Database, statement: str, **options: str) -> Iterator[psycopg.Connection]:
    """A worker's session amid a transaction."""
    with psycopg.connect(database.dsn, **options) as connection:
        connection.execute(statement)
        yield connection


@pytest.mark.versions
def test_a_state_is_told_by_other_columns(database: Database) -> None:
    stuck, spent = job(database), job(database, attempts=3)
    young = job(database, locked_at="now()")
    done = job(database, done_at="now()")
    outcomes = sweep(database, MAPPING)
    assert {code: (one.found, one.mended) for code, one in outcomes.items()} == {
        "stuck": (1, 1),
        "stuck_spent": (1, 1),
    }
    assert running(database) == {young, done}
    assert database.rows("SELECT id::text, locked_by, note FROM jobs WHERE id IN (1, 2) ORDER BY id") == [
        (stuck, None, None),
        (spent, None, "given up"),
    ]
    assert sweep(database, MAPPING) == {}


def test_without_a_word_for_failing_a_spent_job_is_only_reported(database: Database) -> None:
    spent = job(database, attempts=3)
    outcomes = sweep(database, replace(MAPPING, fail=()))
    assert (outcomes["stuck_spent"].found, outcomes["stuck_spent"].mended) == (1, 0)
    assert running(database) == {spent}


def test_a_job_that_a_release_would_leave_in_no_state_is_set_aside(database: Database) -> None:
    """Here a job waits while it has no process, which nothing that is written clears."""
    states = replace(STATES, waiting=("locked_at is null", "pid is null"))
    lost, well = job(database, pid="7"), job(database)
    done = sweep(database, replace(MAPPING, states=states))["stuck"]
    assert (done.mended, done.set_aside, done.error) == (1, 1, None)
    assert running(database) == {lost}
    assert database.value("SELECT locked_at IS NULL FROM jobs WHERE id = %s", (well,))
    words = (written("pid = null"),)
    assert sweep(database, replace(MAPPING, states=states, requeue=words))["stuck"].mended == 1


def test_what_a_release_writes_beside(database: Database) -> None:
    words = ("run_at = not before now", "attempts = +1", "note = null", "locked_by = keep")
    later = job(database, run_at="now() + interval '1 day'", note="'x'")
    past = job(database, run_at="now() - interval '1 day'")
    sweep(database, replace(MAPPING, requeue=tuple(map(written, words))))
    rows = database.rows(
        "SELECT id::text, run_at > now() + interval '23 hours', run_at > now() - interval '1 minute',"
        " attempts, note, locked_by FROM jobs ORDER BY id"
    )
    assert rows == [(later, True, True, 1, None, "w1"), (past, False, True, 1, None, "w1")]


ADVISORY = {
    "id": "SELECT pg_advisory_xact_lock({id})",
    "mail-{id}": "SELECT pg_advisory_xact_lock(('x' || left(md5('mail-{id}'), 16))::bit(64)::bigint)",
}


@pytest.mark.parametrize("key", ADVISORY)
@pytest.mark.versions
def test_a_job_whose_advisory_lock_is_held_is_spared(database: Database, key: str) -> None:
    mapping = replace(MAPPING, alive=Alive(advisory_lock=key))
    held, free = job(database), job(database)
    with holding(database, ADVISORY[key].format(id=held)):
        outcomes = sweep(database, mapping)
        assert running(database) == {held}
    (finding,) = outcomes["stuck"].sample
    assert (finding.key, finding.facts["absent"]) == ((free,), "no advisory lock")
    sweep(database, mapping)
    assert running(database) == set()


def test_keys_of_advisory_locks_are_whole_64_bit_numbers(database: Database) -> None:
    database.execute("INSERT INTO jobs (id, locked_at) VALUES (-5, '2000-01-01'), (9000000000, '2000-01-01')")
    mapping = replace(MAPPING, alive=Alive(advisory_lock="id"))
    with holding(database, "SELECT pg_advisory_xact_lock(-5), pg_advisory_xact_lock(9000000000)"):
        assert sweep(database, mapping) == {}
    with holding(database, "SELECT pg_advisory_xact_lock(-1, -5), pg_advisory_xact_lock(410065408)"):
        sweep(database, mapping)
    assert running(database) == set()


@pytest.mark.versions
@pytest.mark.parametrize("mode", ["FOR UPDATE", "FOR SHARE"])
def test_a_job_whose_row_lock_is_held_is_spared(database: Database, mode: str) -> None:
    mapping = replace(MAPPING, alive=Alive(row_lock=RowLock("id", TableName("job_locks"), "job_id")))
    held, free, rowless = job(database), job(database), job(database)
    database.execute(f"INSERT INTO job_locks VALUES ({held}), ({free})")
    take = f"SELECT FROM job_locks WHERE job_id = {held} {mode}"
    # With a second locker in share mode no plain look can tell; the write finds it by locking.
    with holding(database, take), holding(database, take if "SHARE" in mode else "SELECT"):
        outcomes = sweep(database, mapping)
        assert running(database) == {held}
        assert outcomes["stuck"].mended == 2
        assert {one.key[0] for one in outcomes["stuck"].sample if one.after is not None} == {free, rowless}
    sweep(database, mapping)
    assert running(database) == set()


def test_only_lock_rows_of_the_batch_are_tried(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    mapping = replace(MAPPING, alive=Alive(row_lock=RowLock("id", TableName("job_locks"), "job_id")))
    database.execute(
        "INSERT INTO jobs (locked_at) SELECT '2000-01-01' FROM generate_series(1, 30);"
        "INSERT INTO job_locks SELECT id FROM jobs"
    )
    tried: list[int] = []
    write = Runner._write
    ours = b"SELECT count(*) FROM public.job_locks WHERE xmax = pg_current_xact_id()::xid"

    async def counted(self: Runner, transaction: Transaction, *given: Any) -> Batch:
        done = await write(self, transaction, *given)
        tried.extend(row[0] for row in await transaction.execute(Query(ours, {})))
        return done

    monkeypatch.setattr(Runner, "_write", counted)
    assert sweep(database, mapping, batch=10)["stuck"].mended == 30
    assert tried[0] == 10


def test_a_row_lock_that_ended_long_ago_is_no_sign_of_life(database: Database) -> None:
    mapping = replace(MAPPING, alive=Alive(row_lock=RowLock("id", TableName("job_locks"), "job_id")))
    one = job(database)
    database.execute(f"INSERT INTO job_locks VALUES ({one})")
    with holding(database, f"SELECT FROM job_locks WHERE job_id = {one} FOR UPDATE"):
        pass
    assert sweep(database, mapping)["stuck"].mended == 1


def test_a_job_whose_worker_has_a_session_is_spared(database: Database) -> None:
    mapping = replace(MAPPING, alive=Alive(backend=Backend("application_name", "locked_by")))
    long = "w" * 70
    alive, cut = job(database), job(database, locked_by=f"'{long}'")
    dead, nobody = job(database, locked_by="'w2'"), job(database, locked_by="NULL")
    with (
        holding(database, "SELECT", application_name="w1"),
        holding(database, "SELECT", application_name=long),
    ):
        outcomes = sweep(database, mapping)
        assert running(database) == {alive, cut}
    assert {one.key[0] for one in outcomes["stuck"].sample} == {dead, nobody}


def test_a_job_whose_worker_is_a_process_of_the_server_is_spared(database: Database) -> None:
    mapping = replace(MAPPING, alive=Alive(backend=Backend("pid", "pid")))
    with holding(database, "SELECT") as connection:
        alive = job(database, pid=connection.info.backend_pid)
        job(database, pid=1)
        sweep(database, mapping)
        assert running(database) == {alive}


def test_a_job_that_shows_life_may_still_have_a_limit(database: Database) -> None:
    mapping = replace(MAPPING, alive=Alive(backend=Backend("application_name", "locked_by")))
    long, longer = job(database), job(database, locked_at="now() - interval '3 hours'")
    with holding(database, "SELECT", application_name="w1"):
        sweep(database, mapping, stuck_after_alive=timedelta(hours=2))
        assert running(database) == {long}
    assert longer not in running(database)


def test_a_silent_worker_whose_job_shows_life_keeps_it(databases: Callable[..., Database]) -> None:
    database = databases(kit.SCHEMA)
    mapping = replace(kit.MAPPING, alive=Alive(advisory_lock="id"))
    database.execute("INSERT INTO workers VALUES ('w1', 'busy', now() - interval '1 hour')")
    held, free = (
        database.rows("INSERT INTO jobs (status, worker) VALUES ('running', 'w1') RETURNING id")[0][0]
        for _ in range(2)
    )
    with holding(database, f"SELECT pg_advisory_xact_lock({held})"):
        outcomes = sweep(database, mapping)
    assert [row[0] for row in database.rows("SELECT id FROM jobs WHERE status = 'running'")] == [held]
    (finding,) = outcomes["silent"].sample
    assert (finding.key, finding.facts["absent"]) == ((str(free),), "no advisory lock")
    assert int(finding.facts["beat"] or 0) >= 3600


def test_a_sign_that_cannot_be_read_holds_all_repairs(database: Database) -> None:
    one = job(database)
    database.execute("DROP TABLE job_locks")
    mapping = replace(MAPPING, alive=Alive(row_lock=RowLock("id", TableName("job_locks"), "job_id")))
    outcomes = sweep(database, mapping)
    assert all(outcome.mended == 0 for outcome in outcomes.values())
    assert running(database) == {one}


class TestOwnLimits:
    MAPPED = replace(
        MAPPING,
        jobs=replace(
            MAPPING.jobs, heartbeat="beat", heartbeat_seconds="beat_seconds", timeout_seconds="seconds"
        ),
    )

    @pytest.mark.parametrize(
        ("beat", "beat_seconds", "seconds", "stuck"),
        [
            (None, None, None, True),
            (None, None, 1800, True),
            (None, None, 7200, False),
            (600, 60, None, True),
            (600, 900, None, False),
            (600, 60, 7200, True),
            (30, None, None, False),
            (None, 60, None, True),
            (None, 7200, None, False),
        ],
    )
    def test_a_job_is_judged_by_its_own(
        self,
        database: Database,
        beat: int | None,
        beat_seconds: int | None,
        seconds: int | None,
        *,
        stuck: bool,
    ) -> None:
        one = job(
            database,
            beat="NULL" if beat is None else f"now() - interval '{beat} seconds'",
            beat_seconds=beat_seconds or "NULL",
            seconds=seconds or "NULL",
        )
        sweep(database, self.MAPPED)
        assert running(database) == (set() if stuck else {one})


class TestEpochs:
    SCHEMA = "CREATE TABLE jobs (id bigserial PRIMARY KEY, taken {type}, came {type} NOT NULL, ended {type})"

    @pytest.mark.parametrize(
        ("type_", "epoch", "unit"),
        [("integer", "seconds", 1), ("bigint", "milliseconds", 1000), ("numeric", "seconds", 1)],
    )
    def test_whole_numbers_since_1970(
        self, databases: Callable[..., Database], type_: str, epoch: Any, unit: int
    ) -> None:
        database = databases(self.SCHEMA.format(type=type_))
        mapping = Mapping(
            "mail",
            Jobs(
                TableName("jobs"), ("id",), started_at="taken", enqueued_at="came", finished_at="ended",
                epoch=epoch,
            ),
            States(
                waiting=("taken is null",), running=("taken is not null", "ended is null"),
                done=("ended is not null",),
            ),
        )  # fmt: skip
        database.execute(
            f"INSERT INTO jobs (taken, came) SELECT (extract(epoch FROM now()) - age) * {unit},"
            f" (extract(epoch FROM now()) - 7000) * {unit} FROM unnest(ARRAY[3600, 60]) AS age"
        )
        outcomes = sweep(database, mapping)
        (finding,) = outcomes["stuck"].sample
        assert (finding.key, 3599 <= int(finding.facts["age"] or 0) <= 3660) == (("1",), True)
        assert database.rows("SELECT id FROM jobs WHERE taken IS NULL") == [(1,)]

    def test_a_number_is_no_time_until_its_unit_is_named(self, databases: Callable[..., Database]) -> None:
        database = databases(self.SCHEMA.format(type="integer"))
        database.execute("INSERT INTO jobs (taken, came) VALUES (1, 1)")
        mapping = Mapping(
            "mail",
            Jobs(TableName("jobs"), ("id",), started_at="taken"),
            States(waiting=("taken is null",), running=("taken is not null",)),
        )
        assert all(outcome.mended == 0 for outcome in sweep(database, mapping).values())


class TestStarts:
    STARTS = Starts(TableName("job_events"), "job_id", "at", "what", "started")
    MAPPED = replace(
        MAPPING, jobs=replace(MAPPING.jobs, started_at=None, attempts_counted="never"), starts=STARTS
    )

    def test_a_start_that_another_table_notes(self, database: Database) -> None:
        old, young = job(database), job(database)
        database.execute(
            f"INSERT INTO job_events VALUES ({old}, 'started', now() - interval '1 day'),"
            f" ({old}, 'started', now() - interval '10 minutes'), ({old}, 'noted', now()),"
            f" ({young}, 'started', now() - interval '1 day'), ({young}, 'started', now())"
        )
        outcomes = sweep(database, replace(self.MAPPED, requeue=(written("locked_at = null"),)))
        assert running(database) == {young}
        (finding,) = outcomes["stuck_no_start"].sample
        assert 600 <= int(finding.facts["age"] or 0) < 660

    def test_a_job_that_was_started_too_often_is_given_up(self, database: Database) -> None:
        often, seldom = job(database), job(database)
        database.execute(
            f"INSERT INTO job_events SELECT {often}, 'started', now() - n * interval '20 minutes'"
            f" FROM generate_series(1, 6) AS n;"
            f"INSERT INTO job_events SELECT {seldom}, 'started', now() - n * interval '20 minutes'"
            f" FROM generate_series(1, 5) AS n;"
            f"INSERT INTO job_events SELECT {seldom}, 'started', now() - interval '2 days'"
        )
        requeue = (written("locked_at = null"),)
        outcomes = sweep(database, replace(self.MAPPED, requeue=requeue))
        assert {one.key[0] for one in outcomes["stuck_no_start_spent"].sample} == {often}
        assert {one.key[0] for one in outcomes["stuck_no_start"].sample} == {seldom}


def test_a_row_beside_is_freed_with_its_job(
    databases: Callable[..., Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    graphile = presets()["graphile_worker"].library
    monkeypatch.setattr("queuewarden.queues.calls.library_of", lambda _: graphile)
    database = databases(
        """
        CREATE SCHEMA graphile_worker;
        CREATE TABLE graphile_worker._private_job_queues (
            id int PRIMARY KEY, locked_at timestamptz, locked_by text);
        CREATE TABLE graphile_worker._private_jobs (
            id bigint PRIMARY KEY, job_queue_id int, locked_at timestamptz, locked_by text,
            run_at timestamptz NOT NULL DEFAULT now());
        INSERT INTO graphile_worker._private_job_queues VALUES
            (1, '2000-01-01', 'w1'), (2, '2000-01-01', 'w2'), (3, '2000-01-02', 'w1'),
            (4, '2000-01-01', 'w1');
        INSERT INTO graphile_worker._private_jobs (id, job_queue_id, locked_at, locked_by) VALUES
            (1, 1, '2000-01-01', 'w1'), (2, 2, '2000-01-01', 'w1'), (3, 3, '2000-01-01', 'w1'),
            (4, 4, '2000-01-01', 'w1'), (5, NULL, '2000-01-01', 'w3');
        """
    )
    mapping = Mapping(
        "graphile",
        Jobs(
            TableName("_private_jobs", "graphile_worker"), ("id",), worker="locked_by", started_at="locked_at"
        ),
        States(waiting=("locked_at is null",), running=("locked_at is not null",)),
    )
    held = "SELECT FROM graphile_worker._private_job_queues WHERE id = 4 FOR UPDATE"
    with holding(database, held):
        assert sweep(database, mapping)["stuck"].mended == 5
    # Of another worker, of another claim, and one that the library holds just now: those stay.
    assert database.rows("SELECT id, locked_by FROM graphile_worker._private_job_queues ORDER BY id") == [
        (1, None),
        (2, "w2"),
        (3, "w1"),
        (4, "w1"),
    ]
