"""Stuck jobs, on a real server: by which clock, under which limit, and what becomes of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import kit
import pytest
from rows import Rows, age_memory, summer_time

from queuewarden.engine.policy import Policy
from queuewarden.engine.sweep import Sweeper
from queuewarden.queues.mapping import Jobs, Mapping, States, TableName

if TYPE_CHECKING:
    from collections.abc import Callable

    from servers import Database

    from queuewarden.model import Outcome

ONLY = replace(kit.LIMITS, checks=("stuck_jobs",))
NEVER = {"stuck_after_alive": None}
LONGER = {"stuck_after_alive": timedelta(hours=1)}
SHORTER = {"stuck_after_alive": timedelta(minutes=1)}


@pytest.fixture
def rows(databases: Callable[..., Database]) -> Rows:
    return Rows(databases(kit.SCHEMA))


def sweep(
    rows: Rows, mapping: Mapping = kit.MAPPING, sweeper: Sweeper | None = None, **limits: Any
) -> dict[str, Outcome]:
    return kit.sweep(rows.dsn, mapping, replace(ONLY, **limits), sweeper=sweeper)


@pytest.mark.versions
def test_a_job_that_runs_for_longer_than_the_limit_goes_back_to_waiting(rows: Rows) -> None:
    stuck = rows.job(worker="w1", started="4 minutes", attempts=1, label="invoice")
    young = rows.job(worker="w1", started="2 minutes")
    done = sweep(rows)
    assert rows.of_job(stuck, "status", "worker", "started_at", "attempts", "error") == (
        "waiting", None, None, 1, "queuewarden: stuck",
    )  # fmt: skip
    assert rows.of_job(young) == "running"
    outcome = done["stuck"]
    assert (outcome.found, outcome.mended, outcome.skipped, outcome.reason) == (1, 1, 0, "stuck")
    (finding,) = outcome.sample
    assert finding.label == "invoice"
    assert finding.facts["worker"] == "w1"
    assert 240 <= int(finding.facts["age"] or 0) < 260
    assert sweep(rows) == {}


@pytest.mark.parametrize("status", ["waiting", "done", "failed", "cancelled", "unknown"])
def test_only_running_jobs_are_reset(rows: Rows, status: str) -> None:
    job = rows.job(status, "1 day", worker="w1")
    assert sweep(rows) == {}
    assert rows.of_job(job, "status", "worker") == (status, "w1")


def test_the_later_of_start_and_job_heartbeat_counts(rows: Rows) -> None:
    mapping = kit.jobs_mapping(heartbeat="heartbeat")
    beating = rows.job(started="1 day", heartbeat="1 minute")
    silent = rows.job(started="1 day", heartbeat="4 minutes")
    mute = rows.job(started="4 minutes", heartbeat=None)
    new = rows.job(started="1 minute", heartbeat="1 day")
    sweep(rows, mapping)
    assert [rows.of_job(job) for job in (beating, silent, mute, new)] == [
        "running",
        "waiting",
        "waiting",
        "running",
    ]
    assert rows.of_job(silent, "heartbeat", "started_at") == (None, None)


@pytest.mark.parametrize(
    ("limits", "alive", "silent", "rowless"),
    [
        ({}, "waiting", "waiting", "waiting"),
        (LONGER, "running", "waiting", "waiting"),
        (NEVER, "running", "waiting", "waiting"),
    ],
)
def test_a_live_workers_job_has_a_limit_of_its_own(
    rows: Rows, limits: dict[str, Any], alive: str, silent: str, rowless: str
) -> None:
    rows.worker("alive", "1 minute")
    rows.worker("silent", "3 minutes")
    jobs = [rows.job(worker=name, started="4 minutes") for name in ("alive", "silent", "ghost", None)]
    sweep(rows, **limits)
    assert [rows.of_job(job) for job in jobs] == [alive, silent, rowless, rowless]


def test_a_longer_limit_for_live_workers_is_a_limit_all_the_same(rows: Rows) -> None:
    rows.worker("alive", "1 minute")
    hung, long = rows.job(worker="alive", started="2 hours"), rows.job(worker="alive", started="50 minutes")
    assert sweep(rows, **LONGER)["stuck_alive"].mended == 1
    assert (rows.of_job(hung), rows.of_job(long)) == ("waiting", "running")


def test_a_shorter_limit_for_live_workers_binds_them_alone(rows: Rows) -> None:
    rows.worker("alive", "1 minute")
    rows.worker("silent", "3 minutes")
    jobs = [rows.job(worker=name, started="2 minutes") for name in ("alive", "silent", "ghost")]
    sweep(rows, **SHORTER)
    assert [rows.of_job(job) for job in jobs] == ["waiting", "running", "running"]


def test_r4_while_the_threshold_brake_is_on_live_workers_keep_their_jobs(rows: Rows) -> None:
    rows.worker("alive", "1 minute")
    rows.worker("silent", "3 minutes")
    jobs = [rows.job(worker=name, started="10 minutes") for name in ("alive", "silent", "ghost")]
    for _ in range(30):
        rows.job("done", "10 minutes", worker="alive", finished_at="1 minute")
    sweeper = Sweeper("test")
    sweep(rows, sweeper=sweeper, stuck_after=timedelta(hours=1), stuck_after_alive=timedelta(minutes=12))
    assert sweeper.state("mail").threshold.advised is not None
    sweep(rows, sweeper=sweeper)
    assert [rows.of_job(job) for job in jobs] == ["running", "waiting", "waiting"]
    sweep(rows, sweeper=sweeper, trust_threshold=True)
    assert rows.of_job(jobs[0]) == "waiting"


def test_r4_without_a_workers_table_the_threshold_brake_spares_all(rows: Rows) -> None:
    mapping = replace(kit.MAPPING, workers=None)
    job = rows.job(worker="w1", started="10 minutes")
    for _ in range(30):
        rows.job("done", "10 minutes", worker="w1", finished_at="1 minute")
    sweeper = Sweeper("test")
    sweep(rows, mapping, sweeper, stuck_after=timedelta(minutes=12), stuck_after_alive=timedelta(minutes=12))
    assert sweep(rows, mapping, sweeper) == {}
    assert rows.of_job(job) == "running"


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"updated_at": "4 minutes"}, "waiting"),
        ({"updated_at": "1 minute"}, "running"),
        ({"heartbeat": "4 minutes"}, "waiting"),
        ({"heartbeat": "1 minute", "updated_at": "1 day"}, "running"),
        ({"heartbeat": "1 day", "updated_at": "1 minute"}, "running"),
        ({"heartbeat": "1 day", "updated_at": "4 minutes"}, "waiting"),
    ],
)
def test_r6_without_a_start_the_later_of_heartbeat_and_update_counts(
    rows: Rows, columns: dict[str, str], expected: str
) -> None:
    job = rows.job(started_at=None, enqueued_at="30 days", **columns)
    sweep(rows, kit.jobs_mapping(heartbeat="heartbeat", updated_at="updated_at"))
    assert rows.of_job(job) == expected


def test_r6_without_any_time_the_job_runs_since_this_daemon_first_saw_it(rows: Rows) -> None:
    job = rows.job(started_at=None, enqueued_at="30 days")
    sweeper = Sweeper("test")
    assert sweep(rows, sweeper=sweeper) == {}
    assert sweep(rows, sweeper=sweeper) == {}, "its creation time must not count"
    age_memory(sweeper, timedelta(minutes=2))
    assert sweep(rows, sweeper=sweeper) == {}
    age_memory(sweeper, timedelta(minutes=2))
    done = sweep(rows, sweeper=sweeper)
    assert done["stuck_no_time"].mended == 1
    assert rows.of_job(job) == "waiting"
    assert sweep(rows, sweeper=sweeper) == {}
    assert not sweeper.state("mail").memory.seen


def test_r6_a_job_that_was_written_meanwhile_is_seen_anew(rows: Rows) -> None:
    job = rows.job(started_at=None)
    sweeper = Sweeper("test")
    sweep(rows, sweeper=sweeper)
    age_memory(sweeper, timedelta(minutes=4))
    rows.database.execute("UPDATE jobs SET priority = 1")
    assert sweep(rows, sweeper=sweeper) == {}
    assert rows.of_job(job) == "running"
    age_memory(sweeper, timedelta(minutes=4))
    assert sweep(rows, sweeper=sweeper)["stuck_no_time"].mended == 1


def test_r6_a_job_that_finished_is_forgotten(rows: Rows) -> None:
    job = rows.job(started_at=None)
    sweeper = Sweeper("test")
    sweep(rows, sweeper=sweeper)
    rows.database.execute("UPDATE jobs SET status = 'done'")
    sweep(rows, sweeper=sweeper)
    assert not sweeper.state("mail").memory.seen
    assert rows.of_job(job) == "done"


def test_r6_a_bad_row_among_those_without_any_time_does_not_free_the_others_from_patience(rows: Rows) -> None:
    """Bisecting must not touch a row that was written after it had been seen for long enough."""
    rows.database.execute("CREATE UNIQUE INDEX ON jobs (label) WHERE status = 'waiting'")
    rows.job("waiting", label="same")
    bad, good = rows.job(started_at=None, label="same"), rows.job(started_at=None)
    sweeper = Sweeper("test")
    sweep(rows, sweeper=sweeper)
    age_memory(sweeper, timedelta(minutes=4))
    new = rows.job(started_at=None)
    done = sweep(rows, sweeper=sweeper)
    assert (done["stuck_no_time"].mended, done["stuck_no_time"].set_aside) == (1, 1)
    assert [rows.of_job(job) for job in (bad, good, new)] == ["running", "waiting", "running"]


def test_a_table_without_any_time_columns(rows: Rows) -> None:
    mapping = kit.jobs_mapping(started_at=None, enqueued_at=None, finished_at=None)
    job = rows.job(started_at="1 second")
    sweeper = Sweeper("test")
    sweep(rows, mapping, sweeper)
    age_memory(sweeper, timedelta(minutes=4))
    assert sweep(rows, mapping, sweeper)["stuck_no_time"].mended == 1
    assert rows.of_job(job) == "waiting"


def test_r3_a_hanging_job_ends_as_failed_once_its_budget_is_spent(rows: Rows) -> None:
    job = rows.job(started="4 minutes")
    sweeper = Sweeper("test")
    for number in range(3):
        rows.database.execute("UPDATE jobs SET status = 'running', started_at = now() - interval '4 minutes'")
        done = sweep(rows, sweeper=sweeper, rescue_budget=3)
        assert done["stuck"].mended == 1, f"reset {number + 1}"
    rows.database.execute("UPDATE jobs SET status = 'running', started_at = now() - interval '4 minutes'")
    done = sweep(rows, sweeper=sweeper, rescue_budget=3)
    assert (done["stuck_spent"].mended, done["stuck_spent"].event) == (1, "jobs.failed")
    assert rows.of_job(job, "status", "error") == ("failed", "queuewarden: stuck, no attempt left")


def test_r3_resets_of_yesterday_do_not_count(rows: Rows) -> None:
    rows.job(started="4 minutes")
    sweeper = Sweeper("test")
    for _ in range(4):
        rows.database.execute("UPDATE jobs SET status = 'running', started_at = now() - interval '4 minutes'")
        assert sweep(rows, sweeper=sweeper, rescue_budget=2)["stuck"].mended == 1
        age_memory(sweeper, timedelta(hours=13))


@pytest.mark.parametrize(
    ("counted", "attempts", "maximum", "expected"),
    [
        ("claim", 2, 3, ("waiting", 2)),
        ("claim", 3, 3, ("failed", 3)),
        ("claim", 7, 3, ("failed", 7)),
        ("finish", 1, 3, ("waiting", 2)),
        ("finish", 2, 3, ("failed", 3)),
        ("never", 2, 3, ("waiting", 2)),
        ("never", 3, 3, ("failed", 3)),
        ("claim", 3, 0, ("waiting", 3)),
        ("claim", 3, None, ("waiting", 3)),
        ("finish", 3, None, ("waiting", 4)),
        ("claim", 3, -1, ("waiting", 3)),
        ("claim", None, 3, ("waiting", None)),
        ("finish", None, 1, ("failed", 1)),
    ],
)
def test_p7_attempts_and_their_maximum(
    rows: Rows, counted: str, attempts: int | None, maximum: int | None, expected: tuple[str, int | None]
) -> None:
    rows.database.execute("ALTER TABLE jobs ALTER attempts DROP NOT NULL")
    job = rows.job(started="4 minutes", attempts=attempts, max_attempts=maximum)
    sweep(rows, kit.jobs_mapping(attempts_counted=counted))
    assert rows.of_job(job, "status", "attempts") == expected


@pytest.mark.parametrize(("maximum", "expected"), [(3, "failed"), (4, "waiting"), (0, "waiting")])
def test_p7_the_maximum_may_be_a_number(rows: Rows, maximum: int, expected: str) -> None:
    job = rows.job(started="4 minutes", attempts=3, max_attempts=1)
    sweep(rows, kit.jobs_mapping(max_attempts=maximum))
    assert rows.of_job(job) == expected


def test_spent_jobs_are_only_reported_where_no_failed_state_is_mapped(rows: Rows) -> None:
    spent = rows.job(started="4 minutes", attempts=3, max_attempts=3)
    other = rows.job(started="4 minutes", attempts=1, max_attempts=3)
    mapping = replace(kit.MAPPING, states=States(waiting=("waiting",), running=("running",)))
    done = sweep(rows, mapping)
    assert (done["stuck_spent"].found, done["stuck_spent"].mended, done["stuck_spent"].skipped) == (1, 0, 1)
    assert (rows.of_job(spent), rows.of_job(other)) == ("running", "waiting")


def test_failed_jobs_keep_their_worker_and_start_for_whoever_looks_why(rows: Rows) -> None:
    job = rows.job(worker="w1", started="4 minutes", attempts=3, max_attempts=3)
    sweep(rows)
    status, worker, started, finished = rows.of_job(job, "status", "worker", "started_at", "finished_at")
    assert (status, worker) == ("failed", "w1")
    assert started < finished


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (None, "queuewarden: stuck"),
        ("", "queuewarden: stuck"),
        ("queuewarden: worker dead", "queuewarden: stuck"),
        ("ZeroDivisionError in line 7", "ZeroDivisionError in line 7"),
    ],
)
def test_the_reason_never_goes_over_what_the_application_wrote(
    rows: Rows, error: str | None, expected: str
) -> None:
    job = rows.job(started="4 minutes", error=error)
    sweep(rows)
    assert rows.of_job(job, "error") == expected


@pytest.mark.parametrize("type_", ["jsonb", "text[]", "bytea"])
def test_an_error_column_that_holds_no_text_is_left_alone(rows: Rows, type_: str) -> None:
    rows.database.execute(f"ALTER TABLE jobs ALTER error TYPE {type_} USING NULL")
    job = rows.job(started="4 minutes")
    sweep(rows)
    assert rows.of_job(job, "status", "error") == ("waiting", None)


def test_a_short_error_column_does_not_stop_repairs(rows: Rows) -> None:
    rows.database.execute("ALTER TABLE jobs ALTER error TYPE varchar(10)")
    job = rows.job(started="4 minutes")
    assert sweep(rows)["stuck"].mended == 1
    assert rows.of_job(job, "status", "error") == ("waiting", None)


def test_further_columns_are_cleared_on_release(rows: Rows) -> None:
    job = rows.job(worker="w1", started="4 minutes", label="lease-7", scheduled_at="1 hour", parent=7)
    sweep(rows, kit.jobs_mapping(clear=("label", "scheduled_at", "priority")))
    assert rows.of_job(job, "status", "label", "scheduled_at", "priority", "parent") == (
        "waiting", None, None, 0, 7,
    )  # fmt: skip


def test_columns_that_may_not_be_null_keep_their_value(rows: Rows) -> None:
    rows.database.execute("ALTER TABLE jobs ALTER worker SET NOT NULL, ALTER started_at SET NOT NULL")
    job = rows.job(worker="w1", started="4 minutes")
    assert sweep(rows)["stuck"].mended == 1
    assert rows.of_job(job, "status", "worker") == ("waiting", "w1")
    assert sweep(rows) == {}


def test_r5_a_reset_job_that_its_former_worker_finishes_is_reported_as_premature(rows: Rows) -> None:
    job = rows.job(worker="w1", started="4 minutes")
    sweeper = Sweeper("test")
    sweep(rows, sweeper=sweeper)
    assert rows.of_job(job) == "waiting"
    # Completion by id alone: the former worker knows nothing of the reset.
    rows.database.execute("UPDATE jobs SET status = 'done', worker = 'w1', finished_at = now()")
    sweep(rows, sweeper=sweeper)
    assert "premature_reset" in {anomaly.kind for anomaly in sweeper.raised.active}
    # From now on jobs of live workers are spared until the limit is raised.
    rows.worker("w2", "1 second")
    live = rows.job(worker="w2", started="4 minutes")
    sweep(rows, sweeper=sweeper)
    assert rows.of_job(live) == "running"


def test_r5_a_reset_job_that_its_next_worker_finishes_is_as_it_should_be(rows: Rows) -> None:
    rows.job(worker="w1", started="4 minutes")
    sweeper = Sweeper("test")
    sweep(rows, sweeper=sweeper)
    rows.database.execute(
        "UPDATE jobs SET status = 'done', worker = 'w2', started_at = now(), finished_at = now()"
    )
    sweep(rows, sweeper=sweeper)
    assert "premature_reset" not in {anomaly.kind for anomaly in sweeper.raised.active}


def test_a_daemon_does_not_reset_all_of_many_jobs_at_once(rows: Rows) -> None:
    for _ in range(60):
        rows.job(started="4 minutes")
    daemon = Policy(grace=False)
    done = kit.sweep(rows.dsn, limits=ONLY, policy=daemon)
    assert (done["stuck"].held, done["stuck"].mended) == ("mass_repair:stuck_jobs", 0)
    assert set(rows.statuses().values()) == {"running"}


@pytest.mark.parametrize("begins", [True, False])
def test_a_night_in_which_the_clock_leaps_resets_no_young_job(rows: Rows, *, begins: bool) -> None:
    zone = summer_time(rows.database, begins=begins)
    rows.database.execute(
        "ALTER TABLE jobs ALTER started_at TYPE timestamp USING NULL,"
        " ALTER heartbeat TYPE timestamp USING NULL"
    )
    ages = {}
    for seconds in (30, 90, 170):
        for column in ("started_at", "heartbeat"):
            job = rows.database.value(
                f"INSERT INTO jobs (status, {column}) VALUES ('running',"
                " (statement_timestamp() - make_interval(secs => %s)) AT TIME ZONE %s) RETURNING id",
                (seconds, zone),
            )
            ages[job] = (column, seconds)
    done = sweep(rows, kit.jobs_mapping(time_zone=zone, heartbeat="heartbeat"))
    assert done == {}, ages


@pytest.mark.versions
@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu", "Europe/Berlin"])
def test_r10_naive_times_in_the_mapped_zone_whatever_the_sessions(rows: Rows, zone: str) -> None:
    rows.database.execute("ALTER TABLE jobs ALTER started_at TYPE timestamp USING NULL")
    jobs = [
        rows.database.value(
            "INSERT INTO jobs (status, started_at) VALUES ('running',"
            " (statement_timestamp() - make_interval(mins => %s)) AT TIME ZONE %s) RETURNING id",
            (minutes, zone),
        )
        for minutes in (2, 64)
    ]
    rows.database.execute(f"ALTER DATABASE \"{rows.database.name}\" SET TimeZone = 'Pacific/Auckland'")
    sweep(rows, kit.jobs_mapping(time_zone=zone))
    assert [rows.of_job(job) for job in jobs] == ["running", "waiting"]


def test_a_job_since_the_beginning_of_time_breaks_nothing(rows: Rows) -> None:
    rows.database.execute(
        "INSERT INTO jobs (status, started_at) VALUES ('running', '-infinity'), ('running', 'infinity'),"
        " ('running', '4713-01-01 BC')"
    )
    other = rows.job(started="4 minutes")
    done = sweep(rows)
    assert (done["stuck"].mended, done["stuck"].error) == (3, None)
    assert rows.of_job(other) == "waiting"
    assert sorted(rows.statuses().values()) == ["running", "waiting", "waiting", "waiting"]


STAGES = """
CREATE TABLE states (id int PRIMARY KEY, name text);
INSERT INTO states VALUES (1, 'waiting'), (2, 'running'), (3, 'extracted'), (4, 'failed'), (6, 'indexing');
CREATE TABLE documents (
    id bigserial PRIMARY KEY, status int NOT NULL REFERENCES states (id),
    worker_id text, started_at timestamptz, indexer_id text, indexing_at timestamptz,
    attemtps int NOT NULL DEFAULT 0);
