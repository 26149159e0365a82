"""Alerts of a running daemon: told, remembered over a restart, answered by commands, and never in the way."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from daemons import QUEUE
from eventually import eventually
from ports import free_port
from receivers import Receiver
from rows import Rows

from queuewarden.engine.ledger import schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import servers
    from daemons import Daemon

BACKLOG = {
    "RULE__CROWD__METRIC": "waiting_jobs",
    "RULE__CROWD__THRESHOLD": "2",
    "RULE__CROWD__SUMMARY": "{environment}/{queue}: {value} jobs wait",
    # What the test is not about stays silent.
    "RULE__NO_LIVE_WORKER__ENABLED": "false",
}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    yield found
    found.close()


@pytest.fixture
def settings(prod: servers.Database, receiver: Receiver) -> dict[str, str]:
    return QUEUE | BACKLOG | {"ENV__PROD__DSN": prod.dsn, "ALERT__OPS__URL": receiver.url}


def crowd(prod: servers.Database) -> Rows:
    rows = Rows(prod)
    rows.worker("w")
    for _ in range(3):
        rows.job("waiting")
    return rows


def kept(prod: servers.Database) -> bool:
    return bool(prod.value("SELECT count(*) FROM queuewarden.alerts WHERE id = 'crowd.prod.mail'"))


def relax(prod: servers.Database) -> None:
    prod.execute("DELETE FROM jobs")


def lines(receiver: Receiver, word: str, part: str) -> list[str]:
    """What messages told, a line an alert: one message may tell of several."""
    return [
        line
        for body in list(receiver.bodies)
        for line in body["message"].splitlines()
        if line.startswith(f"{word} ") and part in line
    ]


def told(receiver: Receiver, word: str) -> Callable[[], Any]:
    return lambda: lines(receiver, word, "jobs wait")


def command(settings: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "queuewarden", *arguments],
        env={**os.environ, **{f"QUEUEWARDEN_{name}": value for name, value in settings.items()}},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_an_alert_is_told_and_its_end_too(
    run: Callable[..., Daemon], settings: dict[str, str], prod: servers.Database, receiver: Receiver
) -> None:
    crowd(prod)
    daemon = run(settings)
    daemon.wait_for("alert.fired", rule="crowd")
    (line,) = eventually(told(receiver, "WARNING"), seconds=20, what="the alert")
    assert line == "WARNING prod/mail: 3 jobs wait"
    relax(prod)
    daemon.wait_for("alert.resolved", rule="crowd")
    eventually(told(receiver, "RESOLVED"), seconds=20, what="its end")
    assert len(told(receiver, "WARNING")()) == 1
    assert daemon.end() == 0


def test_a_restart_tells_nothing_twice_and_an_end_that_came_meanwhile(
    run: Callable[..., Daemon], settings: dict[str, str], prod: servers.Database, receiver: Receiver
) -> None:
    prod.execute(schema.script())
    crowd(prod)
    first = run(settings)
    eventually(told(receiver, "WARNING"), seconds=20, what="the alert")
    eventually(lambda: kept(prod), seconds=20, what="it is kept")
    first.end(signal.SIGKILL)
    second = run(settings)
    second.wait_for("environment.status", count=3)
    assert second.events("alert.fired", rule="crowd") == []
    second.end(signal.SIGKILL)
    relax(prod)
    third = run(settings)
    third.wait_for("alert.resolved", rule="crowd")
    eventually(told(receiver, "RESOLVED"), seconds=20, what="its end")
    assert len(told(receiver, "WARNING")()) == 1


def test_acknowledged_by_a_command(
    run: Callable[..., Daemon],
    settings: dict[str, str],
    prod: servers.Database,
    receiver: Receiver,
    tmp_path: Path,
) -> None:
    prod.execute(schema.script())
    crowd(prod)
    file = tmp_path / "queuewarden.env"
    file.write_text("")
    daemon = run(settings, "--config", str(file))
    daemon.wait_for("alert.fired", rule="crowd")

    def listed() -> list[dict[str, Any]]:
        found = json.loads(command(settings, "alerts", "list", "--json").stdout)["prod"]["alerts"]
        return [one for one in found if one["rule"] == "crowd"]

    (alert,) = eventually(listed, seconds=30, what="the list")
    assert (alert["queue"], alert["severity"], alert["acked_by"]) == ("mail", "warning", None)
    acked = command(settings, "alerts", "ack", alert["id"])
    assert (acked.returncode, acked.stdout) == (0, f"{alert['id']}: acknowledged\n")
    assert daemon.wait_for("alert.acknowledged", rule="crowd")["queue"] == "mail"
    file.write_text("QUEUEWARDEN_RULE__CROWD__ESCALATE_AFTER=1s")  # which is over
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_for("config.reloaded")
    daemon.wait_for("environment.status", count=len(daemon.events("environment.status")) + 4)
    assert daemon.events("alert.escalated") == []
    unknown = command(settings, "alerts", "ack", "nothing")
    assert unknown.returncode == 1
    assert "no such alert fires" in unknown.stdout


def test_unanswered_it_is_escalated_once(
    run: Callable[..., Daemon], settings: dict[str, str], prod: servers.Database, receiver: Receiver
) -> None:
    crowd(prod)
    boss = Receiver()
    try:
        channel = {"ALERT__BOSS__URL": boss.url, "ALERT__BOSS__SEVERITIES": "escalated"}
        daemon = run(settings | channel | {"RULE__CROWD__ESCALATE_AFTER": "2s"})
        daemon.wait_for("alert.escalated", rule="crowd")
        (line,) = eventually(told(boss, "ESCALATED"), seconds=20, what="the boss is told")
        assert "3 jobs wait" in line
        daemon.wait_for("environment.status", count=len(daemon.events("environment.status")) + 4)
        assert len(daemon.events("alert.escalated", rule="crowd")) == 1
    finally:
        boss.close()


def test_a_suppression_survives_a_restart(
    run: Callable[..., Daemon], settings: dict[str, str], prod: servers.Database, receiver: Receiver
) -> None:
    prod.execute(schema.script())
    done = command(settings, "alerts", "suppress", "--rule", "crow*", "--for", "1h", "--reason", "a move")
    assert done.returncode == 0, done.stderr
    assert "prod: rule crow*, environment prod suppressed for 1h; id 1" in done.stdout
    first = run(settings)
    first.wait_for("environment.status", count=2)
    first.end(signal.SIGKILL)
    crowd(prod)
    second = run(settings)
    second.wait_for("environment.status", count=5)
    assert second.events("alert.fired", rule="crowd") == []
    shown = command(settings, "alerts", "list")
    assert "a move" in shown.stdout
    assert command(settings, "alerts", "lift", "prod", "1").stdout == "1: lifted\n"
    second.wait_for("alert.fired", rule="crowd")
    eventually(told(receiver, "WARNING"), seconds=20, what="it is told once nobody minds")


def test_of_two_daemons_one_tells_and_the_other_goes_on_where_it_ended(
    run: Callable[..., Daemon], settings: dict[str, str], prod: servers.Database, receiver: Receiver
) -> None:
    prod.execute(schema.script())
    settings = settings | {"LEASE_TTL": "6s"}
    first = run(settings)
    first.wait_for("lease.gained")
    second = run(settings)
    second.wait_for("environment.status", count=2)
    crowd(prod)
    first.wait_for("alert.fired", rule="crowd")
    eventually(told(receiver, "WARNING"), seconds=20, what="the alert")
    eventually(lambda: kept(prod), seconds=20, what="it is kept")
    first.end(signal.SIGKILL)
    second.wait_for("lease.gained", seconds=30)
    second.wait_for("environment.status", count=len(second.events("environment.status")) + 3)
    assert second.events("alert.fired", rule="crowd") == []
    relax(prod)
    second.wait_for("alert.resolved", rule="crowd")
    eventually(told(receiver, "RESOLVED"), seconds=20, what="its end")
    assert len(told(receiver, "WARNING")()) == 1


def test_an_answer_given_to_the_daemon_that_does_not_announce_reaches_the_other(
    run: Callable[..., Daemon], settings: dict[str, str], prod: servers.Database, receiver: Receiver
) -> None:
    prod.execute(schema.script())
    first = run(settings)
    first.wait_for("lease.gained")
    address, token = f"127.0.0.1:{free_port()}", "write-token-of-the-tests"
    second = run(settings | {"HTTP": address, "HTTP_WRITE_TOKEN": token})
    second.wait_for("http.listening")
    crowd(prod)
    alert = first.wait_for("alert.fired", rule="crowd")["id"]
    eventually(lambda: kept(prod), seconds=20, what="it is kept")
    second.wait_for("environment.status", count=len(second.events("environment.status")) + 3)
    connection = http.client.HTTPConnection(address, timeout=10)
    body, headers = json.dumps({"id": alert}), {"Authorization": f"Bearer {token}"}
    connection.request("POST", "/api/alerts/ack", body, headers | {"Content-Type": "application/json"})
    assert connection.getresponse().status == 200
    connection.close()
    first.wait_for("alert.acknowledged", rule="crowd")
    eventually(told(receiver, "ACKNOWLEDGED"), seconds=20, what="people are told")
    second.wait_for("environment.status", count=len(second.events("environment.status")) + 4)
    assert len(told(receiver, "ACKNOWLEDGED")()) == 1


def test_a_database_that_is_down_mutes_its_queues(
    run: Callable[..., Daemon],
    settings: dict[str, str],
    staging: servers.Database,
    own_server: servers.OwnServer,
    receiver: Receiver,
) -> None:
    settings = settings | {
        "ENV__PROD__DSN": staging.dsn,
        "RULE__ENVIRONMENT_DOWN__FOR": "1s",
        "RULE__CROWD__FOR": "6s",  # the server is down by then
    }
    crowd(staging)
    daemon = run(settings)
    daemon.wait_for("environment.status", up=True)
    own_server.halt()
    daemon.wait_for("alert.fired", rule="environment_down", seconds=30)
    eventually(
        lambda: [one for one in receiver.titles if one.startswith("[critical]")], seconds=20, what="told"
    )
    daemon.wait_for("environment.status", count=8, up=False, seconds=30)
    assert daemon.events("alert.fired", rule="crowd") == []
    own_server.launch()
    daemon.wait_for("alert.resolved", rule="environment_down", seconds=30)


def test_a_channel_that_hangs_and_one_that_refuses_touch_no_sweep(
    run: Callable[..., Daemon], settings: dict[str, str], prod: servers.Database, receiver: Receiver
) -> None:
    import socket

    deaf = socket.create_server(("127.0.0.1", 0))
    try:
        rows = crowd(prod)
        channels = {
            "ALERT__DEAF__URL": f"json://127.0.0.1:{deaf.getsockname()[1]}/",
            "ALERT__DEAF__TIMEOUT": "2s",
            "ALERT__CLOSED__URL": "json://127.0.0.1:9/",
            "ALERT__WRONG__URL": "nonsense://x",
            "RULE__CHANNEL_FAILING__FOR": "1s",
        }
        daemon = run(settings | channels)
        rejected = daemon.wait_for("channel.rejected", seconds=30)
        assert rejected["channel"] == "wrong"
        eventually(told(receiver, "WARNING"), seconds=20, what="the good channel is told")
        for name in ("deaf", "closed", "wrong"):
            daemon.wait_for("channel.failed", channel=name, seconds=30)
        eventually(
            lambda: lines(receiver, "WARNING", "cannot be sent"),
            seconds=40,
            what="the good channel tells of the others",
        )
        job = rows.job("running", "1 hour")
        daemon.wait_for("jobs.reset")
        assert rows.of_job(job) == "waiting"
        assert daemon.end() == 0
    finally:
        deaf.close()


def test_pings_after_good_sweeps_only(
    run: Callable[..., Daemon],
    settings: dict[str, str],
    staging: servers.Database,
    own_server: servers.OwnServer,
    receiver: Receiver,
) -> None:
    base = f"http://127.0.0.1:{receiver.port}"
    pings = {"PING_URL": f"{base}/all", "ENV__PROD__PING_URL": f"{base}/prod"}
    daemon = run(settings | pings | {"ENV__STAGING__DSN": staging.dsn})
    for path in ("/all", "/prod"):
        eventually(lambda path=path: receiver.paths.count(path) > 1, seconds=20, what=path)
    own_server.halt()
    daemon.wait_for("environment.down", environment="staging")
    before = receiver.paths.count("/prod")
    eventually(lambda: receiver.paths.count("/prod") > before + 1, seconds=20, what="its own pings go on")
    quiet = receiver.paths.count("/all")
    eventually(lambda: receiver.paths.count("/prod") > before + 4, seconds=20, what="more of its own")
    assert receiver.paths.count("/all") == quiet
    own_server.launch()
    assert daemon.end() == 0


def test_nothing_of_it_is_imported_where_nothing_is_configured(
    run: Callable[..., Daemon], prod: servers.Database
) -> None:
    program = (
        "import sys, runpy\n"
        "sys.argv = ['queuewarden', 'run']\n"
        "try:\n    runpy.run_module('queuewarden', run_name='__main__')\nexcept SystemExit:\n    pass\n"
        "heavy = {'apprise', 'fastapi', 'uvicorn', 'prometheus_client', 'starlette', 'urllib.request'}\n"
        "print(sorted(heavy & sys.modules.keys()), file=sys.stderr)\n"
    )
    daemon = run(QUEUE | {"ENV__PROD__DSN": prod.dsn}, program=("-c", program))
    daemon.wait_for("environment.status", up=True, count=3)
    assert daemon.end() == 0
    assert daemon.lines[-1] == "[]\n"


def test_where_nobody_hears_or_sees_them_there_are_no_alerts(
    run: Callable[..., Daemon], settings: dict[str, str], prod: servers.Database, tmp_path: Path
) -> None:
    crowd(prod)
    heard = {name: value for name, value in settings.items() if name != "ALERT__OPS__URL"}
    file = tmp_path / "queuewarden.env"
    file.write_text(f"QUEUEWARDEN_ALERT__OPS__URL={settings['ALERT__OPS__URL']}\n")
    daemon = run(heard, "--config", str(file))
    daemon.wait_for("alert.fired", rule="crowd")
    file.write_text("")
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_for("config.reloaded")
    fired = len(daemon.events("alert.fired"))
    file.write_text("nonsense")  # which a rule is about, too
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_for("config.rejected")
    daemon.wait_for("environment.status", count=len(daemon.events("environment.status")) + 8)
    relax(prod)
    daemon.wait_for("environment.status", count=len(daemon.events("environment.status")) + 3)
    assert len(daemon.events("alert.fired")) == fired
    assert daemon.events("alert.resolved") == []


def test_in_a_maintenance_window_nobody_is_told_and_behind_it_everybody(
    run: Callable[..., Daemon], settings: dict[str, str], prod: servers.Database, receiver: Receiver
) -> None:
    prod.execute(schema.script())
    window = command(
        settings, "pause", "prod", "--cron", "* * * * *", "--for", "2h", "--reason", "an upgrade"
    )
    assert window.returncode == 0, window.stderr
    crowd(prod)
    daemon = run(settings)
    daemon.wait_for("environment.status", count=5)
    assert daemon.events("alert.fired", rule="crowd") == []
    assert command(settings, "resume", "prod", "--id", "1").returncode == 0
    daemon.wait_for("alert.fired", rule="crowd")
    eventually(told(receiver, "WARNING"), seconds=20, what="it is told behind the window")


def test_a_job_that_fails_in_a_critical_queue_is_told_at_once(
    run: Callable[..., Daemon], settings: dict[str, str], prod: servers.Database, receiver: Receiver
) -> None:
    rows = crowd(prod)
    daemon = run(settings | {"QUEUE__MAIL__CRITICAL": "true"})
    daemon.wait_for("environment.status", count=2)
    assert daemon.events("alert.fired", rule="critical_failures") == []
    rows.job("failed")
    fired = daemon.wait_for("alert.fired", rule="critical_failures")
    assert (fired["queue"], fired["severity"]) == ("mail", "critical")
    eventually(
        lambda: [one for one in receiver.titles if one.startswith("[critical]")],
        seconds=20,
        what="it is told",
    )
