"""``queuewarden demo``: everything in one command, and nothing of it left when it ends."""

from __future__ import annotations

import os
import random
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

import click
import psycopg

from queuewarden.adapters.postgres import Server, require_binaries
from queuewarden.application.demo import schema
from queuewarden.application.demo.fleet import SIZE, Fleet
from queuewarden.engine.ledger.schema import script
from queuewarden.errors import UnavailableError
from queuewarden.settings import types

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

TICK_SECONDS: Final = 0.2
DAEMON_STOP_SECONDS: Final = 6.0

# Short enough to watch: the fleet's jobs take up to 2.5 s, its workers beat every second.
GUARD: Final = {
    "QUEUE__EXTRACTION__PRESET": "extraction",
    "QUEUE__INTERVIEWS__PRESET": "interviews",
    "ENV__DEMO__INTERVAL": "2s",
    "ENV__DEMO__DEAD_AFTER": "6s",
    "ENV__DEMO__STUCK_AFTER": "10s",
    "ENV__DEMO__STUCK_AFTER_ALIVE": "10s",
    "ENV__DEMO__STATUS_EVERY": "10s",
}
_INHERITED: Final = tuple(
    f"QUEUEWARDEN_{name}" for name in ("LOG_LEVEL", "LOG_FORMAT", "HTTP", "ALERT_", "RULE_")
)
"""What these begin with is taken from whoever calls."""

PORT: Final = 9753
"""Of the page, if it is free."""


def _duration(_: click.Context, __: click.Parameter, text: str | None) -> timedelta | None:
    try:
        return types.duration(text) if text is not None else None
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command()
@click.option("--keep", is_flag=True, help="Leave the data when it ends, and say where and how to connect.")
@click.option(
    "--for",
    "duration",
    callback=_duration,
    metavar="DURATION",
    help="End by itself after this time, such as 90s or 5m.",
)
@click.option("--seed", type=int, help="The same seed, the same faults.")
def demo(*, keep: bool, duration: timedelta | None, seed: int | None) -> None:
    """Watch the daemon guard a fleet that crashes, on a private PostgreSQL.

    Takes a PostgreSQL server found on this machine, else the one of the extra `demo`. Workers are real
    processes: some are killed, some hang, some never finish, and a bug scrambles queue positions. Ctrl-C
    ends everything.
    """
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: ended.set())
    server = Server(require_binaries(), keep=keep)
    code = 0
    with server:
        _say(f"PostgreSQL {server.binaries.version} (found: {server.binaries.source}) in {server.directory}")
        _say(f"look inside: psql '{server.dsn()}'")
        _say(f"what was repaired: QUEUEWARDEN_ENV__DEMO__DSN='{server.dsn()}' queuewarden history")
        if not ended.is_set():
            code = _run(server, ended, duration, seed)
    if keep:
        _say(f"data kept in {server.directory}; to look at them again:")
        _say(f"  {server.start_command}")
        _say(f"  psql '{server.dsn()}'")
        _say("to stop it, and to remove them:")
        _say(f"  {server.stop_command}")
        _say(f"  rm -rf {shlex.quote(str(server.directory))}")
    else:
        _say("ended; no process and no file is left")
    if code:
        raise SystemExit(code)


def daemon_environment(dsn: str, status_file: str, inherited: Mapping[str, str]) -> dict[str, str]:
    """The environment of the guarding daemon: the demo's settings, and none of the machine's own."""
    kept = {
        name: value
        for name, value in inherited.items()
        if not name.upper().startswith("QUEUEWARDEN_") or name.upper().startswith(_INHERITED)
    }
    own = {**GUARD, "ENV__DEMO__DSN": dsn, "CONFIG_FILE": os.devnull, "STATUS_FILE": status_file}
    return kept | {f"QUEUEWARDEN_{name}": value for name, value in own.items()}


def _run(server: Server, ended: threading.Event, duration: timedelta | None, seed: int | None) -> int:
    """Fleet and daemon until the end is asked for; the daemon's exit code, 0 where it had not yet begun."""
    deadline = time.monotonic() + duration.total_seconds() if duration else None
    chance = random.Random(seed)  # noqa: S311 -- the demo's whims
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        schema.create(connection)
        connection.execute(script().encode())
        fleet = Fleet(connection, server.dsn(), chance, server.process_group)
        daemon = _start_daemon(server)
        try:
            fleet.start(time.monotonic())
            _say(f"{SIZE} workers at work, watched by the daemon; Ctrl-C ends everything")
            while not ended.wait(TICK_SECONDS) and daemon.poll() is None:
                if deadline is not None and time.monotonic() > deadline:
                    break
                fleet.tick(time.monotonic())
        except psycopg.OperationalError as error:
            raise UnavailableError(f"the demo's own PostgreSQL server is gone: {error}") from None
        finally:
            _end(daemon)
            fleet.stop()
    return 0 if daemon.returncode == -signal.SIGTERM else daemon.returncode


def _start_daemon(server: Server) -> subprocess.Popen[bytes]:
    environment = _page() | dict(os.environ)
    environment = daemon_environment(server.dsn(), str(server.directory / "status.json"), environment)
    return subprocess.Popen(
        [sys.executable, "-m", "queuewarden", "run"],
        stdin=subprocess.DEVNULL,
        env=environment,
        process_group=server.process_group,
    )


def _page() -> dict[str, str]:
    """Settings of a page for this demo; none where its extra is missing, or it is set up already."""
    if find_spec("fastapi") is None or any(
        name.upper().startswith("QUEUEWARDEN_HTTP") for name in os.environ
    ):
        return {}
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", PORT))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    token = secrets.token_urlsafe(12)
    _say(f"the page: http://{address}/ (when it asks for a token to write: {token})")
    settings = {"HTTP": address, "HTTP_OPEN_READ": "true", "HTTP_WRITE_TOKEN": token}
    return {f"QUEUEWARDEN_{name}": value for name, value in settings.items()}


def _end(daemon: subprocess.Popen[bytes]) -> None:
    daemon.terminate()
    try:
        daemon.wait(DAEMON_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()


def _say(text: str) -> None:
    click.echo(text, err=True)