"""
FIRST = Mapping(
    "extract",
    Jobs(TableName("documents"), ("id",), "status", worker="worker_id", started_at="started_at",
         attempts="attemtps", max_attempts=3),
    States(waiting=("1",), running=("2",), failed=("4",)),
)  # fmt: skip
SECOND = Mapping(
    "index",
    Jobs(TableName("documents"), ("id",), "status", worker="indexer_id", started_at="indexing_at"),
    States(waiting=("3",), running=("6",)),
)


@pytest.mark.versions
def test_two_stages_on_one_table_by_numbers_of_a_lookup_table(databases: Callable[..., Database]) -> None:
    database = databases(STAGES)
    database.execute(
        "INSERT INTO documents (status, worker_id, started_at, indexer_id, indexing_at, attemtps) VALUES"
        " (2, 'e1', now() - interval '4 minutes', NULL, NULL, 1),"
        " (2, 'e1', now() - interval '4 minutes', NULL, NULL, 3),"
        " (6, 'e1', now() - interval '1 day', 'i1', now() - interval '9 minutes', 3),"
        " (6, 'e1', now() - interval '1 day', 'i1', now() - interval '11 minutes', 3)"
    )
    assert kit.sweep(database.dsn, FIRST, ONLY)["stuck"].mended == 1
    ten = replace(ONLY, stuck_after=timedelta(minutes=10), stuck_after_alive=timedelta(minutes=10))
    assert kit.sweep(database.dsn, SECOND, ten)["stuck"].mended == 1
    assert database.rows("SELECT id, status, worker_id, indexer_id, attemtps FROM documents ORDER BY id") == [
        (1, 1, None, None, 1),
        (2, 4, "e1", None, 3),
        (3, 6, "e1", "i1", 3),
        (4, 3, "e1", None, 3),
    ]
