"""Deadlines: a frozen server costs one, whatever psycopg would wait for."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import kit
import psycopg
import pytest

from queuewarden.adapters.db import deadline
from queuewarden.adapters.db.session import Query
from queuewarden.errors import UnavailableError, UnknownOutcomeError

if TYPE_CHECKING:
    import servers

    from queuewarden.adapters.db.session import Session

QUICK = replace(kit.LIMITS, statement_timeout=timedelta(milliseconds=200))
DEADLINE = 2.2
ONE = 2 * DEADLINE
"""Seconds that one deadline takes, and two would not."""
SELECT = Query(b"SELECT 1", {})

pytestmark = pytest.mark.slow


async def reading(session: Session) -> None:
    await session.read([SELECT, SELECT])


async def writing(session: Session) -> None:
    async with session.transaction() as transaction:
        await transaction.execute(SELECT)


@pytest.mark.parametrize("use", [reading, writing])
def test_a_frozen_server_costs_one_deadline(own_server: servers.OwnServer, use: object) -> None:
    async def work() -> None:
        async with kit.session(own_server.dsn(), QUICK) as session:
            own_server.freeze()
            begun = time.monotonic()
            with pytest.raises(UnavailableError, match="no answer within"):
                await use(session)  # type: ignore[operator]  # one of the two above
            took = time.monotonic() - begun
            assert DEADLINE <= took < ONE
            assert not session.usable
            await session.close()
            assert time.monotonic() - begun < ONE

    try:
        asyncio.run(work())
    finally:
        own_server.thaw()


def test_a_server_that_freezes_inside_a_transaction(own_server: servers.OwnServer) -> None:
    """One deadline for the statement, none for the ROLLBACK that can no longer be."""

    async def work() -> None:
        async with kit.session(own_server.dsn()) as session:
            session._deadline = DEADLINE  # the server's own timeout must not strike before it freezes
            begun = time.monotonic()
            with pytest.raises(UnavailableError):  # noqa: PT012 -- the block is the subject
                async with session.transaction() as transaction:
                    own_server.freeze()
                    begun = time.monotonic()
                    await transaction.execute(SELECT)
            assert time.monotonic() - begun < ONE

    try:
        asyncio.run(work())
    finally:
        own_server.thaw()


def test_a_server_that_freezes_before_the_commit_leaves_the_outcome_open(
    own_server: servers.OwnServer,
) -> None:
    async def work() -> None:
        async with kit.session(own_server.dsn()) as session:
            session._deadline = DEADLINE  # the server's own timeout must not strike before it freezes
            execute = session._connection.execute

            async def freezing(query: bytes, params: object = None, **rest: bool) -> object:
                if query.endswith(b"COMMIT"):
                    own_server.freeze()
                return await execute(query, params, **rest)  # type: ignore[arg-type]  # passed on

            session._connection.execute = freezing  # type: ignore[method-assign, assignment]
            begun = time.monotonic()
            with pytest.raises(UnknownOutcomeError):
                async with session.transaction() as transaction:
                    await transaction.execute(SELECT)
            assert time.monotonic() - begun < ONE

    try:
        asyncio.run(work())
    finally:
        own_server.thaw()


def test_shutting_then_cancelling_does_not_wait_for_a_frozen_server(own_server: servers.OwnServer) -> None:
    async def work() -> None:
        async with kit.session(own_server.dsn()) as session:
            own_server.freeze()
            task = asyncio.create_task(session.read([SELECT]))
            await asyncio.sleep(0.1)
            begun = time.monotonic()
            session.shut()
            with pytest.raises(psycopg.OperationalError):
                await task
            assert time.monotonic() - begun < 4, "psycopg would wait five seconds for a cancel"

    try:
        asyncio.run(work())
    finally:
        own_server.thaw()


def test_the_deadlines_of_many_sessions_strike_together(own_server: servers.OwnServer) -> None:
    async def work() -> None:
        async with contextlib.AsyncExitStack() as stack:
            sessions = [
                await stack.enter_async_context(kit.session(own_server.dsn(), QUICK)) for _ in range(30)
            ]
            own_server.freeze()
            begun = time.monotonic()
            results = await asyncio.gather(*(reading(one) for one in sessions), return_exceptions=True)
            assert time.monotonic() - begun < ONE
            assert [type(result) for result in results] == [UnavailableError] * len(sessions)

    try:
        asyncio.run(work())
    finally:
        own_server.thaw()


def test_an_error_in_time_is_passed_on(database: servers.Database) -> None:
    async def work() -> None:
        async with kit.session(database.dsn) as session:
            with pytest.raises(psycopg.errors.DivisionByZero):
                async with deadline.deadline(session._connection, 5):
                    await session._connection.execute("SELECT 1/0")
            async with deadline.deadline(session._connection, 0.05):
                pass
            await asyncio.sleep(0.1)
            assert session.usable, "a deadline that was met does not strike later"

    asyncio.run(work())


def test_whoever_ignores_the_shut_connection_is_cancelled(
    database: servers.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second line: something that waits for no connection at all."""
    monkeypatch.setattr(deadline, "GRACE", 0.05)

    async def work() -> None:
        async with kit.session(database.dsn) as session:
            with pytest.raises(UnavailableError, match=r"no answer within 0\.05 s"):
                async with deadline.deadline(session._connection, 0.05):
                    await asyncio.sleep(30)

    asyncio.run(work())


def test_shutting_a_closed_connection_does_nothing(database: servers.Database) -> None:
    async def work() -> None:
        async with kit.session(database.dsn) as session:
            session.shut()
            session.shut()
            await session.close()
            session.shut()
            assert not session.usable

    asyncio.run(work())
