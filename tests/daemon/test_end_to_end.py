"""The real process against two databases, one of which freezes, goes away and comes back."""

from __future__ import annotations

import itertools
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
from daemons import QUEUE
from eventually import eventually
from psycopg.conninfo import make_conninfo

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import servers

pytestmark = pytest.mark.slow

COUNTS = {"active_workers", "waiting_jobs", "running_jobs", "failed_jobs"}


def two(prod: servers.Database, staging: servers.Database) -> dict[str, str]:
    return QUEUE | {"ENV__PROD__DSN": prod.dsn, "ENV__STAGING__DSN": staging.dsn}


def stick(database: servers.Database) -> None:
    database.execute(
        "INSERT INTO workers (id, heartbeat) VALUES ('w', now() + interval '1 h') ON CONFLICT DO NOTHING"
    )
    database.execute(
        "INSERT INTO jobs (status, worker, started_at) VALUES ('running', 'w', now() - interval '1 h')"
    )


def gaps(daemon: Any, environment: str) -> list[float]:
    """Seconds between the sweeps of an environment."""
    times = [
        datetime.fromisoformat(one["timestamp"]).timestamp()
        for one in daemon.events("sweep.done", environment=environment)
    ]
    return [second - first for first, second in itertools.pairwise(times)]


def test_one_database_freezes_goes_away_and_comes_back(
    run: Callable[..., Any], prod: servers.Database, staging: servers.Database, own_server: servers.OwnServer
) -> None:
    daemon = run(two(prod, staging) | {"LOG_LEVEL": "debug", "ENV__STAGING__STATEMENT_TIMEOUT": "4s"})
    daemon.wait_for("environment.up", environment="prod")
    daemon.wait_for("environment.up", environment="staging")
    own_server.freeze()
    try:
        down = daemon.wait_for("environment.down", environment="staging")
        assert down["reason"] == "no answer within 6 s"
        stick(prod)
        daemon.wait_for("jobs.reset", environment="prod")
        status = daemon.wait_for("environment.status", environment="staging", up=False, count=2)
        assert {"since", "reason"} <= status.keys()
        assert not COUNTS & status.keys(), "r13, p10: what is unknown is absent"
    finally:
        own_server.thaw()
    daemon.wait_for("environment.up", environment="staging", count=2)
    own_server.halt()
    daemon.wait_for("environment.down", environment="staging", count=2)
    daemon.wait_for("environment.status", environment="staging", up=False, count=4)
    own_server.launch()
    daemon.wait_for("environment.up", environment="staging", count=3)
    status = daemon.wait_for("environment.status", environment="staging", up=True, count=3)
    assert status.keys() >= COUNTS
    stick(staging)
    daemon.wait_for("jobs.reset", environment="staging")
    assert daemon.end() == 0
    assert len(daemon.events("environment.down", environment="staging")) == 2, "once per change"
    assert len(daemon.events("environment.up", environment="staging")) == 3
    assert len(daemon.events("environment.up", environment="prod")) == 1
    assert not daemon.events("environment.down", environment="prod")
    assert max(gaps(daemon, "prod")) < 5, "the other one keeps its interval"
    assert daemon.events("daemon.stopping")


def test_r18_the_status_is_told_by_the_clock(run: Callable[..., Any], prod: servers.Database) -> None:
    """Not by the sweeps: those are an hour apart here."""
    daemon = run(QUEUE | {"DSN": prod.dsn, "INTERVAL": "1h", "LOG_LEVEL": "debug"})
    daemon.wait_for("environment.status", up=True, count=6)
    times = [
        datetime.fromisoformat(one["timestamp"]).timestamp() for one in daemon.events("environment.status")
    ]
    assert max(second - first for first, second in itertools.pairwise(times)) < 5
    assert times[-1] - times[0] > 3, "about five, unless the first line came late"
    assert len(daemon.events("sweep.done")) == 1


def test_a_connection_that_was_lost_while_idle_is_no_outage(
    run: Callable[..., Any], prod: servers.Database
) -> None:
    daemon = run(QUEUE | {"DSN": prod.dsn, "LOG_LEVEL": "debug"})
    daemon.wait_for("sweep.done")
    assert prod.value(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE application_name = 'queuewarden/default' AND datname = current_database()"
    )
    daemon.wait_for("sweep.again")
    count = len(daemon.events("sweep.done"))
    daemon.wait_for("sweep.done", count=count + 2)
    stick(prod)
    daemon.wait_for("jobs.reset")
    assert not daemon.events("environment.down")
    assert not daemon.events("brake.on", why="outage")


def test_the_application_name_tells_the_environment(run: Callable[..., Any], prod: servers.Database) -> None:
    run(QUEUE | {"ENV__PROD__DSN": prod.dsn})
    names = (
        "SELECT FROM pg_stat_activity"
        " WHERE application_name = 'queuewarden/prod' AND datname = current_database()"
    )
    eventually(lambda: prod.rows(names), what="the name in pg_stat_activity")


def test_reconnecting_backs_off_and_never_gives_up(run: Callable[..., Any]) -> None:
    daemon = run(QUEUE | {"DSN": "host=127.0.0.1 port=1 user=x password=hunter2", "LOG_LEVEL": "debug"})
    daemon.wait_for("environment.down", reason="connection refused")
    time.sleep(3)
    assert daemon.process.poll() is None
    assert daemon.end() == 0
    assert len(daemon.events("environment.down")) == 1
    assert "hunter2" not in "".join(daemon.lines)


@pytest.mark.parametrize(
    "dsn", ["postgresql://u:hunter2@h:hunter2/x", "postgresql://u:hun@ter2@h/x", "hunter2"]
)
def test_a_malformed_dsn_is_a_state_of_its_environment_and_never_quoted(
    run: Callable[..., Any], prod: servers.Database, tmp_path: Path, dsn: str
) -> None:
    secret = tmp_path / "dsn"
    secret.write_text(dsn)
    daemon = run(QUEUE | {"ENV__PROD__DSN_FILE": str(secret), "ENV__STAGING__DSN": prod.dsn})
    down = daemon.wait_for("environment.down", environment="prod")
    assert down["reason"].startswith(f"{secret} is ")
    daemon.wait_for("environment.up", environment="staging")
    daemon.end()
    shown = "".join(daemon.lines) + (tmp_path / "status.json").read_text()
    assert "hunter2" not in shown
    assert "ter2" not in shown


def test_a_secret_that_cannot_be_read_is_a_state_that_ends(
    run: Callable[..., Any], prod: servers.Database, tmp_path: Path
) -> None:
    secret = tmp_path / "dsn"
    daemon = run(QUEUE | {"ENV__PROD__DSN_FILE": str(secret)})
    assert str(secret) in daemon.wait_for("environment.down")["reason"]
    secret.write_text(make_conninfo(prod.dsn))
    daemon.wait_for("environment.up")
