"""Through a pooler in transaction mode: no session state, so that nothing reaches other clients."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import kit
import psycopg
import pytest
from eventually import eventually
from psycopg.conninfo import make_conninfo

from queuewarden.adapters.db.session import GUARD_LOCK, Query
from queuewarden.engine.resolve import resolve
from queuewarden.engine.sweep import Sweeper
from queuewarden.errors import BusyError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import servers

pytestmark = [pytest.mark.slow, pytest.mark.versions]

SETTINGS = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "row_security")
NOBODY = 65534


@pytest.fixture
def pooled(
    databases: Callable[..., servers.Database],
) -> Iterator[tuple[servers.Database, str]]:
    """A database, and the DSN of a pooler in front of it that has a single connection for all clients."""
    program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        pytest.skip("no pgbouncer on this machine: apt-get install pgbouncer")
    database = databases(kit.SCHEMA)
    with database.connect() as direct:
        host, server_port, user = direct.info.host, direct.info.port, direct.info.user
    # It refuses to run as root, and a server's socket may be its owner's alone.
    account = Path(host).stat().st_uid if host.startswith("/") else NOBODY
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # Not below pytest's own folder, into which only root may look.
    folder = Path(tempfile.mkdtemp(prefix="qw-pooler-"))
    folder.chmod(0o755)
    ini = folder / "pgbouncer.ini"
    ini.write_text(
        f"[databases]\n* = host={host} port={server_port} user={user}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        "auth_type = any\npool_mode = transaction\ndefault_pool_size = 1\nmin_pool_size = 1\n"
    )
    command = [program, str(ini)]
    if os.geteuid() == 0:
        command = ["setpriv", f"--reuid={account}", f"--regid={account}", "--clear-groups", *command]
    log = folder / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file)
    dsn = make_conninfo("", host="127.0.0.1", port=port, user=user, dbname=database.name)

    def answers() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            psycopg.connect(dsn, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    try:
        eventually(answers, what="the pooler answers")
        yield database, dsn
    finally:
        process.terminate()
        process.wait(10)
        shutil.rmtree(folder)


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
    assert not database.rows("SELECT FROM pg_locks WHERE locktype = 'advisory'")


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
                    Query(b"SELECT classid::int8, objid::int8 FROM pg_locks WHERE locktype = 'advisory'", {})
                )
                assert held == [GUARD_LOCK]

    asyncio.run(work())
