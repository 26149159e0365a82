"""A row that was put back is left alone by every check, and by whoever looked before, until it changes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import kit
import ledgers
import pytest
from ledgers import Ledgered, take_back
from rows import Rows

from queuewarden.engine.policy import Policy
from queuewarden.queues.mapping import OrderTerm, Positions

if TYPE_CHECKING:
    from collections.abc import Callable

    from servers import Database

    from queuewarden.adapters.db.session import Session

LOOK = Policy(daemon=False, write=False, grace=False)
LANES = replace(
    kit.MAPPING, positions=Positions(column="position", order_by=(OrderTerm("enqueued_at"),), lane=("lane",))
)


@pytest.fixture
def queue(databases: Callable[..., Database]) -> Ledgered:
    return Ledgered(databases(ledgers.SCHEMA), limits=replace(kit.LIMITS, checks=("stuck_jobs",)))


def put_back(queue: Ledgered) -> int:
    """A stuck job that was reset, and put back."""
    job = int(Rows(queue.database).job("running", "1 hour"))
    queue.sweep()
    assert [one.refused for one in queue.undo()] == [None]
    return job


@pytest.mark.versions
def test_no_check_finds_it_and_none_repairs_it(queue: Ledgered) -> None:
    job = put_back(queue)
    for restarted in (False, True):
        if restarted:
            queue.restart()
        assert queue.sweep(LOOK) == {}
        assert queue.sweep() == {}
    assert Rows(queue.database).of_job(job) == "running"
    assert len(queue.changes()) == 2


@pytest.mark.parametrize("change", ["label = 'x'", "priority = 1", "status = 'running'"])
def test_once_it_has_changed_it_is_a_row_like_others(queue: Ledgered, change: str) -> None:
    job = put_back(queue)
    queue.database.execute(f"UPDATE jobs SET {change} WHERE id = {job}")
    assert queue.sweep()["stuck"].mended == 1
    assert Rows(queue.database).of_job(job) == "waiting"


def test_neither_a_lock_nor_vacuum_is_a_change(queue: Ledgered) -> None:
    job = put_back(queue)
    queue.database.execute("SELECT FROM jobs FOR UPDATE")
    queue.database.execute("VACUUM FREEZE jobs")
    assert queue.sweep() == {}
    assert Rows(queue.database).of_job(job) == "running"


def test_others_beside_it_are_mended(queue: Ledgered) -> None:
    job = put_back(queue)
    other = Rows(queue.database).job("running", "1 hour")
    assert queue.sweep()["stuck"].mended == 1
    assert Rows(queue.database).statuses() == {job: "running", other: "waiting"}


def test_put_back_changed_mended_and_put_back_again(queue: Ledgered) -> None:
    job = put_back(queue)
    queue.database.execute("UPDATE jobs SET label = 'x'")
    queue.sweep()
    assert [one.refused for one in queue.undo(3)] == [None]
    assert queue.sweep() == {}
    assert Rows(queue.database).of_job(job) == "running"
    assert queue.database.value("SELECT count(*) FROM queuewarden.left_alone") == 1


def test_a_change_that_is_made_again_by_undoing_the_undo_stays_too(queue: Ledgered) -> None:
    job = put_back(queue)
    assert [one.refused for one in queue.undo(2)] == [None]
    assert Rows(queue.database).of_job(job) == "waiting"
    assert queue.sweep() == {}


@pytest.mark.versions
def test_a_worker_that_was_put_back_is_left_alone_and_so_is_its_job(queue: Ledgered) -> None:
    queue.limits = replace(kit.LIMITS, checks=("dead_workers", "stuck_jobs"))
    rows = Rows(queue.database)
    rows.worker("alive")
    rows.worker("w1", "1 hour", status="busy")
    job = rows.job("running", "5 minutes", worker="w1")
    queue.sweep()
    assert rows.of_worker("w1") == "offline"
    queue.undo()
    assert queue.sweep() == {}
    assert (rows.of_worker("w1"), rows.of_job(job)) == ("busy", "running")
    queue.database.execute("UPDATE workers SET heartbeat = now() WHERE id = 'w1'")
    assert queue.sweep() == {}, "it beats"


@pytest.mark.versions
@pytest.mark.parametrize("constraint", ["", "ALTER TABLE jobs ADD UNIQUE (lane, position)"])
def test_a_lane_with_such_a_row_is_left_alone_whole(queue: Ledgered, constraint: str) -> None:
    queue.mapping, queue.limits = LANES, replace(kit.LIMITS, checks=("positions",))
    queue.database.execute(constraint or "SELECT")
    queue.database.execute(
        "INSERT INTO jobs (lane, position, enqueued_at)"
        " SELECT l, 4 - n, now() - make_interval(mins => 9 - n)"
        " FROM generate_series(1, 2) AS l, generate_series(1, 3) AS n"
    )
    whole = ledgers.image(queue.database)
    queue.sweep()
    ids = [one.id for one in queue.changes() if one.finding.before["lane"] == "1"]
    assert {one.refused for one in queue.undo(*ids)} == {None}
    for _ in range(2):
        assert queue.sweep() == {}
        assert queue.sweep(LOOK) == {}
        queue.restart()
    assert ledgers.image(queue.database)[:3] == whole[:3]
    queue.database.execute("UPDATE jobs SET label = 'x' WHERE lane = 1")
    assert [one.mended for one in queue.sweep().values()] == [2]


def test_a_row_of_the_same_key_in_another_table_is_none_of_it(queue: Ledgered) -> None:
    put_back(queue)
    queue.database.execute(
        "CREATE SCHEMA other; CREATE TABLE other.jobs (LIKE jobs INCLUDING ALL);"
        "INSERT INTO other.jobs SELECT * FROM jobs"
    )
    other = Ledgered(
        queue.database, kit.jobs_mapping(table=replace(kit.MAPPING.jobs.table, schema="other")), queue.limits
    )
    assert other.sweep()["stuck"].mended == 1


@pytest.mark.versions
def test_a_sweep_that_looked_before_the_undo_is_held_and_the_next_one_knows(queue: Ledgered) -> None:
    queue.limits = replace(queue.limits, batch=1)
    rows = Rows(queue.database)
    first = rows.job("running", "2 hours")
    queue.sweep()
    second = rows.job("running", "1 hour")

    def meanwhile(session: Session) -> None:
        transaction = session.transaction

        def late(**rest: Any) -> Any:
            if len(queue_changes()) == 1:
                assert [one.refused for one in undo()] == [None]
            return transaction(**rest)

        session.transaction = late  # type: ignore[method-assign]

    queue_changes, undo = _in_threads(queue)
    outcome = queue.sweep(meanwhile=meanwhile)["stuck"]
    assert (outcome.mended, outcome.held) == (0, "undo")
    assert rows.statuses() == {first: "running", second: "running"}
    assert queue.sweep()["stuck"].mended == 1
    assert rows.statuses() == {first: "running", second: "waiting"}


def _in_threads(queue: Ledgered) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Looks and undoes from within a running sweep: in a thread with a loop of its own."""

    def threaded(function: Callable[[], Any]) -> Callable[[], Any]:
        def call() -> Any:
            with ThreadPoolExecutor(1) as pool:
                return pool.submit(function).result(20)

        return call

    return threaded(queue.changes), threaded(lambda: take_back(queue.database, 1))


def test_a_person_in_another_time_zone_means_the_same_row(
    databases: Callable[..., Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys of tables that are divided by time hold the time."""
    database = databases(ledgers.SCHEMA)
    database.execute("ALTER TABLE jobs DROP CONSTRAINT jobs_pkey, ADD PRIMARY KEY (enqueued_at, id)")
    limits = replace(kit.LIMITS, checks=("stuck_jobs",))
    queue = Ledgered(database, kit.jobs_mapping(id=("enqueued_at", "id")), limits)
    Rows(database).job("running", "1 hour")
    queue.sweep()
    monkeypatch.setenv("PGTZ", "Europe/Berlin")
    assert [one.refused for one in queue.undo()] == [None]
    monkeypatch.setenv("PGTZ", "UTC")
    assert queue.sweep() == {}
