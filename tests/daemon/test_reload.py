"""SIGHUP: validates first, then replaces; a bad file keeps the old configuration and says so."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import pytest
from daemons import QUEUE
from eventually import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import servers
    from daemons import Daemon, Systemd

pytestmark = pytest.mark.slow


class Configured:
    """A daemon with a file, which can be written anew."""

    def __init__(self, run: Callable[..., Daemon], path: Path, settings: Mapping[str, str]) -> None:
        self._path = path
        self.settings = dict(settings)
        self.write()
        self.daemon = run({}, "--config", str(path))

    def write(self, more: str = "") -> None:
        lines = [f"QUEUEWARDEN_{name}={value!r}" for name, value in self.settings.items()]
        self._path.write_text("\n".join([*lines, more]))

    def reload(self, *without: str, **changes: str) -> None:
        self.settings = {name: self.settings[name] for name in self.settings if name not in without} | changes
        self.write()
        self.daemon.process.send_signal(signal.SIGHUP)


@pytest.fixture
def configured(run: Callable[..., Daemon], tmp_path: Path, prod: servers.Database) -> Configured:
    one = Configured(run, tmp_path / "env", QUEUE | {"ENV__PROD__DSN": prod.dsn, "STUCK_AFTER": "1d"})
    one.daemon.wait_for("environment.up")
    return one


def test_a_bad_file_keeps_the_old_configuration(configured: Configured, prod: servers.Database) -> None:
    configured.reload(STUCK_AFTERR="1s", INTERVAL="often")
    rejected = configured.daemon.wait_for("config.rejected", count=2)
    assert rejected["level"] == "error"
    faults = " ".join(one["fault"] for one in configured.daemon.events("config.rejected"))
    assert "QUEUEWARDEN_STUCK_AFTERR" in faults
    assert "QUEUEWARDEN_INTERVAL" in faults
    assert not configured.daemon.events("config.reloaded")
    configured.daemon.wait_for(
        "environment.status", up=True, count=len(configured.daemon.events("environment.status")) + 2
    )
    assert not configured.daemon.events("environment.down")


def test_a_file_that_is_gone_or_guards_nothing_keeps_the_old_configuration(configured: Configured) -> None:
    configured.settings = {}
    configured.reload()
    configured.daemon.wait_for("config.rejected")
    configured._path.unlink()
    configured.daemon.process.send_signal(signal.SIGHUP)
    configured.daemon.wait_for("config.rejected", count=2)
    seen = len(configured.daemon.events("environment.status", up=True))
    configured.daemon.wait_for("environment.status", up=True, count=seen + 2)


def test_a_good_file_changes_a_threshold(configured: Configured, prod: servers.Database) -> None:
    prod.execute("INSERT INTO workers (id, heartbeat) VALUES ('w', now() + interval '1 h')")
    prod.execute(
        "INSERT INTO jobs (status, worker, started_at) VALUES ('running', 'w', now() - interval '1 h')"
    )
    seen = len(configured.daemon.events("environment.status"))
    configured.daemon.wait_for("environment.status", count=seen + 3)
    assert not configured.daemon.events("jobs.reset")
    configured.reload(STUCK_AFTER="1m")
    configured.daemon.wait_for("config.reloaded")
    configured.daemon.wait_for("jobs.reset")
    assert len(configured.daemon.events("environment.up")) == 1, "state survives a reload"


def test_a_reload_does_not_wait_for_a_long_interval(configured: Configured, prod: servers.Database) -> None:
    prod.execute("INSERT INTO workers (id, heartbeat) VALUES ('w', now() + interval '1 h')")
    configured.reload(INTERVAL="1h")
    configured.daemon.wait_for("config.reloaded")
    prod.execute(
        "INSERT INTO jobs (status, worker, started_at) VALUES ('running', 'w', now() - interval '1 h')"
    )
    configured.reload(INTERVAL="1s", STUCK_AFTER="1m")
    configured.daemon.wait_for("jobs.reset")


def test_environments_come_and_go(
    configured: Configured, databases: Callable[..., servers.Database], prod: servers.Database
) -> None:
    staging = databases("SELECT 1")
    configured.reload(ENV__STAGING__DSN=staging.dsn)
    configured.daemon.wait_for("environment.up", environment="staging")
    configured.reload("ENV__PROD__DSN")
    configured.daemon.wait_for("config.reloaded", count=2)
    seen = len(configured.daemon.events("environment.status", environment="staging"))
    configured.daemon.wait_for("environment.status", environment="staging", count=seen + 3)
    gone = len(configured.daemon.events("environment.status", environment="prod"))
    configured.daemon.wait_for("environment.status", environment="staging", count=seen + 6)
    assert len(configured.daemon.events("environment.status", environment="prod")) == gone
    assert not configured.daemon.events("environment.down")
    assert not prod.rows(
        "SELECT FROM pg_stat_activity"
        " WHERE application_name = 'queuewarden/prod' AND datname = current_database()"
    )


def test_another_dsn_is_used_from_the_next_sweep_on(
    configured: Configured, databases: Callable[..., servers.Database]
) -> None:
    other = databases("CREATE TABLE unrelated (x int)")
    configured.reload(ENV__PROD__DSN=other.dsn)
    configured.daemon.wait_for("queue.drifted", environment="prod")
    assert not configured.daemon.events("environment.down")


def test_a_reload_ends_the_backing_off(configured: Configured, prod: servers.Database) -> None:
    configured.reload(ENV__PROD__DSN="host=127.0.0.1 port=1 user=x", INTERVAL="1h")
    configured.daemon.wait_for("environment.down", reason="connection refused")
    configured.reload(ENV__PROD__DSN=prod.dsn, INTERVAL="1s")
    configured.daemon.wait_for("environment.up", count=2)


def test_systemd_is_told(
    run: Callable[..., Daemon], tmp_path: Path, prod: servers.Database, systemd: Systemd
) -> None:
    settings = {f"QUEUEWARDEN_{name}": value for name, value in (QUEUE | {"DSN": prod.dsn}).items()}
    path = tmp_path / "env"
    path.write_text("\n".join(f"{name}={value!r}" for name, value in settings.items()))
    daemon = run({}, "--config", str(path), **systemd.environ)
    daemon.wait_for("environment.up")
    for number, text in enumerate([path.read_text(), "QUEUEWARDEN_NONSENSE=1"], start=1):
        path.write_text(text)
        daemon.process.send_signal(signal.SIGHUP)
        event: Any = "config.reloaded" if number == 1 else "config.rejected"
        daemon.wait_for(event)
        eventually(lambda number=number: systemd.count("READY=1") == number + 1)
        assert systemd.count("RELOADING=1") == number
    daemon.end()
    assert systemd.count("STOPPING=1") == 1
