"""The end of a repairing transaction: one round trip, and the truth about what became of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import kit
import psycopg
import pytest

from queuewarden.adapters.db.session import Query
from queuewarden.errors import UnknownOutcomeError

if TYPE_CHECKING:
    from servers import Database

DEFERRED = """
CREATE TABLE parents (id int PRIMARY KEY);
CREATE TABLE children (id int PRIMARY KEY, parent int REFERENCES parents DEFERRABLE INITIALLY DEFERRED);
"""
DYING = """
CREATE TABLE children (id int PRIMARY KEY);
CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER die AFTER INSERT ON children DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION die();
"""
INSERT = Query(b"INSERT INTO public.children VALUES (1)", {})
ORPHAN = Query(b"INSERT INTO public.children VALUES (1, 7)", {})
COUNT = Query(b"SELECT count(*) FROM public.children", {})


@pytest.mark.versions
def test_a_deferred_violation_is_an_error_of_its_own_and_nothing_is_committed(database: Database) -> None:
    database.execute(DEFERRED)

    async def scenario() -> None:
        async with kit.session(database.dsn) as session:
            with pytest.raises(psycopg.errors.ForeignKeyViolation):
                async with session.transaction() as transaction:
                    await transaction.execute(ORPHAN)
            assert session.usable
            assert await session.rows(COUNT) == [(0,)]

    asyncio.run(scenario())


@pytest.mark.versions
def test_a_connection_lost_at_the_commit_leaves_the_outcome_unknown(database: Database) -> None:
    database.execute(DYING)

    async def scenario() -> None:
        async with kit.session(database.dsn) as session:
            with pytest.raises(UnknownOutcomeError):
                async with session.transaction() as transaction:
                    await transaction.execute(INSERT)
            assert not session.usable

    asyncio.run(scenario())
    assert database.value("SELECT count(*) FROM children") == 0


def test_a_batch_takes_three_round_trips(database: Database) -> None:
    database.execute("CREATE TABLE children (id int PRIMARY KEY)")

    async def scenario() -> None:
        async with kit.session(database.dsn) as session:
            async with session.transaction() as transaction:
                await transaction.execute(INSERT)
            assert session.round_trips == 3
            assert await session.rows(COUNT) == [(1,)]

    asyncio.run(scenario())
