"""Upkeep's connection: poolers, frozen servers, and what a process that was killed leaves behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import keeping
import kit
import poolers
import psycopg
import pytest
import servers
from eventually import eventually
from psycopg import sql
from psycopg.conninfo import make_conninfo

from queuewarden.adapters.db.upkeep import POOLED, UpkeepConnection
from queuewarden.engine.upkeep.tasks import analyze, full_check, prune, reindex, vacuum
from queuewarden.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

pytestmark = pytest.mark.slow

SLEEP = sql.SQL("SELECT pg_sleep(60)").format()


@pytest.mark.parametrize("size", [1, 3])
def test_through_a_pooler_what_takes_no_block_is_refused(
    databases: Callable[..., servers.Database], size: int
) -> None:
    if poolers.program() is None:
        pytest.skip(poolers.ABSENT)
    database = databases(kit.SCHEMA)
    database.execute("INSERT INTO jobs (status, finished_at) VALUES ('done', '2020-01-01')")
    with database.connect() as direct:
        host, port, user = direct.info.host, direct.info.port, direct.info.user
    with poolers.pooler(host, port, user, size=size) as address:
        dsn = make_conninfo(address, dbname=database.name)
        for task in (vacuum, reindex):
            did = keeping.run(task, dsn)
            assert [(one.outcome, one.why) for one in did.values()] == [("failed", POOLED)]
        assert keeping.run(analyze, dsn)["public.jobs"].action == "analysed"
        assert keeping.run(full_check, dsn)["mail"].action == "sound"
        assert keeping.run(prune, dsn, consent=True)["mail: public.jobs"].amount == 1
        with psycopg.connect(dsn, autocommit=True) as client:
            left = {
                name: client.execute(f"SHOW {name}").fetchone() for name in ("lock_timeout", "search_path")
            }
    assert left == {"lock_timeout": ("0",), "search_path": ('"$user", public',)}


def test_a_direct_connection_is_not_taken_for_a_pooler(database: servers.Database) -> None:
    async def work() -> None:
        async with keeping.opened(database.dsn) as connection:
            assert not connection.pooled
            assert await connection.predecessor() is None

    asyncio.run(work())


def sleeping(database: servers.Database) -> bool:
    return bool(
        database.rows(
            "SELECT FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'"
            " AND datname = current_database()"
        )
    )


async def cancelled(
    task: asyncio.Task[None], connection: UpkeepConnection, database: servers.Database
) -> float:
    """Seconds until a statement is over on both sides, behind which the connection can be used."""
    task.cancel()
    begun = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        await task
    took = time.monotonic() - begun
    assert connection.usable
    assert not await asyncio.to_thread(sleeping, database)
    return took


def test_h7_a_statement_that_is_cancelled_ends_on_the_server_too(
    database: servers.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("queuewarden.adapters.db.upkeep.GRACE", 15.0)

    async def work() -> float:
        async with keeping.opened(database.dsn) as connection:
            task = asyncio.create_task(connection.run(SLEEP))
            await asyncio.to_thread(eventually, lambda: sleeping(database), what="it sleeps")
            return await cancelled(task, connection, database)

    assert asyncio.run(work()) < 10


def test_h7_a_statement_that_is_cancelled_on_its_way_to_the_server_ends_there_too(
    database: servers.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("queuewarden.adapters.db.upkeep.GRACE", 15.0)
    begins = asyncio.Event()

    async def late(self: UpkeepConnection, statement: sql.Composed, _: timedelta) -> None:
        begins.set()
        await asyncio.sleep(0.5)
        await self._main.execute(statement)

    monkeypatch.setattr(UpkeepConnection, "_alone", late)

    async def work() -> float:
        async with keeping.opened(database.dsn) as connection:
            task = asyncio.create_task(connection.run(SLEEP))
            await begins.wait()
            return await cancelled(task, connection, database)

    assert asyncio.run(work()) < 10


def test_h7_a_frozen_server_does_not_hold_upkeep(
    own_server: servers.OwnServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = servers.Database(own_server.dsn(), "postgres")

    async def work() -> None:
        async with keeping.opened(database.dsn) as connection:
            task = asyncio.create_task(connection.run(SLEEP))
            await asyncio.to_thread(eventually, lambda: sleeping(database), what="it sleeps")
            monkeypatch.setattr("queuewarden.adapters.db.upkeep.ANSWER", 1.0)
            monkeypatch.setattr("queuewarden.adapters.db.upkeep.GRACE", 0.5)
            own_server.freeze()
            begun = time.monotonic()
            with pytest.raises((UnavailableError, psycopg.OperationalError)):
                await task
            assert time.monotonic() - begun < 10
            assert not connection.usable

    try:
        asyncio.run(work())
    finally:
        own_server.thaw()


PROGRAM = """
import sys; sys.path.insert(0, {tests!r})
from importlib import import_module
import keeping
keeping.run(import_module("queuewarden.engine.upkeep.tasks." + sys.argv[1]), sys.argv[2])
"""


def start(task: str, database: servers.Database) -> subprocess.Popen[bytes]:
    program = PROGRAM.format(tests=os.path.dirname(keeping.__file__))  # noqa: PTH120
    return subprocess.Popen([sys.executable, "-c", program, task, database.dsn])


def test_a_process_killed_amid_a_vacuum_is_finished_by_the_next(
    databases: Callable[..., servers.Database],
) -> None:
    database = databases(kit.SCHEMA)
    database.execute("INSERT INTO jobs (status) SELECT 'waiting' FROM generate_series(1, 200000)")
    database.execute("DELETE FROM jobs")
    database.execute(f'ALTER DATABASE "{database.name}" SET vacuum_cost_limit = 1')
    process = start("vacuum", database)
    at_work = "SELECT pid FROM pg_stat_progress_vacuum"
    eventually(lambda: bool(database.rows(at_work)), what="it vacuums")
    process.send_signal(signal.SIGKILL)
    process.wait()
    did = keeping.run(vacuum, database.dsn)
    assert did["all tables"].why.startswith("server process "), "the server has not noticed"
    database.rows(f"SELECT pg_terminate_backend(pid) FROM ({at_work}) AS v")
    eventually(lambda: not database.rows(at_work), what="it ended")
    database.execute(f'ALTER DATABASE "{database.name}" RESET vacuum_cost_limit')
    assert keeping.run(vacuum, database.dsn)["public.jobs"].action == "vacuumed"
    assert database.value("SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'jobs'") == 0


@pytest.mark.versions
def test_p9_a_process_killed_amid_a_rebuilding_leaves_nothing_as_the_server_finishes_it(
    databases: Callable[..., servers.Database],
) -> None:
    database = databases(kit.SCHEMA)
    keeping.bloated(database, 60_000)
    with database.connect(autocommit=False) as old:
        old.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        old.execute("SELECT 1")
        process = start("reindex", database)
        at_work = "SELECT FROM pg_stat_progress_create_index WHERE phase LIKE 'waiting%'"
        eventually(lambda: bool(database.rows(at_work)), what="it rebuilds")
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert len(keeping.indexes(database)) == 3
    eventually(lambda: len(keeping.indexes(database)) == 2, what="the server finishes it")
    eventually(
        lambda: not database.rows("SELECT FROM pg_stat_activity WHERE application_name LIKE '%/upkeep'"),
        what="the server ends the session",
    )
    did = keeping.run(reindex, database.dsn)
    assert [one.action for one in did.values()] == ["rebuilt"]
    assert keeping.indexes(database) == {"jobs_pkey": True, "jobs_enqueued": True}
