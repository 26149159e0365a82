"""The fence: a transaction that begins late finds out that what it went by does not hold any more."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import kit
import ledgers
import psycopg
import pytest

from queuewarden.adapters.db.session import Query, Session
from queuewarden.engine import fence, lease, pauses
from queuewarden.errors import BusyError, HeldError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from servers import Database

WRITE = Query(b"INSERT INTO public.jobs (status) VALUES ('waiting')", {})
TTL = timedelta(seconds=15)


@pytest.fixture
def database(databases: Callable[..., Database]) -> Database:
    return databases(ledgers.SCHEMA)


@asynccontextmanager
async def daemon(database: Database, name: str) -> AsyncIterator[tuple[Session, int]]:
    """A daemon that has the lease, and its epoch."""
    async with kit.session(database.dsn) as session:
        taken = await lease.claim(session, name, TTL)
        assert taken.holder == name
        session.fence = fence.of_daemon(name, taken.epoch, 0)
        yield session, taken.epoch


async def write(session: Session) -> None:
    async with session.transaction() as transaction:
        await transaction.execute(WRITE)


def written(database: Database) -> int:
    return int(database.value("SELECT count(*) FROM jobs"))


def run_out(database: Database) -> None:
    """As if the holder had slept for longer than its time."""
    database.execute("UPDATE queuewarden.lease SET until = clock_timestamp()")


@pytest.mark.versions
def test_who_has_the_lease_writes(database: Database) -> None:
    async def work() -> None:
        async with daemon(database, "a") as (session, _):
            await write(session)
            await write(session)

    asyncio.run(work())
    assert written(database) == 2


@pytest.mark.versions
def test_who_slept_through_a_takeover_writes_nothing_and_without_the_fence_would(database: Database) -> None:
    async def work() -> None:
        async with daemon(database, "a") as (sleeper, epoch), kit.session(database.dsn) as other:
            run_out(database)
            assert await lease.claim(other, "b", TTL) == lease.Lease("b", epoch + 1)
            with pytest.raises(HeldError) as held:
                await write(sleeper)
            assert held.value.why == "lease"
            assert sleeper.usable
            assert written(database) == 0
            sleeper.fence = None
            await write(sleeper)
            assert written(database) == 1

    asyncio.run(work())


@pytest.mark.versions
@pytest.mark.parametrize(
    "meanwhile",
    [
        "UPDATE queuewarden.lease SET until = clock_timestamp()",
        "UPDATE queuewarden.lease SET epoch = epoch + 1",
        "UPDATE queuewarden.lease SET holder = NULL",
        "UPDATE queuewarden.lease SET holder = 'b', epoch = epoch + 1",
        "DELETE FROM queuewarden.lease",
    ],
)
def test_a_lease_that_is_not_ours_any_more(database: Database, meanwhile: str) -> None:
    async def work() -> None:
        async with daemon(database, "a") as (session, _):
            database.execute(meanwhile)
            with pytest.raises(HeldError, match="lease"):
                await write(session)

    asyncio.run(work())
    assert written(database) == 0


def test_a_pause_that_was_set_since(database: Database) -> None:
    async def work() -> None:
        async with daemon(database, "a") as (session, _), kit.session(database.dsn) as person:
            await write(session)
            await pauses.set_pause(person, "prod", reason="r", by="anna", lasts=timedelta(minutes=1))
            with pytest.raises(HeldError, match="pause"):
                await write(session)
            session.fence = fence.of_person(0)
            await write(session)
            session.fence = fence.of_daemon("a", 1, 0)
            await pauses.end_pauses(person, by="anna")
            await write(session)

    asyncio.run(work())
    assert written(database) == 3


@pytest.mark.parametrize("who", ["daemon", "person"])
def test_rows_that_were_put_back_since(database: Database, who: str) -> None:
    async def work() -> None:
        async with daemon(database, "a") as (session, epoch):
            if who == "person":
                session.fence = fence.of_person(0)
            await write(session)
            database.execute("UPDATE queuewarden.counter SET undos = undos + 1")
            with pytest.raises(HeldError, match="undo"):
                await write(session)
            session.fence = fence.of_daemon("a", epoch, 1)
            await write(session)

    asyncio.run(work())
    assert written(database) == 2


@pytest.mark.versions
def test_a_renewal_passes_a_repair_in_flight_and_a_takeover_waits_for_it(database: Database) -> None:
    async def work() -> None:
        async with (
            daemon(database, "a") as (session, epoch),
            kit.session(database.dsn) as keeper,
            kit.session(database.dsn) as other,
        ):
            async with session.transaction() as transaction:
                await transaction.execute(WRITE)
                assert await lease.claim(keeper, "a", TTL) == lease.Lease("a", epoch), "it renews"
                assert (await lease.claim(other, "b", TTL)).holder == "a"
                run_out(database)
                with pytest.raises(psycopg.errors.LockNotAvailable):
                    await lease.claim(other, "b", TTL)
                assert (await lease.look(keeper)).epoch == epoch
                assert written(database) == 0
            assert written(database) == 1, "the repair that was in flight is done"
            assert await lease.claim(other, "b", TTL) == lease.Lease("b", epoch + 1)

    asyncio.run(work())


def test_a_lock_that_would_block_a_renewal_does(database: Database) -> None:
    """Why the fence locks FOR KEY SHARE."""

    async def work() -> None:
        async with daemon(database, "a") as _, kit.session(database.dsn) as keeper:
            with database.connect(autocommit=False) as other:
                other.execute("SELECT FROM queuewarden.lease FOR SHARE")
                with pytest.raises(psycopg.errors.LockNotAvailable):
                    await lease.claim(keeper, "a", TTL)

    asyncio.run(work())


def test_a_daemon_and_a_person_never_repair_at_once(database: Database) -> None:
    async def work() -> None:
        async with daemon(database, "a") as (session, _), kit.session(database.dsn) as person:
            person.fence = fence.of_person(0)
            async with session.transaction():
                with pytest.raises(BusyError):
                    await write(person)
            await write(person)

    asyncio.run(work())
    assert written(database) == 1


def test_the_fence_costs_no_round_trip(database: Database) -> None:
    async def work() -> tuple[int, int]:
        async with daemon(database, "a") as (session, _):
            trips = []
            for one in (session.fence, None):
                session.fence, before = one, session.round_trips
                await write(session)
                trips.append(session.round_trips - before)
            return trips[0], trips[1]

    fenced, free = asyncio.run(work())
    assert fenced == free
