"""Timestamps: missing times are filled with a marked estimate, impossible ones are reported."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import kit
import pytest

from queuewarden.engine.policy import Policy
from queuewarden.engine.sweep import Sweeper

if TYPE_CHECKING:
    from collections.abc import Callable

    import servers

    from queuewarden.model import Outcome
    from queuewarden.queues.mapping import Mapping

LOOK = Policy(daemon=False, grace=False, write=False, rows=1000)
ONLY = replace(kit.LIMITS, checks=("timestamps",))
STAMPS = (("running", "started_at"), ("done", "finished_at"), ("failed", "finished_at"))
STARTED, FINISHED = "missing_started_at_running", "missing_finished_at_done"


def mapping(stamps: tuple[tuple[str, str], ...] = STAMPS, **jobs: Any) -> Mapping:
    return replace(kit.jobs_mapping(**({"updated_at": "updated_at"} | jobs)), timestamps=stamps)


def sweep(database: servers.Database, queue: Mapping | None = None, **rest: Any) -> dict[str, Outcome]:
    return kit.sweep(database.dsn, queue or mapping(), **({"limits": ONLY} | rest))


def add(database: servers.Database, status: str, **ago: str | None) -> int:
    """A job with times so long ago (``'1 hour'``; negative: in the future); its id."""
    columns = {"status": "%s"} | dict.fromkeys(ago, "now() - %s::interval")
    return int(
        database.value(
            f"INSERT INTO jobs ({', '.join(columns)}) VALUES ({', '.join(columns.values())}) RETURNING id",
            (status, *ago.values()),
        )
    )


@pytest.fixture
def jobs(databases: Callable[..., servers.Database]) -> servers.Database:
    return databases(kit.SCHEMA)


@pytest.mark.versions
def test_a_missing_time_is_filled_with_the_updated_time_where_that_fits(jobs: servers.Database) -> None:
    add(jobs, "running", enqueued_at="3 hours", updated_at="1 hour")
    add(jobs, "done", enqueued_at="3 hours", started_at="2 hours", updated_at="1 hour")
    add(jobs, "failed", enqueued_at="3 hours", started_at=None, updated_at="1 hour")
    before = jobs.rows("SELECT id, updated_at FROM jobs ORDER BY id")
    mended = sweep(jobs)
    assert {code: one.mended for code, one in mended.items()} == {
        STARTED: 1, FINISHED: 1, "missing_finished_at_failed": 1
    }  # fmt: skip
    assert {one.event for one in mended.values()} == {"timestamps.filled"}
    assert jobs.rows("SELECT id, coalesce(finished_at, started_at) FROM jobs ORDER BY id") == before
    assert jobs.rows("SELECT id, updated_at FROM jobs ORDER BY id") == before, "nothing else is written"
    assert sweep(jobs) == {}


MISFITS = {
    "it lies before the start": {"enqueued_at": "3 hours", "started_at": "1 hour", "updated_at": "2 hours"},
    "it lies before the enqueuing": {"enqueued_at": "1 hour", "started_at": None, "updated_at": "2 hours"},
    "it lies in the future": {"enqueued_at": "1 hour", "started_at": None, "updated_at": "-1 hour"},
    "it is missing": {"enqueued_at": "1 hour", "started_at": None, "updated_at": None},
}


@pytest.mark.parametrize("misfit", MISFITS)
def test_a_missing_time_is_now_where_the_updated_time_does_not_fit(
    jobs: servers.Database, misfit: str
) -> None:
    add(jobs, "done", **MISFITS[misfit])
    sweep(jobs)
    assert jobs.value("SELECT now() - finished_at BETWEEN interval '0' AND interval '1 minute' FROM jobs")


def test_without_an_updated_column_a_missing_time_is_now(jobs: servers.Database) -> None:
    add(jobs, "done", enqueued_at="1 hour", updated_at="30 minutes")
    sweep(jobs, mapping(updated_at=None))
    assert jobs.value("SELECT now() - finished_at BETWEEN interval '0' AND interval '1 minute' FROM jobs")


STARTED_BY_DONE = (("done", "started_at"),)


@pytest.mark.parametrize(("updated", "start"), [("40 minutes", "40 minutes"), ("20 minutes", "30 minutes")])
def test_an_estimated_start_never_lies_behind_the_finish(
    jobs: servers.Database, updated: str, start: str
) -> None:
    add(jobs, "done", enqueued_at="1 hour", finished_at="30 minutes", updated_at=updated)
    sweep(jobs, mapping(STARTED_BY_DONE))
    assert jobs.value(f"SELECT started_at = enqueued_at + interval '1 hour' - interval '{start}' FROM jobs")
    assert sweep(jobs, mapping(STARTED_BY_DONE)) == {}


@pytest.mark.parametrize(("updated", "joined"), [("40 minutes", "40 minutes"), ("20 minutes", "30 minutes")])
def test_an_estimated_enqueuing_never_lies_behind_the_start(
    jobs: servers.Database, updated: str, joined: str
) -> None:
    jobs.execute("ALTER TABLE jobs ALTER enqueued_at DROP NOT NULL, ALTER enqueued_at DROP DEFAULT")
    add(jobs, "done", started_at="30 minutes", finished_at="10 minutes", updated_at=updated)
    sweep(jobs, mapping((("done", "enqueued_at"),)))
    wanted = f"enqueued_at = started_at + interval '30 minutes' - interval '{joined}'"
    assert jobs.value(f"SELECT {wanted} FROM jobs")


def test_a_stamp_of_another_kind_comes_after_the_start(jobs: servers.Database) -> None:
    jobs.execute("ALTER TABLE jobs ADD passed_at timestamptz")
    add(jobs, "done", enqueued_at="3 hours", started_at="2 hours", finished_at="1 hour", updated_at="1 hour")
    add(jobs, "done", enqueued_at="3 hours", started_at="1 hour", finished_at="1 hour", updated_at="2 hours")
    sweep(jobs, mapping((("done", "passed_at"),)))
    assert jobs.rows("SELECT passed_at = updated_at, passed_at > started_at FROM jobs ORDER BY id") == [
        (True, True), (False, True)
    ]  # fmt: skip


@pytest.mark.versions
@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata", "America/St_Johns"])
def test_naive_columns_are_filled_in_their_own_zone(jobs: servers.Database, zone: str) -> None:
    jobs.execute(
        "ALTER TABLE jobs ALTER started_at TYPE timestamp, ALTER finished_at TYPE timestamp,"
        " ALTER updated_at TYPE timestamp"
    )
    local = f"now() AT TIME ZONE '{zone}'"
    jobs.execute(
        "INSERT INTO jobs (status, enqueued_at, started_at, updated_at) VALUES"
        f" ('done', now() - interval '3 h', {local} - interval '2 h', {local} - interval '1 h'),"
        f" ('done', now() - interval '3 h', {local} - interval '1 h', {local} - interval '2 h')"
    )
    queue = mapping(time_zone=zone)
    sweep(jobs, queue)
    lately = f"abs(extract(epoch FROM finished_at - {local})) < 60"
    first, second = jobs.rows(f"SELECT finished_at = updated_at, {lately} FROM jobs ORDER BY id")
    assert (first, second) == ((True, False), (False, True))
    assert sweep(jobs, queue) == {}


def test_what_is_filled_is_remembered_as_an_estimate_and_shown_before_and_after(
    jobs: servers.Database,
) -> None:
    key = add(jobs, "done", enqueued_at="3 hours", updated_at="1 hour")
    add(jobs, "done", enqueued_at="3 hours", finished_at="1 hour")
    sweeper = Sweeper("test")
    outcome = sweep(jobs, sweeper=sweeper)[FINISHED]
    assert list(sweeper.state("mail").memory.estimated) == [(str(key),)]
    (finding,) = outcome.sample
    assert finding.before["finished_at"] is None
    assert finding.after is not None
    assert finding.after["finished_at"] == jobs.value(
        "SELECT finished_at::text FROM jobs WHERE id = %s", (key,)
    )


def test_f9_invented_times_do_not_feed_the_failures_of_the_last_hour(jobs: servers.Database) -> None:
    for _ in range(12):
        add(jobs, "failed", enqueued_at="3 days")
    sweeper = Sweeper("test")
    limits = replace(ONLY, failed_jobs=5)
    assert sweep(jobs, sweeper=sweeper, limits=limits)["missing_finished_at_failed"].mended == 12
    sweep(jobs, sweeper=sweeper, limits=limits)
    sight = sweeper.state("mail").sight
    assert sight is not None
    assert sight.counts.failed_last_hour == 0
    assert jobs.value("SELECT count(*) FROM jobs WHERE finished_at > now() - interval '1 hour'") == 12


def test_by_report_nothing_is_filled(jobs: servers.Database) -> None:
    add(jobs, "done", enqueued_at="3 hours")
    outcome = sweep(jobs, limits=replace(ONLY, timestamps_fill="report"))[FINISHED]
    assert (outcome.found, outcome.mended) == (1, 0)
    assert jobs.value("SELECT finished_at FROM jobs") is None


def test_a_time_that_is_there_is_never_written_over_nor_a_state_that_is_not_mapped(
    jobs: servers.Database,
) -> None:
    add(
        jobs, "done", enqueued_at="3 hours", started_at="2 hours", finished_at="1 hour", updated_at="1 minute"
    )
    add(jobs, "cancelled", enqueued_at="3 hours")
    add(jobs, "waiting", enqueued_at="3 hours")
    before = jobs.rows("SELECT *, xmin::text FROM jobs ORDER BY id")
    assert sweep(jobs) == {}
    assert jobs.rows("SELECT *, xmin::text FROM jobs ORDER BY id") == before


IMPOSSIBLE = {
    "finished_before_started": ("done", {"started_at": "1 hour", "finished_at": "2 hours"}),
    "waiting_with_worker": ("waiting", {}),
    "in_the_future": ("running", {"started_at": "-2 minutes"}),
}


@pytest.mark.versions
@pytest.mark.parametrize("naive", [False, True], ids=["timestamptz", "timestamp"])
@pytest.mark.parametrize("code", IMPOSSIBLE)
def test_impossible_combinations_are_reported_and_never_mended(
    jobs: servers.Database,
    code: str,
    naive: bool,  # noqa: FBT001 -- a parameter of the test
) -> None:
    status, times = IMPOSSIBLE[code]
    add(jobs, status, enqueued_at="3 hours", **times)
    add(jobs, "done", enqueued_at="3 hours", started_at="2 hours", finished_at="1 hour")
    add(jobs, "running", enqueued_at="3 hours", started_at="-30 seconds")
    if code == "waiting_with_worker":
        jobs.execute("UPDATE jobs SET worker = 'w' WHERE status = 'waiting'")
    zone = "Pacific/Auckland" if naive else "UTC"
    if naive:
        jobs.execute(
            f"SET timezone = '{zone}';"
            "ALTER TABLE jobs ALTER started_at TYPE timestamp, ALTER finished_at TYPE timestamp"
        )
    before = jobs.rows("SELECT *, xmin::text FROM jobs ORDER BY id")
    found = sweep(jobs, mapping(time_zone=zone))
    assert {name: (one.event, one.found, one.mended) for name, one in found.items()} == {
        code: ("timestamps.impossible", 1, 0)
    }
    assert jobs.rows("SELECT *, xmin::text FROM jobs ORDER BY id") == before


def test_times_of_different_kinds_are_compared_as_instants(jobs: servers.Database) -> None:
    jobs.execute("ALTER TABLE jobs ALTER finished_at TYPE timestamp")
    jobs.execute(
        "INSERT INTO jobs (status, started_at, finished_at) VALUES"
        " ('done', '2026-01-01 12:00+00', '2026-01-01 17:29'),"
        " ('done', '2026-01-01 12:00+00', '2026-01-01 17:31')"
    )
    found = sweep(jobs, mapping(time_zone="Asia/Kolkata"), policy=LOOK)
    assert [finding.key for finding in found["finished_before_started"].sample] == [("1",)]


def test_infinite_times_do_not_break_the_check(jobs: servers.Database) -> None:
    jobs.execute("INSERT INTO jobs (status, started_at, finished_at) VALUES ('done', '-infinity', NULL)")
    jobs.execute(
        "INSERT INTO jobs (status, started_at, updated_at) VALUES ('done', '-infinity', '-infinity')"
    )
    outcome = sweep(jobs)[FINISHED]
    assert (outcome.mended, outcome.error) == (2, None)
    assert {finding.facts["age"] for finding in outcome.sample} == {None}


def test_p1_a_job_that_its_worker_finishes_meanwhile_keeps_the_workers_time(jobs: servers.Database) -> None:
    add(jobs, "done", enqueued_at="3 hours")
    with jobs.connect(autocommit=False) as other:
        other.execute("UPDATE jobs SET finished_at = '2026-02-03 04:05+00'")
        outcome = sweep(jobs)[FINISHED]
        assert (outcome.found, outcome.mended, outcome.skipped) == (1, 0, 1)
        other.commit()
    assert jobs.value("SELECT finished_at = '2026-02-03 04:05+00' FROM jobs")


def test_f1_a_dry_run_lists_exactly_what_the_repair_fills(jobs: servers.Database) -> None:
    for status in ("running", "done", "failed", "waiting", "cancelled"):
        add(jobs, status, enqueued_at="3 hours")
        add(jobs, status, enqueued_at="3 hours", started_at="2 hours", finished_at="1 hour")
    before = jobs.rows("SELECT *, xmin::text FROM jobs ORDER BY id")
    listed = sweep(jobs, policy=LOOK)
    assert jobs.rows("SELECT *, xmin::text FROM jobs ORDER BY id") == before
    mended = sweep(jobs)
    assert {code: [row.key for row in one.sample] for code, one in listed.items()} == {
        code: [row.key for row in one.sample] for code, one in mended.items()
    }
    assert sum(one.mended for one in mended.values()) == 3


def test_p2_a_row_whose_fill_is_refused_is_set_aside_and_the_others_are_filled(
    jobs: servers.Database,
) -> None:
    jobs.execute("ALTER TABLE jobs ADD CHECK (label <> 'poison' OR finished_at IS NULL)")
    for _ in range(5):
        add(jobs, "done", enqueued_at="3 hours")
    jobs.execute("UPDATE jobs SET label = 'poison' WHERE id = 3")
    outcome = sweep(jobs)[FINISHED]
    assert (outcome.mended, outcome.set_aside) == (4, 1)
    assert jobs.rows("SELECT id FROM jobs WHERE finished_at IS NULL") == [(3,)]
