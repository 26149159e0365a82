"""A session: what is in force inside a transaction, what is left behind, and how each loss shows."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import kit
import psycopg
import pytest
from eventually import eventually
from proxy import Proxy

from queuewarden.adapters.db.begin import GUARD_LOCK
from queuewarden.adapters.db.session import Query
from queuewarden.errors import BusyError, UnavailableError, UnknownOutcomeError

if TYPE_CHECKING:
    from collections.abc import Coroutine

    import servers

    from queuewarden.adapters.db.session import Session

pytestmark = pytest.mark.versions

SETTINGS = {
    "transaction_isolation": "read committed",
    "statement_timeout": "30s",
    "lock_timeout": "100ms",
    "idle_in_transaction_session_timeout": "2s",
    "row_security": "off",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
}
SHORT = replace(kit.LIMITS, statement_timeout=timedelta(milliseconds=300))
LOCKS = (
    "FROM pg_locks WHERE locktype = 'advisory'"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
"""Advisory locks in this database: the server has others."""


def query(text: str, **params: object) -> Query:
    return Query(text.encode(), params)


def shows() -> list[Query]:
    return [query(f"SHOW {name}") for name in SETTINGS]


def run(work: Coroutine[object, object, None]) -> None:
    asyncio.run(work)


async def pid_of(session: Session) -> int:
    return int((await session.rows(query("SELECT pg_backend_pid()")))[0][0])


def test_many_queries_take_one_round_trip(database: servers.Database) -> None:
    async def work() -> None:
        async with kit.session(database.dsn) as session:
            results = await session.read([query(f"SELECT {number}") for number in range(5)])
            assert results == [[(number,)] for number in range(5)]
            assert session.round_trips == 1

    run(work())


def test_an_error_of_one_query_leaves_the_others_their_answer(database: servers.Database) -> None:
    async def work() -> None:
        async with kit.session(database.dsn) as session:
            before, error, after = await session.read(
                [query("SELECT 1"), query("SELECT * FROM nowhere"), query("SELECT 3")]
            )
            assert before == [(1,)]
            assert isinstance(error, psycopg.errors.UndefinedTable)
            assert after == [(3,)]
            assert session.usable

    run(work())


def test_a_read_cannot_write(database: servers.Database) -> None:
    database.execute("CREATE TABLE t (x int)")

    async def work() -> None:
        async with kit.session(database.dsn) as session:
            for text in ("INSERT INTO public.t VALUES (1)", "SELECT * FROM public.t FOR UPDATE"):
                (error,) = await session.read([query(text)])
                assert isinstance(error, psycopg.errors.ReadOnlySqlTransaction), text

    run(work())


def test_both_kinds_of_transaction_set_their_limits_by_their_own_word(database: servers.Database) -> None:
    database.execute(
        f"""ALTER DATABASE {database.name} SET default_transaction_isolation = 'serializable';
            ALTER DATABASE {database.name} SET default_transaction_read_only = on;
            ALTER DATABASE {database.name} SET DateStyle = 'German';
            ALTER DATABASE {database.name} SET extra_float_digits = -3;
            ALTER DATABASE {database.name} SET bytea_output = 'escape'"""
    )
    expected = SETTINGS | {"DateStyle": "ISO, DMY"}

    async def work() -> None:
        async with kit.session(database.dsn) as session:
            results = await session.read(shows())
            assert dict(zip(SETTINGS, [rows[0][0] for rows in results], strict=True)) == expected
            async with session.transaction() as transaction:
                inside = [(await transaction.execute(one))[0][0] for one in shows()]
                assert dict(zip(SETTINGS, inside, strict=True)) == expected
                await transaction.execute(query("CREATE TABLE public.written (x int)"))

    run(work())
    assert database.value("SELECT count(*) FROM public.written") == 0


@pytest.mark.parametrize(
    ("deadlock_timeout", "lock_timeout"), [("1s", "100ms"), ("60ms", "30ms"), ("1ms", "1ms")]
)
def test_the_lock_timeout_never_exceeds_half_of_the_deadlock_timeout(
    database: servers.Database, deadlock_timeout: str, lock_timeout: str
) -> None:
    database.execute(f"ALTER DATABASE {database.name} SET deadlock_timeout = '{deadlock_timeout}'")

    async def work() -> None:
        async with kit.session(database.dsn) as session:
            assert await session.rows(query("SHOW lock_timeout")) == [(lock_timeout,)]

    run(work())


def test_nothing_is_left_behind(database: servers.Database) -> None:
    """After reads, writes, errors and refusals the connection is as a new one."""
    with database.connect() as fresh:
        expected = [fresh.execute(f"SHOW {name}").fetchone() for name in SETTINGS]

    async def work() -> None:
        async with kit.session(database.dsn) as session:
            await session.read([query("SELECT 1"), query("SELECT 1/0")])
            async with session.transaction() as transaction:
                await transaction.execute(query("SELECT 1"))
            with pytest.raises(psycopg.errors.DivisionByZero):
                async with session.transaction() as transaction:
                    await transaction.execute(query("SELECT 1/0"))
            connection = session._connection
            left = [await (await connection.execute(f"SHOW {name}")).fetchone() for name in SETTINGS]
            assert left == expected
            for view in ("pg_prepared_statements", "pg_cursors"):
                cursor = await connection.execute(f"SELECT count(*) FROM {view}")
                assert await cursor.fetchone() == (0,), view
            held = await connection.execute(
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
            )
            assert await held.fetchone() == (0,)

    run(work())


def test_p8_the_guards_lock_ends_with_the_transaction(database: servers.Database) -> None:
    async def work() -> None:
        async with kit.session(database.dsn) as first, kit.session(database.dsn) as second:
            async with first.transaction():
                held = await second.rows(query(f"SELECT classid::int8, objid::int8, mode {LOCKS}"))
                assert held == [(*GUARD_LOCK, "ExclusiveLock")]
                with pytest.raises(BusyError, match="another guard"):
                    async with second.transaction():
                        pytest.fail("two guards repair at once")
                assert second.usable
            async with second.transaction():
                pass
            assert not await first.rows(query(f"SELECT {LOCKS}"))

    run(work())


def test_the_timeouts_bite(database: servers.Database) -> None:
    database.execute("CREATE TABLE t (x int); INSERT INTO t VALUES (1)")

    async def work() -> None:
        async with kit.session(database.dsn, SHORT) as session:
            with pytest.raises(psycopg.errors.QueryCanceled):
                await session.rows(query("SELECT pg_sleep(5)"))
            assert session.usable
        async with kit.session(database.dsn) as session:
            with database.connect(autocommit=False) as other:
                other.execute("SELECT * FROM t FOR UPDATE")
                with pytest.raises(psycopg.errors.LockNotAvailable):
                    async with session.transaction() as transaction:
                        await transaction.execute(query("UPDATE public.t SET x = 2"))
            assert session.usable

    run(work())


@pytest.mark.parametrize("role_path", [None, "public"])
@pytest.mark.parametrize("written", [True, False])
def test_a_guard_that_is_suspended_does_not_hold_rows(
    database: servers.Database, role_path: str | None, *, written: bool
) -> None:
    """The server ends our transaction after two idle seconds, in whatever gap, and our next word fails."""
    database.execute("CREATE TABLE t (x int); INSERT INTO t VALUES (1)")

    async def work() -> None:
        async with kit.session(database.dsn) as session:
            with pytest.raises(psycopg.errors.IdleInTransactionSessionTimeout):  # noqa: PT012 -- the block is the subject
                async with session.transaction(role_path=role_path) as transaction:
                    if written:
                        await transaction.execute(query("UPDATE public.t SET x = 2"))
                    eventually(lambda: _free(database), what="row and guards' lock are free")
                    await transaction.execute(query("SELECT 1"))
            assert not session.usable

    run(work())
    assert database.value("SELECT x FROM t") == 1


def _free(database: servers.Database) -> bool:
    locks = f"SELECT {LOCKS} AND classid = %s"
    return bool(
        database.rows("SELECT x FROM t FOR UPDATE SKIP LOCKED") and not database.rows(locks, GUARD_LOCK[:1])
    )


def test_a_deferred_violation_shows_before_the_commit(database: servers.Database) -> None:
    database.execute("CREATE TABLE t (x int UNIQUE DEFERRABLE INITIALLY DEFERRED)")

    async def work() -> None:
        async with kit.session(database.dsn) as session:
            with pytest.raises(psycopg.errors.UniqueViolation):
                async with session.transaction() as transaction:
                    await transaction.execute(query("INSERT INTO public.t VALUES (1), (1)"))
            assert session.usable

    run(work())


@pytest.mark.parametrize("write", [False, True])
def test_a_cancel_while_active_is_never_swallowed(database: servers.Database, *, write: bool) -> None:
    """psycopg raises what its own cancel request led to, in a pipeline even instead of the cancellation."""

    async def work() -> None:
        async with kit.session(database.dsn) as session:
            pid = await pid_of(session)
            sleeping = _sleep_writing(session) if write else session.rows(query("SELECT pg_sleep(20)"))
            task = asyncio.create_task(sleeping)
            await _sleeping(database, pid)
            begun = time.monotonic()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert time.monotonic() - begun < 10
            assert session.usable is write, "a transaction is rolled back; a read is left to whoever closes"

    run(work())
    eventually(lambda: not _locked(database), what="no lock is left")


def _locked(database: servers.Database) -> bool:
    return bool(database.rows(f"SELECT {LOCKS}"))


async def _sleep_writing(session: Session) -> None:
    async with session.transaction() as transaction:
        await transaction.execute(query("SELECT pg_sleep(20)"))


async def _sleeping(database: servers.Database, pid: int, but: object = None) -> object:
    """Wait until it sleeps, in another statement than that one; when the statement began."""
    began = "SELECT query_start FROM pg_stat_activity WHERE pid = %s AND wait_event = 'PgSleep'"
    while (found := database.rows(began, [pid])) in ([], [(but,)]):  # noqa: ASYNC110 -- a server's doing
        await asyncio.sleep(0.01)
    return found[0][0]


@pytest.mark.parametrize("how", ["pg_cancel_backend", "pg_terminate_backend"])
def test_a_query_ended_by_an_administrator(database: servers.Database, how: str) -> None:
    async def work() -> None:
        async with kit.session(database.dsn) as session:
            pid = await pid_of(session)
            task = asyncio.create_task(session.read([query("SELECT 1"), query("SELECT pg_sleep(20)")]))
            first_sleep = await _sleeping(database, pid)
            database.execute(f"SELECT {how}(%s)", [pid])
            if how == "pg_terminate_backend":
                with pytest.raises(psycopg.OperationalError):
                    await task
                assert not session.usable
                return
            # The pipeline was cancelled; each query then runs by itself.
            await _sleeping(database, pid, but=first_sleep)
            database.execute("SELECT pg_cancel_backend(%s)", [pid])
            first, second = await task
            assert first == [(1,)]
            assert isinstance(second, psycopg.errors.QueryCanceled)
            assert session.usable

    run(work())


@pytest.mark.slow
def test_a_lost_commit_is_of_unknown_outcome(own_server: servers.OwnServer) -> None:
    """The COMMIT waits for a standby that is not there; it is durable, and its answer never comes."""
    with own_server.database("CREATE TABLE t (x int)") as database:
        database.execute(f"ALTER DATABASE {database.name} SET synchronous_commit = on")
        database.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        own_server.reload()
        database.execute("CHECKPOINT")  # commits wait from when the checkpointer, too, knows of it

        async def work() -> None:
            async with kit.session(database.dsn) as session:
                with pytest.raises(UnknownOutcomeError, match="COMMIT"):  # noqa: PT012 -- as above
                    async with session.transaction() as transaction:
                        await transaction.execute(query("INSERT INTO public.t VALUES (1)"))
                        pid = (await transaction.execute(query("SELECT pg_backend_pid()")))[0][0]
                        ender = asyncio.create_task(_end_when_waiting(database, pid))
                await ender
                assert not session.usable

        run(work())
        database.execute("ALTER SYSTEM RESET synchronous_standby_names")
        database.execute("SELECT pg_reload_conf()")
        assert database.value("SELECT x FROM t") == 1


async def _end_when_waiting(database: servers.Database, pid: int) -> None:
    waits = "SELECT FROM pg_stat_activity WHERE pid = %s AND wait_event = 'SyncRep'"
    while not await asyncio.to_thread(database.rows, waits, [pid]):  # noqa: ASYNC110 -- as above
        await asyncio.sleep(0.01)
    await asyncio.to_thread(database.execute, "SELECT pg_terminate_backend(%s)", [pid])


@pytest.mark.parametrize(
    ("marker", "error"), [(b"COMMIT\0", UnknownOutcomeError), (b"INSERT", psycopg.OperationalError)]
)
def test_only_a_connection_cut_in_the_commit_leaves_the_outcome_unknown(
    database: servers.Database, marker: bytes, error: type[Exception]
) -> None:
    database.execute("CREATE TABLE t (x int)")

    async def work() -> None:
        async with Proxy(database, marker) as proxy, kit.session(proxy.dsn) as session:
            with pytest.raises(error):
                async with session.transaction() as transaction:
                    await transaction.execute(query("INSERT INTO public.t VALUES (1)"))

    run(work())
    assert database.value("SELECT count(*) FROM t") == 0


def test_an_error_of_ours_rolls_back(database: servers.Database) -> None:
    database.execute("CREATE TABLE t (x int)")

    async def work() -> None:
        async with kit.session(database.dsn) as session:
            with pytest.raises(UnavailableError, match="ours"):  # noqa: PT012 -- as above
                async with session.transaction() as transaction:
                    await transaction.execute(query("INSERT INTO public.t VALUES (1)"))
                    raise UnavailableError("ours")
            assert session.usable

    run(work())
    assert database.value("SELECT count(*) FROM t") == 0
