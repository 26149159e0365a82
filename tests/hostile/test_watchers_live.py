"""A daemon that is reloaded again and again, while channels hang, nobody reads and names are hostile."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import kit
import pytest
from daemons import QUEUE, Daemon
from eventually import eventually
from ports import free_port
from rows import Rows
from servers import children_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import servers

READ, WRITE = "opensesame-of-those-who-read", "opensesame-of-those-who-write"
RELOADS = 20


@pytest.fixture
def hanging() -> Iterator[str]:
    """The URL of a channel whose receiver takes connections and says nothing."""
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listening:
        yield f"json://127.0.0.1:{listening.getsockname()[1]}/opensesame"


@pytest.fixture
def taken() -> Iterator[socket.socket]:
    """An address at which somebody else listens, for as long as the test leaves that open."""
    with contextlib.closing(socket.create_server(("127.0.0.1", free_port()))) as listening:
        yield listening


def write(path: Path, *settings: dict[str, str]) -> None:
    """The file that a reload reads; what comes later stands for what came before."""
    everything: dict[str, str] = {}
    for one in settings:
        everything |= one
    path.write_text("".join(f"QUEUEWARDEN_{name}={value}\n" for name, value in everything.items()))


def deaf(port: int) -> socket.socket:
    """A listener to events that never reads."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    client.connect(("127.0.0.1", port))
    client.sendall(f"GET /api/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {READ}\r\n\r\n".encode())
    return client


def test_reloads_by_the_dozen_lose_no_sweep_and_no_secret_and_the_end_is_soon(
    tmp_path: Path, databases: Callable[..., servers.Database], hanging: str, taken: socket.socket
) -> None:
    database = databases(kit.SCHEMA)
    rows = Rows(database)
    rows.worker("w@channel\r\nBcc: eve@example.com")
    for _ in range(3):
        rows.job("waiting")
    port, other = free_port(), taken.getsockname()[1]
    base = {"ENV__PROD__DSN": database.dsn}
    http = {"HTTP": f"127.0.0.1:{port}", "HTTP_READ_TOKEN": READ, "HTTP_WRITE_TOKEN": WRITE}
    rule = {"RULE__CROWD__METRIC": "waiting_jobs", "RULE__CROWD__THRESHOLD": "2"}
    channel = {"ALERT__OPS__URL": hanging}
    turns: list[tuple[dict[str, str], ...]] = [
        (base, http, rule, channel),
        (base,),
        (base, http, rule, channel, {"ENV__TEST__DSN": "host=127.0.0.1 port=1"}),
        (base, channel),
        (base, http, {"HTTP": f"127.0.0.1:{other}"}, rule),
        (base, http, rule, channel, {"RULE__CROWD__THRESHOLD": "1000"}),
        (base, http, rule, channel, {"RULE__CROWD__METRIC": "nonsense"}),
    ]
    config, status = tmp_path / "config", tmp_path / "status.json"
    write(config, *turns[0])
    daemon = Daemon(QUEUE | {"STATUS_FILE": str(status)}, "--config", str(config))
    with contextlib.closing(daemon), contextlib.ExitStack() as clients:
        daemon.wait_for("http.listening")
        daemon.wait_for("alert.fired", rule="crowd")
        pid = daemon.process.pid
        before = descriptors(pid)
        for number in range(RELOADS):
            write(config, *turns[number % len(turns)])
            daemon.process.send_signal(signal.SIGHUP)
            done = number + 1
            eventually(lambda: _answered(daemon) == done)  # noqa: B023 -- called at once
        write(config, base, http, rule, channel, {"HTTP": f"127.0.0.1:{other}"})
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_for("http.failed")
        daemon.wait_for(
            "environment.status", environment="prod", count=len(daemon.events("environment.status")) + 3
        )
        taken.close()
        eventually(lambda: _listens(daemon, other), what="the address that was given back")
        for _ in range(20):
            clients.enter_context(contextlib.closing(deaf(other)))
        for child in children_of(pid):
            with contextlib.suppress(ProcessLookupError):  # it has ended by itself
                os.kill(child, signal.SIGKILL)
        shown = subprocess.run(
            [sys.executable, "-m", "queuewarden", "config", "show", "--config", str(config)],
            env={**os.environ, **{f"QUEUEWARDEN_{name}": value for name, value in QUEUE.items()}},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        eventually(lambda: descriptors(pid) <= before + 26)
        seen = [command_line(one) for one in (pid, *children_of(pid))]
        assert daemon.end(seconds=5) == 0
        seen += [shown, status.read_text(), *daemon.lines]
        assert "opensesame" not in "".join(seen)
        for mistake in ("station.failed", "guard.failed", "alarm.failed", "channel.mistake", "guard.ended"):
            assert daemon.events(mistake) == []
        assert all(line.startswith("{") for line in daemon.lines), "what nobody caught"


def command_line(pid: int) -> str:
    """How a process was called; nothing where it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def _listens(daemon: Daemon, port: int) -> bool:
    return any(one["address"].endswith(f":{port}") for one in daemon.events("http.listening"))


def _answered(daemon: Daemon) -> int:
    return len(daemon.events("config.reloaded")) + len(daemon.events("config.rejected"))
