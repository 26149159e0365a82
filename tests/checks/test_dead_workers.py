"""Dead workers, on a real server: who counts as dead, what becomes of the jobs, and who is left alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import kit
import pytest
from rows import Rows, summer_time

from queuewarden.engine.sweep import Sweeper
from queuewarden.queues.mapping import Workers

if TYPE_CHECKING:
    from collections.abc import Callable

    from servers import Database

    from queuewarden.model import Outcome
    from queuewarden.queues.mapping import Mapping

ONLY = replace(kit.LIMITS, checks=("dead_workers",))


@pytest.fixture
def rows(databases: Callable[..., Database]) -> Rows:
    return Rows(databases(kit.SCHEMA))


def sweep(rows: Rows, mapping: Mapping = kit.MAPPING, **limits: Any) -> dict[str, Outcome]:
    return kit.sweep(rows.dsn, mapping, replace(ONLY, **limits))


def workers_mapping(mapping: Mapping = kit.MAPPING, **changes: Any) -> Mapping:
    assert mapping.workers is not None
    return replace(mapping, workers=replace(mapping.workers, **changes))


WITH_LIVES = workers_mapping(started_at="started_at")
WITH_HEARTBEATS = kit.jobs_mapping(WITH_LIVES, heartbeat="heartbeat")


@pytest.mark.versions
def test_r1_jobs_are_found_by_their_own_worker_column(rows: Rows) -> None:
    rows.worker("w1", "3 minutes", status="busy", current_job=None)
    job = rows.job(worker="w1", started="10 seconds")
    done = sweep(rows)
    assert rows.of_job(job, "status", "worker", "started_at") == ("waiting", None, None)
    assert rows.of_worker("w1") == "offline"
    assert (done["silent"].mended, done["silent"].reason, done["silent"].event) == (
        1,
        "worker_dead",
        "jobs.reset",
    )
    (finding,) = done["silent"].sample
    assert finding.facts["worker"] == "w1"
    assert (finding.before["status"], finding.after and finding.after["status"]) == ("running", "waiting")


def test_r2_a_stale_current_job_that_is_done_stays_done(rows: Rows) -> None:
    done = rows.job("done", "1 hour", worker="w1", finished_at="50 minutes")
    rows.worker("w1", "3 minutes", current_job=done)
    sweep(rows)
    assert rows.of_job(done, "status", "worker") == ("done", "w1")
    assert rows.of_worker("w1", "status", "current_job") == ("offline", None)


def test_r8_a_worker_that_died_is_reported_once(rows: Rows) -> None:
    rows.worker("w1", "3 minutes")
    first = sweep(rows)
    assert first["offline"].mended == 1
    assert sweep(rows) == {}


@pytest.mark.parametrize("status", ["idle", "busy", "whatever"])
def test_liveness_is_the_heartbeat_not_the_word(rows: Rows, status: str) -> None:
    rows.worker("silent", "3 minutes", status=status)
    rows.worker("beating", "1 minute", status="offline")
    held = rows.job(worker="beating", started="1 minute")
    sweep(rows)
    assert rows.of_worker("silent") == "offline"
    assert rows.of_job(held) == "running"


def test_a_worker_without_a_status_word_counts(rows: Rows) -> None:
    rows.database.execute("ALTER TABLE workers ALTER status DROP NOT NULL")
    rows.worker("w1", "3 minutes", status=None)
    assert sweep(rows)["offline"].mended == 1
    assert rows.of_worker("w1") == "offline"


def test_an_offline_worker_that_still_holds_jobs_is_judged_but_not_marked_again(rows: Rows) -> None:
    rows.worker("w1", "1 day", status="offline")
    job = rows.job(worker="w1", started="10 seconds")
    done = sweep(rows)
    assert rows.of_job(job) == "waiting"
    assert set(done) == {"silent"}


def test_batches_smaller_than_the_number_of_jobs(rows: Rows) -> None:
    for name in ("w1", "w2"):
        rows.worker(name, "3 minutes")
        for _ in range(5):
            rows.job(worker=name, started="1 minute")
    done = sweep(rows, batch=2)
    assert done["silent"].mended == 10
    assert done["offline"].mended == 2
    assert set(rows.statuses().values()) == {"waiting"}


def test_a_worker_is_not_marked_while_a_job_of_its_is_locked(rows: Rows) -> None:
    rows.worker("w1", "3 minutes")
    free, held = rows.job(worker="w1", started="1 minute"), rows.job(worker="w1", started="1 minute")
    with rows.database.connect(autocommit=False) as other:
        other.execute("SELECT FROM jobs WHERE id = %s FOR UPDATE", (held,))
        done = sweep(rows)
        assert (rows.of_job(free), rows.of_job(held)) == ("waiting", "running")
        assert (done["silent"].mended, done["silent"].skipped) == (1, 1)
        assert (done["offline"].mended, done["offline"].skipped) == (0, 1)
        assert rows.of_worker("w1") == "idle"
    assert sweep(rows)["offline"].mended == 1
    assert rows.of_job(held) == "waiting"


def test_a_job_whose_worker_has_no_row_counts_after_dead_after(rows: Rows) -> None:
    old, young = rows.job(worker="ghost", started="3 minutes"), rows.job(worker="ghost", started="1 minute")
    nobodys = rows.job(worker=None, started="3 minutes")
    done = sweep(rows)
    assert (rows.of_job(old), rows.of_job(young), rows.of_job(nobodys)) == ("waiting", "running", "running")
    assert done["no_worker_row"].mended == 1


def test_a_job_that_beats_is_not_rowless(rows: Rows) -> None:
    job = rows.job(worker="ghost", started="10 minutes", heartbeat="1 minute")
    mapping = kit.jobs_mapping(heartbeat="heartbeat")
    assert sweep(rows, mapping) == {}
    rows.database.execute("UPDATE jobs SET heartbeat = now() - interval '3 minutes'")
    assert sweep(rows, mapping)["no_worker_row"].mended == 1
    assert rows.of_job(job, "status", "heartbeat") == ("waiting", None)


def test_a_job_that_beats_is_not_of_the_dead_though_its_worker_is_silent(rows: Rows) -> None:
    rows.worker("w1", "10 minutes")
    beating = rows.job(worker="w1", started="10 minutes", heartbeat="1 minute")
    silent = rows.job(worker="w1", started="10 minutes", heartbeat="3 minutes")
    mute = rows.job(worker="w1", started="10 minutes")
    ahead = rows.job(worker="w1", started="10 minutes", heartbeat="-1 day")
    done = sweep(rows, kit.jobs_mapping(heartbeat="heartbeat"))
    assert done["silent"].mended == 3
    assert rows.of_job(beating) == "running"
    assert {rows.of_job(job) for job in (silent, mute, ahead)} == {"waiting"}
    assert rows.of_worker("w1") == "idle"


def test_a_job_beats_within_its_own_seconds(rows: Rows) -> None:
    rows.database.execute("ALTER TABLE jobs ADD beat_seconds int")
    rows.worker("w1", "10 minutes")
    seldom = rows.job(worker="w1", started="10 minutes", heartbeat="3 minutes", beat_seconds=300)
    late = rows.job(worker="w1", started="10 minutes", heartbeat="6 minutes", beat_seconds=300)
    sweep(rows, kit.jobs_mapping(heartbeat="heartbeat", heartbeat_seconds="beat_seconds"))
    assert (rows.of_job(seldom), rows.of_job(late)) == ("running", "waiting")


@pytest.mark.versions
def test_r17_a_job_older_than_its_workers_present_life_is_released(rows: Rows) -> None:
    rows.worker("w1", "1 second", started_at="1 minute")
    former, present = rows.job(worker="w1", started="2 minutes"), rows.job(worker="w1", started="30 seconds")
    done = sweep(rows, WITH_LIVES)
    assert (rows.of_job(former), rows.of_job(present)) == ("waiting", "running")
    assert done["earlier_life"].mended == 1
    assert rows.of_worker("w1") == "idle"


@pytest.mark.parametrize(
    "worker",
    [
        pytest.param({"started_at": "57 seconds"}, id="clocks that differ by a little"),
        pytest.param({"started_at": "-1 minute"}, id="a start that lies ahead"),
    ],
)
def test_r17_a_start_that_another_clock_wrote_condemns_no_job(rows: Rows, worker: dict[str, str]) -> None:
    rows.worker("w1", "1 second", **worker)
    job = rows.job(worker="w1", started="1 minute")
    assert sweep(rows, WITH_LIVES) == {}
    assert rows.of_job(job) == "running"


def test_r17_a_job_that_has_beaten_since_is_of_this_life(rows: Rows) -> None:
    rows.worker("w1", "1 second", started_at="30 seconds")
    alive = rows.job(worker="w1", started="1 minute", heartbeat="10 seconds")
    former = rows.job(worker="w1", started="1 minute", heartbeat="40 seconds")
    sweep(rows, WITH_HEARTBEATS)
    assert (rows.of_job(alive), rows.of_job(former)) == ("running", "waiting")


def test_a_worker_that_never_beat_is_as_old_as_its_start(rows: Rows) -> None:
    rows.worker("old", None, started_at="3 minutes")
    rows.worker("new", None, started_at="1 minute")
    rows.worker("unknown", None)
    sweep(rows, WITH_LIVES)
    assert [rows.of_worker(name) for name in ("old", "new", "unknown")] == ["offline", "idle", "idle"]


def test_without_a_status_column_only_the_jobs_are_released(rows: Rows) -> None:
    rows.worker("w1", "3 minutes", current_job=7)
    job = rows.job(worker="w1", started="1 minute")
    done = sweep(rows, workers_mapping(status=None, offline_value=None))
    assert set(done) == {"silent"}
    assert rows.of_job(job) == "waiting"
    assert rows.of_worker("w1", "status", "current_job") == ("idle", 7)


def test_a_current_job_that_may_not_be_null_is_kept(rows: Rows) -> None:
    rows.database.execute("ALTER TABLE workers ALTER current_job SET NOT NULL")
    rows.worker("w1", "3 minutes", current_job=7)
    sweep(rows)
    assert rows.of_worker("w1", "status", "current_job") == ("offline", 7)


def test_without_a_workers_table_there_is_nothing_to_judge(rows: Rows) -> None:
    rows.worker("w1", "1 day")
    job = rows.job(worker="w1", started="1 day")
    assert sweep(rows, replace(kit.MAPPING, workers=None)) == {}
    assert rows.of_job(job) == "running"


@pytest.mark.parametrize(
    ("jobs_type", "workers_type", "name"),
    [
        ("text", "bigint", "7"),
        ("bigint", "text", "7"),
        ("text", "uuid", "0f9e3bb0-5a3a-4a45-9d0f-111111111111"),
        ("uuid", "varchar(36)", "0f9e3bb0-5a3a-4a45-9d0f-111111111111"),
        ("varchar(8)", "text", "w1"),
        ("char(8)", "text", "w1"),
        ("int", "bigint", "7"),
    ],
)
def test_a_workers_id_of_another_type_than_the_jobs_column(
    rows: Rows, jobs_type: str, workers_type: str, name: str
) -> None:
    rows.database.execute(f"ALTER TABLE jobs ALTER worker TYPE {jobs_type} USING worker::{jobs_type}")
    rows.database.execute(f"ALTER TABLE workers ALTER id TYPE {workers_type} USING id::{workers_type}")
    rows.worker(name, "3 minutes")
    job = rows.job(worker=name, started="1 minute")
    alive = rows.job("done", worker=name, started="1 minute")
    done = sweep(rows)
    assert done["silent"].mended == 1
    assert done["offline"].mended == 1
    assert (rows.of_job(job), rows.of_job(alive)) == ("waiting", "done")


def test_a_second_mapping_that_knows_the_worker_spares_a_worker_of_another_type_that_lives(
    rows: Rows,
) -> None:
    rows.database.execute("ALTER TABLE workers ALTER id TYPE bigint USING id::bigint")
    rows.worker(7, "1 second")
    job = rows.job(worker="7", started="1 hour")
    assert sweep(rows) == {}
    assert rows.of_job(job) == "running"


@pytest.mark.parametrize(
    ("jobs_type", "workers_type", "job", "worker"),
    [
        ("text", "uuid", "0F9E3BB05A3A4A459D0F111111111111", "0f9e3bb0-5a3a-4a45-9d0f-111111111111"),
        ("uuid", "text", "0f9e3bb0-5a3a-4a45-9d0f-111111111111", "0F9E3BB0-5A3A-4A45-9D0F-111111111111"),
        ("text", "int", "007", "7"),
        ("numeric(8, 2)", "int", "7", "7"),
        ("numeric", "text", "7", " 7"),
    ],
)
def test_a_worker_of_another_type_that_lives_is_known_however_it_is_spelled(
    rows: Rows, jobs_type: str, workers_type: str, job: str, worker: str
) -> None:
    rows.database.execute(f"ALTER TABLE jobs ALTER worker TYPE {jobs_type} USING worker::{jobs_type}")
    rows.database.execute(f"ALTER TABLE workers ALTER id TYPE {workers_type} USING id::{workers_type}")
    rows.worker(worker, "1 second")
    running = rows.job(worker=job, started="1 hour")
    assert sweep(rows) == {}
    rows.database.execute("UPDATE workers SET heartbeat = now() - interval '3 minutes'")
    assert sweep(rows)["silent"].mended == 1
    assert rows.of_job(running) == "waiting"


def test_the_attempts_of_released_jobs_are_counted(rows: Rows) -> None:
    rows.worker("w1", "3 minutes")
    again = rows.job(worker="w1", started="1 minute", attempts=1, max_attempts=3)
    spent = rows.job(worker="w1", started="1 minute", attempts=2, max_attempts=3)
    done = sweep(rows, kit.jobs_mapping(attempts_counted="finish"))
    assert rows.of_job(again, "status", "attempts") == ("waiting", 2)
    assert rows.of_job(spent, "status", "attempts", "error") == (
        "failed",
        3,
        "queuewarden: worker dead, no attempt left",
    )
    assert done["silent_spent"].event == "jobs.failed"
    assert done["offline"].mended == 1


def test_a_job_that_cannot_be_released_keeps_its_worker_unmarked_and_is_told_once(rows: Rows) -> None:
    rows.database.execute("CREATE UNIQUE INDEX ON jobs (label) WHERE status = 'waiting'")
    rows.job("waiting", label="same")
    rows.worker("w1", "3 minutes")
    rows.job(worker="w1", started="1 minute", label="same")
    sweeper = Sweeper("test")
    first = kit.sweep(rows.dsn, limits=ONLY, sweeper=sweeper)
    assert (first["silent"].mended, first["silent"].set_aside) == (0, 1)
    assert first["silent"].sample[0].check == "dead_workers"
    assert "silent" not in kit.sweep(rows.dsn, limits=ONLY, sweeper=sweeper)
    assert rows.of_worker("w1") == "idle"


def test_a_summer_night_makes_no_worker_look_dead(rows: Rows) -> None:
    """The clock was put forward a minute ago: by wall time each heartbeat before that is an hour old."""
    zone = summer_time(rows.database, begins=True)
    rows.database.execute(
        f"ALTER TABLE workers ALTER heartbeat TYPE timestamp USING heartbeat AT TIME ZONE '{zone}',"
        " ALTER started_at TYPE timestamp USING NULL"
    )
    for name, beat in (("alive", 90), ("dead", 150)):
        rows.database.execute(
            "INSERT INTO workers (id, heartbeat) VALUES"
            " (%s, (statement_timestamp() - make_interval(secs => %s)) AT TIME ZONE %s)",
            (name, beat, zone),
        )
    leap = rows.database.value(
        "SELECT (statement_timestamp() AT TIME ZONE %s) - heartbeat > interval '1 hour'"
        " FROM workers WHERE id = 'alive'",
        (zone,),
    )
    assert leap, "the zone of this test has no such night"
    sweep(rows, kit.jobs_mapping(time_zone=zone))
    assert (rows.of_worker("alive"), rows.of_worker("dead")) == ("idle", "offline")


def test_a_winter_night_makes_no_worker_look_dead(rows: Rows) -> None:
    """The clock was put back a minute ago: two minutes ago it showed an hour more."""
    zone = summer_time(rows.database, begins=False)
    rows.database.execute("ALTER TABLE workers ALTER heartbeat TYPE timestamp USING NULL")
    for name, beat in (("alive", 30), ("lately", 90)):
        rows.database.execute(
            "INSERT INTO workers (id, heartbeat) VALUES"
            " (%s, (statement_timestamp() - make_interval(secs => %s)) AT TIME ZONE %s)",
            (name, beat, zone),
        )
    sweep(rows, kit.jobs_mapping(time_zone=zone))
    assert (rows.of_worker("alive"), rows.of_worker("lately")) == ("idle", "idle")


def test_r17_in_the_hour_that_a_winter_night_repeats_no_start_tells_two_lives_apart(rows: Rows) -> None:
    zone = summer_time(rows.database, begins=False, minutes=30)
    for table in ("workers", "jobs"):
        rows.database.execute(f"ALTER TABLE {table} ALTER started_at TYPE timestamp USING NULL")
    rows.database.execute(
        "INSERT INTO workers (id, heartbeat, started_at) VALUES"
        " ('w1', now(), (statement_timestamp() - interval '70 minutes') AT TIME ZONE %s)",
        (zone,),
    )
    rows.database.execute(
        "INSERT INTO jobs (status, worker, started_at) VALUES"
        " ('running', 'w1', (statement_timestamp() - interval '20 minutes') AT TIME ZONE %s)",
        (zone,),
    )
    looks_older = rows.database.value("SELECT w.started_at > j.started_at FROM workers w, jobs j")
    assert looks_older, "the zone of this test has no such night"
    assert sweep(rows, kit.jobs_mapping(WITH_LIVES, time_zone=zone)) == {}


@pytest.mark.versions
@pytest.mark.parametrize("session", ["UTC", "Pacific/Auckland", "America/Los_Angeles"])
def test_r10_naive_heartbeats_count_in_the_mapped_zone_whatever_the_sessions(
    rows: Rows, session: str
) -> None:
    rows.database.execute("ALTER TABLE workers ALTER heartbeat TYPE timestamp USING NULL")
    for name, beat in (("dead", 150), ("alive", 90)):
        rows.database.execute(
            "INSERT INTO workers (id, heartbeat) VALUES"
            " (%s, (statement_timestamp() - make_interval(secs => %s)) AT TIME ZONE 'Asia/Kathmandu')",
            (name, beat),
        )
    rows.database.execute(f"ALTER DATABASE \"{rows.database.name}\" SET TimeZone = '{session}'")
    done = sweep(rows, kit.jobs_mapping(time_zone="Asia/Kathmandu"))
    assert (rows.of_worker("dead"), rows.of_worker("alive")) == ("offline", "idle")
    assert 150 <= int(done["offline"].sample[0].facts["age"] or 0) < 170


def test_a_heartbeat_from_the_beginning_of_time_breaks_nothing(rows: Rows) -> None:
    rows.database.execute(
        "INSERT INTO workers (id, heartbeat) VALUES ('w1', '-infinity'), ('w2', 'infinity')"
    )
    job = rows.job(worker="w1", started_at="3 minutes")
    done = sweep(rows)
    assert done["offline"].mended == 1
    assert done["offline"].sample[0].facts["age"] is None
    assert (rows.of_worker("w1"), rows.of_worker("w2"), rows.of_job(job)) == ("offline", "idle", "waiting")


def test_the_limit_is_dead_after(rows: Rows) -> None:
    rows.worker("w1", "3 minutes")
    assert sweep(rows, dead_after=timedelta(minutes=5)) == {}
    assert sweep(rows, dead_after=timedelta(minutes=2))["offline"].mended == 1


def test_rows_set_aside_in_both_tables_are_left_alone_together(rows: Rows) -> None:
    """One statement counts what all rules find: what is left out of each table must not be mixed up."""
    rows.database.execute("CREATE UNIQUE INDEX ON jobs (label) WHERE status = 'waiting'")
    rows.database.execute("ALTER TABLE workers ADD CHECK (id <> 'w2' OR status <> 'offline')")
    rows.job("waiting", label="same")
    rows.worker("w1", "3 minutes")
    rows.worker("w2", "3 minutes")
    rows.job(worker="w1", started="1 minute", label="same")
    sweeper = Sweeper("test")
    first = kit.sweep(rows.dsn, limits=ONLY, sweeper=sweeper)
    assert (first["silent"].set_aside, first["offline"].set_aside) == (1, 1)
    second = kit.sweep(rows.dsn, limits=ONLY, sweeper=sweeper)
    assert set(second) == {"offline"}
    assert (second["offline"].found, second["offline"].skipped) == (1, 1)
    assert second["offline"].sample[0].key == ("w1",)


def test_a_workers_table_keyed_by_two_names_is_only_observed(rows: Rows) -> None:
    rows.database.execute(
        "CREATE TABLE fleet (host text, name text, heartbeat timestamptz, status text,"
        " PRIMARY KEY (host, name))"
    )
    mapping = replace(
        kit.MAPPING,
        workers=Workers(
            replace(kit.MAPPING.jobs.table, name="fleet"), "name", "heartbeat", "status", "offline"
        ),
    )
    rows.database.execute(
        "INSERT INTO fleet VALUES ('a', 'w1', now(), 'idle'), ('b', 'w1', '2000-01-01', 'idle')"
    )
    job = rows.job(worker="w1", started="1 minute")
    done = sweep(rows, mapping)
    assert {outcome.held for outcome in done.values()} == {"hold"}
    assert rows.of_job(job) == "running"
