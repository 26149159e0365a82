"""SIGTERM ends the daemon with 0 within five seconds, whatever a database does."""

from __future__ import annotations

import signal
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest
from daemons import QUEUE
from eventually import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    import servers

pytestmark = pytest.mark.slow

WITHIN = 5.0
AT_ONCE = 3.0
"""Seconds; whatever had to be cancelled, and did not hear it, would be waited for as long."""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_at_once_where_all_is_well(
    run: Callable[..., Any], prod: servers.Database, number: signal.Signals
) -> None:
    daemon = run(QUEUE | {"DSN": prod.dsn})
    daemon.wait_for("environment.up")
    begun = time.monotonic()
    assert daemon.end(number) == 0
    assert time.monotonic() - begun < AT_ONCE
    assert not daemon.events("environment.down")
    eventually(
        lambda: (
            not prod.rows(
                "SELECT FROM pg_stat_activity"
                " WHERE application_name ~ '^queuewarden/' AND datname = current_database()"
            )
        ),
        what="no connection is left",
    )


def test_it_ends_while_a_server_is_frozen_in_the_middle_of_a_query(
    run: Callable[..., Any], staging: servers.Database, own_server: servers.OwnServer
) -> None:
    daemon = run(QUEUE | {"DSN": staging.dsn, "STATEMENT_TIMEOUT": "1h", "LOG_LEVEL": "debug"})
    daemon.wait_for("sweep.done")
    own_server.freeze()
    try:
        time.sleep(2)  # the next sweep waits for its answer by then
        swept = len(daemon.events("sweep.done"))
        begun = time.monotonic()
        assert daemon.end(seconds=WITHIN) == 0
        assert time.monotonic() - begun < AT_ONCE, "neither a deadline nor psycopg's wait for a cancel"
        assert len(daemon.events("sweep.done")) == swept
        assert not daemon.events("environment.down"), "the end of the daemon is no outage"
    finally:
        own_server.thaw()


def test_it_ends_while_it_connects_to_a_server_that_never_answers(run: Callable[..., Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        dsn = f"host=127.0.0.1 port={silent.getsockname()[1]} user=x"
        daemon = run(QUEUE | {"DSN": dsn, "CONNECT_TIMEOUT": "14s"})
        daemon.wait_for("daemon.started")
        with silent.accept()[0]:
            assert daemon.end(seconds=WITHIN) == 0


def test_it_ends_while_name_servers_do_not_answer(run: Callable[..., Any], prod: servers.Database) -> None:
    """Nor do many hosts whose names nobody resolves hold up one that needs a name resolved."""
    hanging = """
import socket, time
resolve = socket.getaddrinfo
def hang(host, *rest, **more):
    return time.sleep(60) if host == "hangs.invalid" else resolve(host, *rest, **more)
socket.getaddrinfo = hang
from queuewarden.application.cli import main
main()
"""
    environments = {f"ENV__E{number}__DSN": "host=hangs.invalid user=x" for number in range(20)}
    refused = {"ENV__OTHER__DSN": "host=localhost port=1 user=x"}
    patient = {"CONNECT_TIMEOUT": "30s", "LEASE_TTL": "1m"}
    daemon = run(QUEUE | environments | refused | patient, program=("-c", hanging))
    daemon.wait_for("environment.down", environment="other", reason="connection refused")
    assert not daemon.events("environment.down", environment="e1")
    assert daemon.end(seconds=WITHIN) == 0


def test_it_ends_while_it_backs_off(run: Callable[..., Any]) -> None:
    daemon = run(QUEUE | {"DSN": "host=127.0.0.1 port=1 user=x", "INTERVAL": "1h"})
    daemon.wait_for("environment.down")
    assert daemon.end(seconds=WITHIN) == 0


def test_it_ends_before_it_was_ready(run: Callable[..., Any]) -> None:
    daemon = run(QUEUE | {"DSN": "host=127.0.0.1 port=1 user=x"})
    daemon.wait_for("daemon.started")
    assert daemon.end(seconds=WITHIN) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_more_signals_do_no_harm(
    run: Callable[..., Any], prod: servers.Database, number: signal.Signals
) -> None:
    daemon = run(QUEUE | {"DSN": prod.dsn})
    daemon.wait_for("environment.up")

    def gone() -> bool:
        daemon.process.send_signal(number)
        return daemon.process.poll() is not None

    eventually(gone)
    assert daemon.process.returncode == 0


def test_it_was_no_python_error(run: Callable[..., Any], prod: servers.Database) -> None:
    """Warnings of asyncio or psycopg about what was left open would be in the log."""
    daemon = run(QUEUE | {"DSN": prod.dsn}, PYTHONWARNINGS="always", PYTHONASYNCIODEBUG="1")
    daemon.wait_for("environment.up")
    daemon.end(seconds=WITHIN)
    assert not [line for line in daemon.lines if "ResourceWarning" in line or "Traceback" in line]
