"""The API of a real daemon."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import kit
import pytest
from daemons import QUEUE, Daemon
from eventually import eventually
from ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import servers

READ = "read-token-of-the-tests"
WRITE = "write-token-of-the-tests"
TOKENS = {"HTTP_READ_TOKEN": READ, "HTTP_WRITE_TOKEN": WRITE}

STUCK = """
INSERT INTO workers (id, heartbeat) VALUES ('w1', now() - interval '1 hour');
INSERT INTO jobs (status, worker, started_at) VALUES ('running', 'w1', now() - interval '1 hour')
"""


@pytest.fixture
def database(databases: Callable[..., servers.Database]) -> servers.Database:
    return databases(kit.SCHEMA)


@pytest.fixture
def run(database: servers.Database) -> Iterator[Callable[..., Daemon]]:
    """Starts a daemon that guards the database, with these settings beside."""
    with contextlib.ExitStack() as stack:

        def start(
            *arguments: str, program: tuple[str, ...] = ("-m", "queuewarden"), **settings: str
        ) -> Daemon:
            given = QUEUE | {"ENV__PROD__DSN": database.dsn} | settings
            return stack.enter_context(contextlib.closing(Daemon(given, *arguments, program=program)))

        yield start


def free() -> str:
    """An address that nobody listens at."""
    return f"127.0.0.1:{free_port()}"


def address(daemon: Daemon, count: int = 1) -> str:
    """Where the daemon listens, once it does."""
    found: str = daemon.wait_for("http.listening", count=count, seconds=60)["address"]
    return found


def ask(place: str, path: str, token: str | None = READ, method: str = "GET") -> tuple[int, Any]:
    connection = http.client.HTTPConnection(place, timeout=10)
    try:
        connection.request(method, path, headers={"Authorization": f"Bearer {token}"} if token else {})
        response = connection.getresponse()
        text = response.read()
        return response.status, json.loads(text) if text.startswith(b"{") else text.decode()
    finally:
        connection.close()


def test_a_repair_is_seen_in_every_way(run: Callable[..., Daemon], database: servers.Database) -> None:
    daemon = run(HTTP=free(), LOG_LEVEL="debug", **TOKENS)
    place = address(daemon)
    eventually(lambda: ask(place, "/health/ready", None)[0] == 200)
    with contextlib.closing(http.client.HTTPConnection(place, timeout=20)) as listener:
        listener.request("GET", "/api/events", headers={"Authorization": f"Bearer {READ}"})
        stream = listener.getresponse()
        database.execute(STUCK)
        while stream.readline() != b"event: repair\n":
            pass
        told = json.loads(stream.readline().removeprefix(b"data: "))
    assert (told["environment"], told["queue"]) == ("prod", "mail")
    stats = ask(place, "/api/stats")[1]["environments"]["prod"]
    assert stats["queues"]["mail"]["points"]
    assert told["sweep"] in {one["sweep"] for one in stats["repairs"]}
    assert "queuewarden_" in ask(place, "/metrics")[1]
    assert ask(place, "/api/status")[1]["environments"]["prod"]["last_change"]
    assert ask(place, "/api/sweep", WRITE, "POST")[0] == 202
    daemon.wait_for("http.acted", action="sweep", environment="prod", who="http (write token)")
    answered = daemon.wait_for("http.answered")
    assert "127.0.0.1" not in str(answered)
    assert daemon.end() == 0
    assert not any(READ in line or WRITE in line for line in daemon.lines)
    assert not daemon.events("http.failed")


def test_a_stop_ends_streams_and_slow_clients_in_time(run: Callable[..., Daemon]) -> None:
    daemon = run(HTTP=free(), **TOKENS)
    place = address(daemon)
    request = f"GET /api/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {READ}\r\n\r\n".encode()
    host, _, port = place.rpartition(":")
    with contextlib.ExitStack() as stack:
        clients = [
            stack.enter_context(socket.create_connection((host, int(port)), timeout=10)) for _ in range(60)
        ]
        for client in clients[:50]:
            client.sendall(request)
        for client in clients[:50]:
            assert client.recv(1000).startswith(b"HTTP/1.1 200")
        for client in clients[50:]:
            client.sendall(b"GET / HT")
        begun = time.monotonic()
        assert daemon.end() == 0
        assert time.monotonic() - begun < 4


def test_a_reload_moves_turns_off_and_turns_on(run: Callable[..., Daemon], tmp_path: Path) -> None:
    file = tmp_path / "queuewarden.env"
    lines = "".join(f"QUEUEWARDEN_{name}={value}\n" for name, value in TOKENS.items())

    def write(**settings: str) -> None:
        file.write_text(lines + "".join(f"QUEUEWARDEN_{name}={value}\n" for name, value in settings.items()))

    path = tmp_path / "http"
    write(HTTP=free())
    daemon = run("--config", str(file))
    place = address(daemon)
    assert ask(place, "/api/status")[0] == 200
    write(HTTP=str(path))
    daemon.process.send_signal(signal.SIGHUP)
    eventually(path.is_socket)
    with pytest.raises(ConnectionRefusedError):
        ask(place, "/api/status")
    write()
    daemon.process.send_signal(signal.SIGHUP)
    eventually(lambda: not path.exists())
    write(HTTP=free())
    daemon.process.send_signal(signal.SIGHUP)
    place = address(daemon, 3)
    assert ask(place, "/api/status")[0] == 200
    assert daemon.end() == 0


def test_a_port_in_use_does_not_touch_a_sweep(run: Callable[..., Daemon], database: servers.Database) -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        daemon = run(HTTP=f"127.0.0.1:{port}", **TOKENS)
        failed = daemon.wait_for("http.failed")
        assert (failed["level"], "in use" in failed["reason"]) == ("error", True)
        database.execute(STUCK)
        daemon.wait_for("jobs.reset")
    assert ask(address(daemon), "/api/status")[0] == 200
    assert len(daemon.events("http.failed")) == 1
    assert daemon.end() == 0


def test_a_token_file_that_changes_counts_without_a_reload(
    run: Callable[..., Daemon], tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text("short")
    daemon = run(HTTP=free(), HTTP_READ_TOKEN_FILE=str(file))
    place = address(daemon)
    assert ask(place, "/api/status", "short")[0] == 503
    assert "16 characters" in daemon.wait_for("http.token_failed")["reason"]
    file.write_text(READ)
    eventually(lambda: ask(place, "/api/status")[0] == 200)
    assert daemon.end() == 0


def test_a_daemon_without_http_listens_nowhere_and_loads_no_library_for_it(
    run: Callable[..., Daemon],
) -> None:
    daemon = run(program=("-X", "importtime", "-m", "queuewarden"))
    eventually(lambda: any('"environment.up"' in line for line in list(daemon.lines)))
    assert not listening(daemon.process.pid)
    loaded = {line.rpartition("|")[2].strip() for line in daemon.lines if line.startswith("import time:")}
    assert "psycopg" in loaded
    assert not loaded & {"fastapi", "starlette", "uvicorn", "httptools", "prometheus_client", "apprise"}
    assert daemon.end() == 0


def listening(pid: int) -> set[str]:
    """The sockets on which a process listens for TCP."""
    process = Path(f"/proc/{pid}")
    tables = [(process / "net" / kind).read_text() for kind in ("tcp", "tcp6")]
    lines = [line.split() for table in tables for line in table.splitlines()]
    own = set()
    for link in (process / "fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it may be closed just now
            own.add(str(link.readlink()))
    return {f"socket:[{fields[9]}]" for fields in lines if fields[3] == "0A"} & own
