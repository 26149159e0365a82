"""Connecting: bounded, anonymous in its errors, recognisable on the server."""

from __future__ import annotations

import asyncio
import os
import socket
import time
import traceback
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from proxy import Proxy
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from queuewarden.adapters.db import connect as module
from queuewarden.adapters.db.connect import connect, longest
from queuewarden.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import servers

SECRET = "hunter2"


async def _connect(dsn: str, seconds: float = 10, statement: float = 30) -> psycopg.AsyncConnection:
    return await connect(
        dsn,
        application_name="queuewarden/prod",
        connect_timeout=timedelta(seconds=seconds),
        statement_timeout=timedelta(seconds=statement),
    )


def failure(dsn: str, seconds: float = 10) -> str:
    """The reason why it fails; nothing of what a log could show of it holds the secret."""
    with pytest.raises(UnavailableError) as raised:
        asyncio.run(_connect(dsn, seconds))
    shown = "".join(traceback.format_exception(raised.value)) + repr(raised.value)
    assert SECRET not in shown
    return str(raised.value)


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that accepts connections, and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as listener:
        yield int(listener.getsockname()[1])


def test_a_server_that_never_answers_costs_the_timeout(silent: int) -> None:
    begun = time.monotonic()
    assert failure(f"host=127.0.0.1 port={silent} user=x password={SECRET}", 2) == "timed out"
    assert 1.9 < time.monotonic() - begun < 10


def test_each_host_has_its_own_time(silent: int) -> None:
    hosts = f"host=127.0.0.1,127.0.0.1 port={silent},{silent} user=x"
    begun = time.monotonic()
    assert failure(hosts, 2) == "timed out"
    assert 3.8 < time.monotonic() - begun < 20
    assert longest(hosts, timedelta(seconds=2)) == 2 * longest("host=a", timedelta(seconds=2))


def test_a_name_server_that_never_answers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(*_: object, **__: object) -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", hang)
    begun = time.monotonic()
    assert failure("host=nowhere.invalid user=x", 1) == "timed out"
    assert time.monotonic() - begun < 15


@pytest.mark.parametrize(
    ("dsn", "reason"),
    [
        ("host=127.0.0.1 port=1 user=x password=hunter2", "connection refused"),
        ("host=/nowhere user=x password=hunter2", "no server on that socket"),
        ("host=nowhere.invalid user=x password=hunter2", "host name not resolved"),
        (f"host=a..b{'c' * 80}.invalid user=x password=hunter2", "host name not resolved"),
        ("postgresql://u:hunter2@/x?nonsense=hunter2", "connection string not understood"),
        ("postgresql://u:hunter2@[::1/x", "connection string not understood"),
        ("hunter2", "connection string not understood"),
        ("password=\udcff", "connection string not understood"),
        ("host=127.0.0.1 connect_timeout=hunter2", "connection string not understood"),
    ],
)
def test_the_reason_is_in_words_of_ours(dsn: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve = socket.getaddrinfo

    def unknown(host: str, *rest: Any, **more: Any) -> Any:
        """No name server need be there to say so."""
        if host == "nowhere.invalid":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return resolve(host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert failure(dsn) == reason


def test_a_wrong_password_and_a_missing_database(own_server: servers.OwnServer) -> None:
    with psycopg.connect(own_server.dsn(), autocommit=True) as admin:
        admin.execute("CREATE ROLE guarded LOGIN PASSWORD 'right'")
        found = admin.execute("SHOW hba_file").fetchone()
        assert found is not None
        with open(found[0], "w", encoding="ascii") as file:  # noqa: PTH123 -- the server's own path
            file.write("local all guarded scram-sha-256\nhost all guarded all scram-sha-256\n")
            file.write("local all all trust\nhost all all all trust\n")
    own_server.reload()
    dsn = own_server.dsn()
    assert failure(make_conninfo(dsn, user="guarded", password=SECRET)) == "password refused"
    assert failure(make_conninfo(dsn, user="guarded")) == "password missing"
    assert failure(make_conninfo(dsn, dbname="nowhere")) == "no such database or role"
    assert failure(make_conninfo(dsn, user="nobody")) == "no such database or role"


@pytest.mark.versions
def test_it_is_recognised_on_the_server_and_bounds_dead_networks(database: servers.Database) -> None:
    async def work() -> None:
        connection = await _connect(make_conninfo(database.dsn, application_name="mine"), 5, statement=7)
        names = database.rows(
            "SELECT application_name FROM pg_stat_activity WHERE datname = %s", [database.name]
        )
        assert ("queuewarden/prod",) in names
        given = conninfo_to_dict(connection.info.dsn)
        assert given["keepalives"] == "1"
        assert given["keepalives_idle"] == "10"
        assert given["tcp_user_timeout"] == "9000"
        assert given["connect_timeout"] == "5"
        assert connection.autocommit
        assert connection.prepare_threshold is None
        await connection.close()

    asyncio.run(work())


def test_the_socket_has_the_bounds(database: servers.Database) -> None:
    async def work() -> None:
        async with Proxy(database) as proxy:
            connection = await _connect(proxy.dsn, statement=7)
            with socket.socket(fileno=os.dup(connection.fileno())) as raw:
                assert raw.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
                assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 10
                assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 9000
            await connection.close()

    asyncio.run(work())


def test_a_dsns_own_settings_win(database: servers.Database) -> None:
    async def work() -> None:
        connection = await _connect(make_conninfo(database.dsn, keepalives_idle=77, connect_timeout=9))
        given = conninfo_to_dict(connection.info.dsn)
        assert (given["keepalives_idle"], given["connect_timeout"]) == ("77", "9")
        await connection.close()

    asyncio.run(work())


def test_the_next_host_is_tried(database: servers.Database) -> None:
    with database.connect() as direct:
        host, port = direct.info.host, direct.info.port
    dsn = make_conninfo(database.dsn, host=f"127.0.0.1,{host}", port=f"1,{port}")

    async def work() -> None:
        connection = await _connect(dsn)
        assert connection.info.port == port
        await connection.close()

    asyncio.run(work())


def test_even_a_dsn_that_nobody_understands_has_a_bound() -> None:
    assert longest("hunter2", timedelta(seconds=5)) == module._PER_HOST_GRACE
