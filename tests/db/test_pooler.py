"""Through a pooler in transaction mode: no session state, so that nothing reaches other clients."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import kit
import poolers
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from queuewarden.adapters.db.begin import GUARD_LOCK
from queuewarden.adapters.db.session import Query
from queuewarden.engine.resolve import resolve
from queuewarden.engine.sweep import Sweeper
from queuewarden.errors import BusyError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import servers

pytestmark = [pytest.mark.slow, pytest.mark.versions]

SETTINGS = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "row_security")


@pytest.fixture
def pooled(
    databases: Callable[..., servers.Database],
) -> Iterator[tuple[servers.Database, str]]:
    """A database, and the DSN of a pooler in front of it that has a single connection for all clients."""
    if poolers.program() is None:
        pytest.skip(poolers.ABSENT)
    database = databases(kit.SCHEMA)
    with database.connect() as direct:
        host, port, user = direct.info.host, direct.info.port, direct.info.user
    with poolers.pooler(host, port, user) as dsn:
        yield database, make_conninfo(dsn, dbname=database.name)


def other_client(dsn: str) -> list[str]:
    """What a client of the application that shares our server connection finds set."""
    with psycopg.connect(dsn, autocommit=True, prepare_threshold=None) as client:
        rows = [client.execute(f"SHOW {name}").fetchone() for name in SETTINGS]
        return [row[0] for row in rows if row is not None]


def test_p8_a_sweep_through_a_pooler_mends_and_leaves_nothing_behind(
    pooled: tuple[servers.Database, str],
) -> None:
    database, dsn = pooled
    before = other_client(dsn)
    database.execute("INSERT INTO workers (id, heartbeat) VALUES ('w', now())")
    database.execute("INSERT INTO jobs (status, started_at) VALUES ('running', now() - interval '1 h')")

    async def work() -> None:
        async with kit.session(dsn) as session:
            resolution = await resolve(session, "test", kit.MAPPING, kit.LIMITS)
            assert resolution.target is not None
            sweeper = Sweeper("test")
            for _ in range(7):
                await sweeper.sweep(session, [resolution.target], policy=kit.BY_HAND)
            with pytest.raises(psycopg.errors.DivisionByZero):
                await session.rows(Query(b"SELECT 1/0", {}))
            assert await asyncio.to_thread(other_client, dsn) == before

    asyncio.run(work())
    assert database.value("SELECT status FROM jobs") == "waiting"
    assert other_client(dsn) == before
    assert not database.rows(
        "SELECT FROM pg_locks WHERE locktype = 'advisory'"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )


def test_p8_two_guards_that_share_a_server_connection_never_repair_at_once(
    pooled: tuple[servers.Database, str],
) -> None:
    """A session lock would be granted to both; ours belongs to the transaction."""
    database, dsn = pooled

    async def work() -> None:
        async with kit.session(database.dsn) as direct, kit.session(dsn) as through:
            async with through.transaction():
                with pytest.raises(BusyError):
                    async with direct.transaction():
                        pytest.fail("two guards repair at once")
            async with direct.transaction() as transaction:
                held = await transaction.execute(
                    Query(
                        b"SELECT classid::int8, objid::int8 FROM pg_locks WHERE locktype = 'advisory'"
                        b" AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
                        {},
                    )
                )
                assert held == [GUARD_LOCK]

    asyncio.run(work())
