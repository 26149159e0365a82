"""The fleet's bookkeeping: who dies is replaced, faults come one at a time, tables stay small."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from eventually import eventually
from processes import is_alive

from queuewarden.application.demo import fleet as rooms
from queuewarden.application.demo.fleet import Faults, Fleet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from servers import Database

    from queuewarden.application.demo.worker import Fault


@pytest.fixture
def fleet(database: Database) -> Iterator[Fleet]:
    with database.connect() as connection:
        fleet = Fleet(connection, database.dsn, random.Random(1))
        fleet.start(0.0)
        yield fleet
        fleet.stop()


def test_each_fault_comes_once_a_round_and_never_before_the_last_one_is_over() -> None:
    faults = Faults(random.Random(5), due=3.0)
    assert faults.next(2.9) is None
    seen = []
    for _ in range(6):
        now = faults.due
        seen.append(faults.next(now))
        assert faults.next(now + 3600) is None
        faults.settled(now + 10)
        assert now + 10 + rooms.PAUSE_SECONDS[0] <= faults.due <= now + 10 + rooms.PAUSE_SECONDS[1]
    assert sorted(map(str, seen[:3])) == sorted(map(str, seen[3:])) == ["crash", "hang", "stall"]


def test_the_same_seed_makes_the_same_faults() -> None:
    def first(seed: int) -> list[str | None]:
        faults = Faults(random.Random(seed), due=0.0)
        seen: list[str | None] = []
        for _ in range(9):
            seen.append(faults.next(faults.due))
            faults.settled(0.0)
        return seen

    assert first(4) == first(4)
    assert len({tuple(first(seed)) for seed in range(5)}) > 1


def test_it_registers_and_works_and_stops(database: Database, fleet: Fleet) -> None:
    def until(query: str, count: int) -> None:
        eventually(lambda: database.value(f"SELECT count(*) FROM {query}") >= count, seconds=60, what=query)

    until("worker_status", rooms.SIZE)
    fleet.tick(1.0)
    until("extraction_queue WHERE status_id = 3", 2)
    until("interviews", 1)
    pids = [process.pid for process in fleet.members.values()]
    assert len(pids) == rooms.SIZE + 2
    assert all(map(is_alive, pids))
    fleet.stop()
    assert not any(map(is_alive, pids))
    assert fleet.members == {}


def test_a_dead_worker_is_replaced_under_another_name_and_the_desk_under_its_own(fleet: Fleet) -> None:
    name = next(iter(fleet.workers))
    for process in (fleet.members[name], fleet.members["desk"]):
        process.kill()
        process.wait()
    fleet.tick(0.1)
    assert name not in fleet.workers
    assert len(fleet.workers) == rooms.SIZE
    assert fleet.members["desk"].poll() is None


@pytest.mark.parametrize(("fault", "dies"), [("hang", True), ("stall", False)])
def test_a_worker_that_hangs_is_killed_in_the_end_and_one_that_stalls_is_not(
    fleet: Fleet, fault: Fault, dies: object
) -> None:
    fleet._faults._round = [fault]
    fleet.tick(3.0)
    name, kind, _ = fleet._afflicted or pytest.fail("no fault at its time")
    assert kind == fault
    process = fleet.members[name]
    fleet.tick(3.0 + rooms.HANG_SECONDS - 1)
    assert fleet._afflicted is not None
    assert process.poll() is None
    fleet.tick(3.0 + rooms.HANG_SECONDS)
    assert fleet._afflicted is None
    if dies:
        assert process.wait(30) == -9
    fleet.tick(3.0 + rooms.HANG_SECONDS + 0.2)
    assert (name in fleet.workers) is not dies


def test_a_crash_is_over_when_the_worker_is_gone(fleet: Fleet) -> None:
    fleet._faults._round = ["crash"]
    fleet.tick(3.0)
    name, _, _ = fleet._afflicted or pytest.fail("no fault at its time")
    assert fleet.members[name].wait(60) == -9
    fleet.tick(4.0)
    assert fleet._afflicted is None
    assert name not in fleet.workers


def test_jobs_come_at_their_pace_and_not_without_bound(database: Database) -> None:
    with database.connect() as connection:
        fleet = Fleet(connection, database.dsn, random.Random(1))
        made = "SELECT count(*) FROM extraction_queue"
        fleet._make_jobs(0.4)
        assert database.value(made) == 0
        fleet._make_jobs(0.6)
        assert database.value(made) == 1
        fleet._make_jobs(2.0)
        assert database.value(made) == 4
        fleet._make_jobs(100.0)
        fleet._make_jobs(200.0)
        assert database.value(made) == rooms.MOST_WAITING


def test_only_what_is_long_done_is_dropped(database: Database) -> None:
    old = "now() - interval '1 hour'"
    database.execute(
        f"INSERT INTO extraction_queue (status_id, worker_id, updated_at) VALUES"
        f" (1, NULL, {old}), (2, 'holder', {old}), (3, 'ann', {old}), (4, 'ann', {old}), (3, 'ann', now());"
        f"INSERT INTO worker_status (worker_id, status, last_heartbeat) VALUES"
        f" ('holder', 'offline', {old}), ('gone', 'offline', {old}), ('silent', 'busy', {old}),"
        f" ('fresh', 'offline', now());"
        f"INSERT INTO interviews (student_id, company_id, status, completed_at) VALUES"
        f" (1, 1, 'completed', {old}), (1, 1, 'completed', now()), (1, 1, 'waiting', NULL)"
    )
    with database.connect() as connection:
        Fleet(connection, database.dsn, random.Random(1))._tidy()
    left = "SELECT status_id FROM extraction_queue ORDER BY status_id"
    assert database.rows(left) == [(1,), (2,), (3,)]
    workers = "SELECT worker_id FROM worker_status ORDER BY worker_id"
    assert database.rows(workers) == [("fresh",), ("holder",), ("silent",)]
    assert database.value("SELECT count(*) FROM interviews") == 2
