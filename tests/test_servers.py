"""The servers of the tests: what the other tests rely on."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Literal

import psycopg
import pytest
import servers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SCHEMA = "CREATE TABLE thing (id int PRIMARY KEY); INSERT INTO thing VALUES (1)"


@pytest.mark.versions
def test_the_server_is_the_one_announced(server: servers.TestServer, database: servers.Database) -> None:
    assert database.value("SHOW server_version").split()[0] == server.version
    assert server.major == server.source.major


@pytest.mark.versions
def test_databases_of_one_schema_are_apart(databases: Callable[..., servers.Database]) -> None:
    one, other = databases(SCHEMA), databases(SCHEMA)
    assert one.execute("DELETE FROM thing") == 1
    assert one.rows("SELECT id FROM thing") == []
    assert other.rows("SELECT id FROM thing WHERE id = %s", [1]) == [(1,)]


def test_a_database_is_gone_after_the_test_even_with_a_connection_left(server: servers.TestServer) -> None:
    with server.database() as database:
        connection = database.connect()
    with pytest.raises(psycopg.OperationalError):
        connection.execute("SELECT 1")
    connection.close()
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(database.dsn)


@pytest.fixture(scope="module", autouse=True)
def setting_of_the_machine() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("QUEUEWARDEN_INTERVAL", "1h")
        monkeypatch.setenv("PGHOST", "elsewhere")
        yield


def test_no_setting_of_the_machine_reaches_a_test() -> None:
    assert "QUEUEWARDEN_INTERVAL" not in os.environ
    assert "PGHOST" not in os.environ


def test_a_frozen_server_is_silent_and_a_thawed_one_goes_on(own_server: servers.OwnServer) -> None:
    with own_server.database() as database, database.connect() as connection:
        own_server.freeze()
        started = time.monotonic()
        with pytest.raises(psycopg.errors.ConnectionTimeout):
            psycopg.connect(database.dsn, connect_timeout=2)
        assert time.monotonic() - started > 1
        own_server.thaw()
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_restarted_server_keeps_its_data(own_server: servers.OwnServer) -> None:
    with own_server.database(SCHEMA) as database:
        before = database.value("SELECT pg_postmaster_start_time()")
        own_server.restart()
        assert database.value("SELECT id FROM thing") == 1
        assert database.value("SELECT pg_postmaster_start_time()") > before


def source(kind: Literal["machine", "wheel"], version: str) -> servers.Source:
    return servers.Source(kind, version)


def test_auto_takes_the_preferred_server_and_the_newest_other() -> None:
    machine, newest, older = source("machine", "15.1"), source("wheel", "18.0"), source("wheel", "16.2")
    assert servers.choose((machine, older, newest), "auto") == ((machine,), (machine, newest))
    assert servers.choose((machine, older, newest), "16") == ((older,), (older,))
    assert servers.choose((machine, older, newest), "12") == ((), ())
    assert servers.choose((), "auto") == ((), ())
