"""Lanes: more running jobs than a lane may have are reported, and demoted only where that is asked for."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import kit
import pytest

from queuewarden.engine.policy import Policy
from queuewarden.engine.sweep import Sweeper
from queuewarden.queues.mapping import Mapping, OrderTerm, Positions

if TYPE_CHECKING:
    from collections.abc import Callable

    import servers

    from queuewarden.model import Outcome

LOOK = Policy(daemon=False, grace=False, write=False, rows=1000)
ONLY = replace(kit.LIMITS, checks=("lanes",))
LONG = timedelta(days=1000)
"""Longer than any server of these tests has been up."""


def mapping(max_running: int | None = 1, lane: tuple[str, ...] = ("lane",), **changes: Any) -> Mapping:
    return replace(kit.MAPPING, positions=Positions(lane=lane, max_running=max_running, **changes))


def sweep(database: servers.Database, queue: Mapping, **rest: Any) -> Outcome | None:
    return kit.sweep(database.dsn, queue, **({"limits": ONLY} | rest)).get("crowded")


def run(database: servers.Database, *ages: int | None, lane: object = 1) -> None:
    """Running jobs of a lane, started so many seconds ago."""
    with database.connect() as connection:
        for age in ages:
            connection.execute(
                "INSERT INTO jobs (status, worker, lane, attempts, started_at)"
                " VALUES ('running', 'w', %s, 1, now() - %s * interval '1 second')",
                (lane, age),
            )


def still_running(database: servers.Database) -> list[int]:
    return [key for (key,) in database.rows("SELECT id FROM jobs WHERE status = 'running' ORDER BY id")]


@pytest.fixture
def jobs(databases: Callable[..., servers.Database]) -> servers.Database:
    return databases(kit.SCHEMA)


@pytest.mark.versions
def test_too_many_running_jobs_are_reported_and_not_touched(jobs: servers.Database) -> None:
    run(jobs, 30, 10, 20, lane=1)
    run(jobs, 5, lane=2)
    run(jobs, 5, 6, lane=None)
    before = jobs.rows("SELECT *, xmin::text FROM jobs ORDER BY id")
    outcome = sweep(jobs, mapping())
    assert outcome is not None
    assert (outcome.event, outcome.found, outcome.mended) == ("lanes.crowded", 3, 0)
    listed = sweep(jobs, mapping(), policy=LOOK)
    assert listed is not None
    told = {row.key[0]: (row.facts["lane"], row.facts["rank"], row.facts["worker"]) for row in listed.sample}
    assert told == {"3": ("1", "2", "w"), "2": ("1", "3", "w"), "5": ("NULL", "2", "w")}
    assert jobs.rows("SELECT *, xmin::text FROM jobs ORDER BY id") == before


@pytest.mark.parametrize(("limit", "crowded"), [(1, 3), (2, 2), (3, 1), (4, 0), (None, 0)])
def test_as_many_may_run_as_are_mapped(jobs: servers.Database, limit: int | None, crowded: int) -> None:
    run(jobs, 1, 2, 3, 4)
    outcome = sweep(jobs, mapping(limit))
    assert (outcome.found if outcome else 0) == crowded


def test_without_a_lane_the_whole_queue_is_one(jobs: servers.Database) -> None:
    run(jobs, 1, lane=1)
    run(jobs, 2, lane=2)
    outcome = sweep(jobs, mapping(lane=()))
    assert outcome is not None
    assert outcome.found == 1


@pytest.mark.versions
def test_demotion_sends_the_newer_ones_back(jobs: servers.Database) -> None:
    run(jobs, 30, 10, None, 20, lane=1)
    run(jobs, 5, lane=2)
    outcome = sweep(jobs, mapping(2, demote=True))
    assert outcome is not None
    assert (outcome.found, outcome.mended, outcome.skipped) == (2, 2, 0)
    assert still_running(jobs) == [1, 4, 5], "the oldest stay; one without a start counts as the newest"
    demoted = "SELECT status, worker, started_at, attempts, error FROM jobs WHERE id IN (2, 3)"
    assert set(jobs.rows(demoted)) == {("waiting", None, None, 1, "queuewarden: lane is crowded")}
    assert {finding.before["worker"] for finding in outcome.sample} == {"w"}
    assert {finding.after["worker"] for finding in outcome.sample if finding.after} == {None}
    assert sweep(jobs, mapping(2, demote=True)) is None


def test_f14_demotion_and_numbering_agree(jobs: servers.Database) -> None:
    """A demoted job waits, and is numbered in the same sweep; the next one finds nothing."""
    jobs.execute("INSERT INTO jobs (lane, position, priority) VALUES (1, 1, 5), (1, 2, 0)")
    run(jobs, 30, 10)
    queue = mapping(demote=True, column="position", order_by=(OrderTerm("priority", descending=True),))
    everything = replace(kit.LIMITS, checks=("lanes", "positions"))
    first = kit.sweep(jobs.dsn, queue, everything)
    assert {code: outcome.mended for code, outcome in first.items()} == {"crowded": 1, "position": 1}
    waiting = "SELECT id, position FROM jobs WHERE status = 'waiting' ORDER BY position"
    assert jobs.rows(waiting) == [(1, 1), (2, 2), (4, 3)]
    assert kit.sweep(jobs.dsn, queue, everything) == {}


@pytest.mark.parametrize("locked", [1, 2])
def test_a_lane_with_a_running_job_locked_elsewhere_is_left_for_the_next_sweep(
    jobs: servers.Database, locked: int
) -> None:
    run(jobs, 30, 10, lane=1)
    run(jobs, 30, 10, lane=2)
    with jobs.connect(autocommit=False) as other:
        other.execute("SELECT 1 FROM jobs WHERE id = %s FOR UPDATE", (locked,))
        outcome = sweep(jobs, mapping(demote=True))
        assert outcome is not None
        assert (outcome.mended, outcome.skipped) == (1, 1)
        assert still_running(jobs) == [1, 2, 3]
    sweep(jobs, mapping(demote=True))
    assert still_running(jobs) == [1, 3]


def test_p1_a_job_that_finishes_meanwhile_is_not_overwritten(jobs: servers.Database) -> None:
    run(jobs, 30, 10)
    with jobs.connect(autocommit=False) as other:
        other.execute("UPDATE jobs SET status = 'done', finished_at = now() WHERE id = 2")
        sweep(jobs, mapping(demote=True))
        other.commit()
    assert jobs.rows("SELECT status FROM jobs ORDER BY id") == [("running",), ("done",)]
    assert sweep(jobs, mapping(demote=True)) is None


def test_f14_demotion_that_is_undone_again_and_again_ends_as_a_fight(jobs: servers.Database) -> None:
    sweeper = Sweeper("test")
    run(jobs, 30, 10)
    for _ in range(6):
        outcome = sweep(jobs, mapping(demote=True), sweeper=sweeper)
        assert outcome is not None
        jobs.execute("UPDATE jobs SET status = 'running', worker = 'v', started_at = now() WHERE id = 2")
    assert outcome.mended == 0, "the same two jobs again and again: the application means it"
    assert still_running(jobs) == [1, 2]


def test_p5_running_jobs_are_not_demoted_during_grace(jobs: servers.Database) -> None:
    run(jobs, 30, 10)
    careful = Policy(daemon=False, grace=True)
    outcome = sweep(jobs, mapping(demote=True), policy=careful, limits=replace(ONLY, dead_after=LONG))
    assert outcome is not None
    assert (outcome.held, outcome.mended) == ("grace", 0)
    assert still_running(jobs) == [1, 2]
