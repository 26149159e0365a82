"""The lease: whoever asks at the same time, exactly one gets it, and each gain is a new epoch."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import kit
import ledgers
import psycopg
import pytest
from eventually import eventually

from queuewarden.engine import lease
from queuewarden.engine.lease import Lease

if TYPE_CHECKING:
    from collections.abc import Callable

    from servers import Database

TTL = timedelta(seconds=15)


@pytest.fixture
def database(databases: Callable[..., Database]) -> Database:
    return databases(ledgers.SCHEMA)


def claim(database: Database, holder: str, ttl: timedelta = TTL) -> Lease:
    async def work() -> Lease:
        async with kit.session(database.dsn) as session:
            return await lease.claim(session, holder, ttl)

    return asyncio.run(work())


def release(database: Database, holder: str) -> None:
    async def work() -> None:
        async with kit.session(database.dsn) as session:
            await lease.release(session, holder)

    asyncio.run(work())


def left(database: Database) -> float:
    """Seconds until it runs out."""
    return float(
        database.value("SELECT extract(epoch FROM until - clock_timestamp()) FROM queuewarden.lease")
    )


@pytest.mark.versions
def test_the_first_to_ask_gets_it_and_keeps_it(database: Database) -> None:
    assert claim(database, "a") == Lease("a", 1)
    assert claim(database, "b") == Lease("a", 1)
    since = database.value("SELECT since FROM queuewarden.lease")
    hour = timedelta(hours=1)
    database.execute("UPDATE queuewarden.lease SET until = clock_timestamp() + interval '20 s'")
    assert claim(database, "a", hour) == Lease("a", 1)
    assert 3000 < left(database) <= 3600
    assert database.value("SELECT since FROM queuewarden.lease") == since
    assert claim(database, "b", 2 * hour) == Lease("a", 1)
    assert left(database) <= 3600, "who does not have it cannot make it longer"


@pytest.mark.versions
def test_it_is_free_when_its_time_is_over_and_at_once_when_given_up(database: Database) -> None:
    claim(database, "a")
    database.execute("UPDATE queuewarden.lease SET until = clock_timestamp()")
    assert claim(database, "b") == Lease("b", 2)
    release(database, "a")
    assert claim(database, "c") == Lease("b", 2), "only who has it can give it up"
    release(database, "b")
    assert claim(database, "c") == Lease("c", 3)


def test_who_lets_it_run_out_gets_it_anew_under_another_epoch(database: Database) -> None:
    claim(database, "a")
    database.execute("UPDATE queuewarden.lease SET until = clock_timestamp()")
    assert claim(database, "a") == Lease("a", 2)


def test_a_look_changes_nothing(database: Database) -> None:
    async def look() -> Lease:
        async with kit.session(database.dsn) as session:
            return await lease.look(session)

    assert asyncio.run(look()) == Lease(None, 0)
    claim(database, "a")
    assert asyncio.run(look()) == Lease("a", 1)
    database.execute("UPDATE queuewarden.lease SET until = clock_timestamp()")
    assert asyncio.run(look()) == Lease(None, 1)


@pytest.mark.versions
def test_of_many_who_ask_at_once_one_gets_it(database: Database) -> None:
    async def work() -> list[Lease | BaseException]:
        async def ask(name: str) -> Lease:
            async with kit.session(database.dsn) as session:
                await gate.wait()
                return await lease.claim(session, name, TTL)

        gate = asyncio.Event()
        tasks = [asyncio.create_task(ask(f"daemon {number}")) for number in range(8)]
        await asyncio.sleep(0.3)
        gate.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    for epoch in range(1, 6):
        told = asyncio.run(work())
        leases = {one for one in told if isinstance(one, Lease)}
        assert len(leases) == 1, told
        assert leases.pop().epoch == epoch
        assert all(isinstance(one, Lease | psycopg.errors.LockNotAvailable) for one in told)
        database.execute("UPDATE queuewarden.lease SET until = clock_timestamp()")


@pytest.mark.versions
def test_who_looked_before_somebody_else_took_it_does_not_take_it_too(database: Database) -> None:
    """Its statement began while the lease was free, and waited for the lock of who was faster."""

    async def work() -> Lease:
        async with kit.session(database.dsn, limits) as session:
            waiting = asyncio.create_task(lease.claim(session, "b", TTL))
            await asyncio.to_thread(eventually, lambda: database.value(waits), what="it waits")
            assert not waiting.done()
            faster.execute(
                "UPDATE queuewarden.lease SET holder = 'a', epoch = 1,"
                " until = clock_timestamp() + interval '15 s'"
            )
            faster.commit()
            return await waiting

    waits = (
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()"
        " AND cardinality(pg_blocking_pids(pid)) > 0)"
    )
    limits = replace(kit.LIMITS, lock_timeout=timedelta(seconds=25))
    database.execute(f"ALTER DATABASE \"{database.name}\" SET deadlock_timeout = '60s'")
    faster = database.connect(autocommit=False)
    faster.execute("SELECT FROM queuewarden.lease FOR UPDATE")
    try:
        assert asyncio.run(work()) == Lease("a", 1)
    finally:
        faster.close()


def test_time_is_the_databases(database: Database) -> None:
    """A holder whose own clock is wrong has it for as long as everybody else."""
    claim(database, "a", timedelta(seconds=60))
    assert 0 < left(database) <= 60
