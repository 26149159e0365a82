"""A real daemon that ends while its API asks databases."""

from __future__ import annotations

import contextlib
import http.client
import time
from pathlib import Path
from typing import TYPE_CHECKING

import kit
import pytest
from daemons import QUEUE, Daemon
from eventually import eventually
from ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    import servers

TOKEN = "read-token-of-the-tests"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


def sockets(pid: int) -> int:
    """How many a process has open."""
    count = 0
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it may be closed just now
            count += str(link.readlink()).startswith("socket:")
    return count


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

            def asked(path: str) -> bytes:
                connection.request("GET", path, headers=BEARER)
                return connection.getresponse().read()

            # The look at the database's health is over, and with it the last connection but ours.
            eventually(lambda: b"queuewarden_server_wraparound_ratio" in asked("/metrics"))
            before = sockets(daemon.process.pid)
            own_server.freeze()
            try:
                connection.request("GET", path, headers=BEARER)
                eventually(lambda: sockets(daemon.process.pid) > before)
                begun = time.monotonic()
                assert daemon.end(seconds=20) == 0
                assert time.monotonic() - begun < 8
            finally:
                own_server.thaw()
        assert not [line for line in daemon.lines if "never retrieved" in line or "Traceback" in line]
