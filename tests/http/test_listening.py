"""Where the server listens; what it says, and goes on doing, where it cannot."""

from __future__ import annotations

import asyncio
import socket
import stat
import threading
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from ports import free_port
from stations import station
from structlog.testing import capture_logs

from queuewarden.application.http import server as server_module
from queuewarden.application.http import unix_socket
from queuewarden.application.http.server import Server
from queuewarden.application.watching.serving import Serving
from queuewarden.settings.configuration import HttpConfig

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

REQUEST = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
ANYWHERE = HttpConfig("127.0.0.1", 0)


async def until(condition: Any) -> None:
    async with asyncio.timeout(60):  # as long as a resolver may take that nobody answers
        while not condition():  # noqa: ASYNC110 -- what others do sets no event
            await asyncio.sleep(0.01)


@asynccontextmanager
async def listening(config: HttpConfig) -> AsyncIterator[Server]:
    server = Server(config, station(config))
    server.start()
    try:
        yield server
    finally:
        await server.close()


async def asked(server: Server) -> bytes:
    if server.config.socket is not None:
        reader, writer = await asyncio.open_unix_connection(server.config.socket)
    else:
        host, _, port = server.place.rpartition(":")
        reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    writer.write(REQUEST)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_it_listens_where_it_is_told_to(host: str) -> None:
    async def run() -> None:
        async with listening(replace(ANYWHERE, host=host)) as server:
            await until(lambda: server.listening)
            assert (await asked(server)).startswith(b"HTTP/1.1 200")

    asyncio.run(run())


def test_a_port_in_use_is_told_once_and_taken_once_it_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "FIRST_WAIT", 0.05)
    monkeypatch.setattr(server_module, "LONGEST_WAIT", 0.05)

    async def run() -> None:
        port = free_port()
        with socket.create_server(("127.0.0.1", port)) as holder:
            async with listening(HttpConfig("127.0.0.1", port)) as server:
                await until(lambda: any(line["event"] == "http.failed" for line in lines))
                await asyncio.sleep(0.3)  # a few attempts more
                holder.close()
                await until(lambda: server.listening)
                assert (await asked(server)).startswith(b"HTTP/1.1 200")

    with capture_logs() as lines:
        asyncio.run(run())
    (failed,) = [line for line in lines if line["event"] == "http.failed"]
    assert "in use" in failed["reason"]
    assert "QUEUEWARDEN_HTTP" in failed["hint"]
    assert any(line["event"] == "http.listening" for line in lines)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (HttpConfig("192.0.2.1", 9753), "192.0.2.1:9753: "),
        (HttpConfig("no-such-host.invalid", 9753), "no-such-host.invalid:9753: "),
    ],
    ids=["address", "name"],
)
def test_an_address_that_there_is_not_is_told(config: HttpConfig, reason: str) -> None:
    async def run() -> None:
        async with listening(config):
            await until(lambda: lines)

    with capture_logs() as lines:
        asyncio.run(run())
    assert lines[0]["reason"].startswith(reason)
    assert lines[0]["hint"]


def test_a_socket_is_for_owner_and_group_and_goes_with_the_server(tmp_path: Path) -> None:
    path = tmp_path / "http"

    async def run() -> None:
        async with listening(HttpConfig(None, 0, socket=path)) as server:
            await until(lambda: server.listening)
            assert stat.S_IMODE(path.stat().st_mode) == 0o660
            assert (await asked(server)).startswith(b"HTTP/1.1 200")

    asyncio.run(run())
    assert not path.exists()


def test_a_socket_that_was_left_behind_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "http"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    unix_socket.bound(path).close()
    assert path.is_socket()


def test_a_socket_that_somebody_listens_on_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "http"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        with pytest.raises(OSError, match="in use"):
            unix_socket.bound(path)
        unix_socket.remove(path)
        assert path.is_socket()


def test_a_file_in_the_place_of_the_socket_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "http"
    path.write_text("mine")
    with pytest.raises(OSError, match="no socket"):
        unix_socket.bound(path)
    assert path.read_text() == "mine"


@pytest.mark.parametrize("path", ["missing/http", "x" * 200], ids=["directory", "long"])
def test_a_socket_that_cannot_be_made_is_told(tmp_path: Path, path: str) -> None:
    async def run() -> None:
        async with listening(HttpConfig(None, 0, socket=tmp_path / path)):
            await until(lambda: lines)

    with capture_logs() as lines:
        asyncio.run(run())
    assert lines[0]["event"] == "http.failed"
    assert str(tmp_path) in lines[0]["reason"]


def test_a_mistake_of_ours_while_starting_ends_in_its_own_task(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(server_module, "_build", broken)

    async def run() -> None:
        async with listening(ANYWHERE):
            await until(lambda: lines)

    with capture_logs() as lines:
        asyncio.run(run())
    assert [line["event"] for line in lines] == ["http.failed"]


def test_a_reload_moves_the_server_and_leaves_an_equal_one_alone(tmp_path: Path) -> None:
    first, second = HttpConfig(None, 0, socket=tmp_path / "one"), HttpConfig(None, 0, socket=tmp_path / "two")

    async def run() -> None:
        serving = Serving(station(first))
        serving.reconfigure(first)
        await until((tmp_path / "one").is_socket)
        server = serving._server
        serving.reconfigure(replace(first))
        await asyncio.sleep(0.1)
        assert serving._server is server
        for config in (second, first, second):
            serving.reconfigure(config)
        await until((tmp_path / "two").is_socket)
        assert not (tmp_path / "one").exists()
        serving.reconfigure(None)
        await until(lambda: not (tmp_path / "two").exists())
        await serving.close()

    asyncio.run(run())


def test_libraries_load_beside_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[str] = []

    def build(_: object) -> None:
        threads.append(threading.current_thread().name)
        raise RuntimeError("seen enough")

    monkeypatch.setattr(server_module, "_build", build)

    async def run() -> None:
        async with listening(ANYWHERE):
            await until(lambda: threads)

    asyncio.run(run())
    assert threads != [threading.main_thread().name]
