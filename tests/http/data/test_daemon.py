"""A real daemon that ends while its API asks databases."""

from __future__ import annotations

import contextlib
import http.client
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

import kit
import pytest
from daemons import QUEUE, Daemon
from eventually import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    import servers

TOKEN = "read-token-of-the-tests"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def sockets(pid: int) -> int:
    """How many a process has open."""
    links = [str(one.readlink()) for one in Path(f"/proc/{pid}/fd").iterdir()]
    return sum(link.startswith("socket:") for link in links)


@pytest.fixture
def frozen(own_server: servers.OwnServer) -> Iterator[servers.Database]:
    with own_server.database(kit.SCHEMA) as database:
        yield database
        own_server.thaw()


@pytest.mark.parametrize("path", ["/api/jobs", "/api/export", "/api/consistency"])
def test_it_ends_in_time_although_a_server_that_was_asked_is_frozen(
    frozen: servers.Database, own_server: servers.OwnServer, path: str
) -> None:
    port = free_port()
    http_ = {"HTTP": f"127.0.0.1:{port}", "HTTP_READ_TOKEN": TOKEN, "STATEMENT_TIMEOUT": "30s"}
    settings = QUEUE | {"ENV__COLD__DSN": frozen.dsn, "INTERVAL": "1h"} | http_
    with contextlib.closing(Daemon(settings)) as daemon:
        daemon.wait_for("http.listening")
        daemon.wait_for("environment.up")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        with contextlib.closing(connection):
            connection.request("GET", "/health/live")
            assert connection.getresponse().read()
            before = sockets(daemon.process.pid)
            own_server.freeze()
            try:
                connection.request("GET", path, headers={"Authorization": f"Bearer {TOKEN}"})
                eventually(lambda: sockets(daemon.process.pid) > before)
                begun = time.monotonic()
                assert daemon.end() == 0
                assert time.monotonic() - begun < 5
            finally:
                own_server.thaw()
        assert not [line for line in daemon.lines if "never retrieved" in line or "Traceback" in line]
