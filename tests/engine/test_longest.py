"""The jobs that run longest: in order, and stuck exactly where the check says so."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import kit
import pytest
from commands_kit import MESS
from psycopg.sql import SQL

from queuewarden.engine.longest import longest, running_jobs
from queuewarden.engine.policy import Policy
from queuewarden.engine.resolve import resolve
from queuewarden.engine.sweep import Sweeper

if TYPE_CHECKING:
    from collections.abc import Callable

    import servers

    from queuewarden.engine.longest import RunningJob
    from queuewarden.model import Limits
    from queuewarden.queues.mapping import Mapping

LOOK = Policy(daemon=False, write=False, only=("stuck_jobs",), rows=50)
MORE = """
INSERT INTO jobs (id, status, worker, started_at, heartbeat, label) VALUES
    (11, 'running', 'nobody', now() - interval '2 hours', NULL, 'of nobody'),
    (12, 'running', NULL, now() - interval '4 minutes', NULL, 'unclaimed'),
    (13, 'running', 'alive', now() - interval '20 minutes', NULL, 'long'),
    (14, 'running', 'alive', NULL, NULL, 'undated'),
    (15, 'running', 'alive', '-infinity', NULL, 'since ever'),
    (16, 'running', 'alive', now() - interval '1 hour', now(), 'beats');
"""


@pytest.fixture
def database(databases: Callable[..., servers.Database]) -> servers.Database:
    database = databases(kit.SCHEMA)
    database.execute(MESS + MORE)
    return database


def looked(
    database: servers.Database, limits: Limits = kit.LIMITS, mapping: Mapping = kit.MAPPING, limit: int = 50
) -> Any:
    """The jobs, and the ids of those that the check finds stuck."""

    async def work() -> Any:
        async with kit.session(database.dsn, limits) as session:
            resolution = await resolve(session, "test", mapping, limits)
            assert resolution.target is not None, resolution.faults
            query = longest(resolution.target, limit)
            assert query is not None
            jobs = running_jobs(resolution.target, await session.rows(query))
            report = await Sweeper("test").sweep(session, [resolution.target], policy=LOOK)
            found = [finding for one in report.queues[0].outcomes for finding in one.sample]
            return jobs, {finding.key[0] for finding in found}

    return asyncio.run(work())


def test_they_come_in_the_order_of_their_start(database: servers.Database) -> None:
    jobs: tuple[RunningJob, ...]
    jobs, _ = looked(database)
    assert [job.id for job in jobs] == ["15", "11", "1", "16", "13", "2", "12", "3", "14"]
    assert [job.ran for job in jobs if job.id in {"14", "15"}] == [None, None]
    [dead] = [job for job in jobs if job.id == "1"]
    assert (dead.label, dead.worker, dead.queue) == ("of the dead", "dead", "mail")
    assert dead.ran is not None
    assert timedelta(minutes=59) < dead.ran < timedelta(minutes=62)


def test_there_are_at_most_as_many_as_wanted(database: servers.Database) -> None:
    jobs, _ = looked(database, limit=2)
    assert [job.id for job in jobs] == ["15", "11"]


ALIVE = [timedelta(minutes=3), timedelta(minutes=15), timedelta(seconds=1), None]


@pytest.mark.parametrize("workers", [True, False])
@pytest.mark.parametrize("heartbeat", [None, "heartbeat"])
@pytest.mark.parametrize("alive", ALIVE)
def test_stuck_is_what_the_check_finds(
    database: servers.Database, alive: timedelta | None, heartbeat: str | None, *, workers: bool
) -> None:
    mapping = kit.jobs_mapping(heartbeat=heartbeat)
    if not workers:
        mapping = replace(mapping, workers=None)
    jobs, found = looked(database, replace(kit.LIMITS, stuck_after_alive=alive), mapping)
    stuck = {job.id for job in jobs if job.stuck}
    assert stuck
    # What has no start time, the check judges by other times, which a look in passing leaves to it.
    assert stuck == found - {"14"}


def test_without_a_start_time_there_is_nothing_to_ask(database: servers.Database) -> None:
    async def work() -> Any:
        async with kit.session(database.dsn) as session:
            mapping = kit.jobs_mapping(started_at=None)
            return (await resolve(session, "test", mapping, kit.LIMITS)).target

    assert longest(asyncio.run(work()), 5) is None


def test_it_goes_by_the_index_that_finds_stuck_jobs(database: servers.Database) -> None:
    database.execute("CREATE INDEX ON jobs (started_at, id) WHERE status = 'running'")
    database.execute("INSERT INTO jobs (id, status) SELECT n, 'done' FROM generate_series(100, 5000) AS n")
    database.execute("ANALYZE jobs")

    async def work() -> Any:
        async with kit.session(database.dsn) as session:
            target = (await resolve(session, "test", kit.MAPPING, kit.LIMITS)).target
            assert target is not None
            query = longest(target, 3)
            assert query is not None
            explain = SQL("EXPLAIN (FORMAT JSON) ").as_bytes(None) + query.text
            ((plan,),) = await session.rows(replace(query, text=explain))
            return plan

    plan = asyncio.run(work())
    assert "Seq Scan on jobs" not in json.dumps(plan)
    assert '"Index Scan"' in json.dumps(plan)
