"""What one look shows, on all the kinds of column that a mapping may name."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import kit
import pytest

from queuewarden.engine import observe
from queuewarden.engine.resolve import resolve
from queuewarden.engine.sweep import Sweeper

if TYPE_CHECKING:
    from collections.abc import Callable

    import servers

    from queuewarden.model import Counts

pytestmark = pytest.mark.versions


@pytest.fixture
def database(databases: Callable[..., servers.Database]) -> servers.Database:
    return databases(kit.SCHEMA)


def counts(database: servers.Database, mapping: Any = kit.MAPPING) -> Counts:
    limits = replace(kit.LIMITS, mode="observe")
    report = asyncio.run(kit.sweep_async(database.dsn, mapping, limits))
    found = report.queues[0].counts
    assert found is not None
    return found


def test_an_empty_queue_is_known_to_be_empty(database: servers.Database) -> None:
    found = counts(database)
    assert (found.waiting, found.eligible, found.running, found.failed, found.failed_last_hour) == (
        0,
        0,
        0,
        0,
        0,
    )
    assert (found.live_workers, found.silent_workers, found.registered_workers) == (0, 0, 0)
    assert found.oldest_waiting is None
    assert found.last_finished is None


def test_what_is_not_mapped_is_unknown_and_not_zero(database: servers.Database) -> None:
    bare = replace(
        kit.jobs_mapping(started_at=None, enqueued_at=None, finished_at=None),
        workers=None,
        states=replace(kit.MAPPING.states, failed=()),
    )
    found = counts(database, bare)
    assert found.waiting == 0
    assert found.failed is None
    assert found.failed_last_hour is None
    assert found.live_workers is None
    assert found.silent_workers is None


def test_the_counts(database: servers.Database) -> None:
    database.execute(
        """INSERT INTO jobs (status, enqueued_at, scheduled_at, finished_at) VALUES
             ('waiting', now() - interval '3 h', now() + interval '1 h', NULL),
             ('waiting', now() - interval '2 h', now() - interval '1 h', NULL),
             ('waiting', now() - interval '1 m', NULL, NULL),
             ('running', now(), NULL, NULL),
             ('done', now(), NULL, now() - interval '7 m'),
             ('failed', now(), NULL, now() - interval '2 h'),
             ('failed', now(), NULL, now() - interval '2 m');
           INSERT INTO workers (id, status, heartbeat) VALUES
             ('live', 'idle', now()), ('silent', 'busy', now() - interval '3 m'),
             ('off', 'offline', now() - interval '3 m'), ('never', 'idle', NULL)"""
    )
    found = counts(database, kit.jobs_mapping(scheduled_at="scheduled_at"))
    assert (found.waiting, found.eligible, found.running, found.failed, found.failed_last_hour) == (
        3,
        2,
        1,
        2,
        1,
    )
    assert found.oldest_waiting is not None
    assert timedelta(hours=1) <= found.oldest_waiting < timedelta(hours=1, minutes=1)
    assert found.last_finished is not None
    assert timedelta(minutes=7) <= found.last_finished < timedelta(minutes=8)
    assert (found.live_workers, found.silent_workers, found.registered_workers) == (1, 1, 4)


def test_infinite_times_tell_nothing_and_break_no_count(database: servers.Database) -> None:
    database.execute(
        """INSERT INTO jobs (status, enqueued_at, finished_at) VALUES
             ('waiting', '-infinity', NULL), ('waiting', now() - interval '2 h', NULL),
             ('done', now(), 'infinity'), ('done', now(), now() - interval '7 m'),
             ('failed', now(), 'infinity')"""
    )
    found = counts(database)
    assert (found.waiting, found.failed, found.failed_last_hour) == (2, 1, 0)
    assert found.oldest_waiting is not None
    assert timedelta(hours=2) <= found.oldest_waiting < timedelta(hours=2, minutes=1)
    assert found.last_finished is not None
    assert timedelta(minutes=7) <= found.last_finished < timedelta(minutes=8)


def test_a_worker_marked_offline_that_still_runs_a_job_counts_as_silent(database: servers.Database) -> None:
    database.execute(
        "INSERT INTO workers (id, status, heartbeat) VALUES ('w', 'offline', now() - interval '1 h')"
    )
    assert counts(database).silent_workers == 0
    database.execute("INSERT INTO jobs (status, worker, started_at) VALUES ('running', 'w', now())")
    assert counts(database).silent_workers == 1


def test_the_workers_are_looked_at_in_each_sweep_the_jobs_when_that_is_cheap(
    database: servers.Database,
) -> None:
    sweeper = Sweeper("test")
    limits = replace(kit.LIMITS, mode="observe")

    def sweep() -> Counts | None:
        return asyncio.run(kit.sweep_async(database.dsn, limits=limits, sweeper=sweeper)).queues[0].counts

    sweep()
    sweeper.state("mail").next_look += 1e9
    database.execute("INSERT INTO jobs DEFAULT VALUES")
    database.execute("INSERT INTO workers (id, heartbeat) VALUES ('w', now())")
    found = sweep()
    assert found is not None
    assert (found.waiting, found.live_workers) == (0, 1)


def test_the_server_by_its_own_words(database: servers.Database) -> None:
    async def work() -> None:
        async with kit.session(database.dsn) as session:
            state = observe.server_state((await session.rows(observe.SERVER))[0])
            assert not state.standby
            assert state.timeline == "00000001"
            assert state.system is not None
            assert state.started_at < state.now

    asyncio.run(work())


def test_a_healthy_queue_takes_few_round_trips(database: servers.Database) -> None:
    database.execute("INSERT INTO workers (id, heartbeat) VALUES ('w', now())")

    async def work() -> None:
        async with kit.session(database.dsn) as session:
            resolution = await resolve(session, "test", kit.MAPPING, kit.LIMITS)
            assert resolution.target is not None
            sweeper = Sweeper("test")
            await sweeper.sweep(session, [resolution.target])
            report = await sweeper.sweep(session, [resolution.target])
            assert report.round_trips <= 3

    asyncio.run(work())
