"""The daemon as systemd sees it: readiness, status, watchdog, reload, exit codes, journal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from eventually import eventually

from .box import PATIENCE
from .conftest import SOCKETS, Service

if TYPE_CHECKING:
    from collections.abc import Iterator

    import servers

SCHEMA = "CREATE TABLE jobs (id bigint PRIMARY KEY, status text NOT NULL, started_at timestamptz)"
QUEUE = {
    "QUEUE__MAIL__JOBS__TABLE": "jobs",
    "QUEUE__MAIL__JOBS__ID": "id",
    "QUEUE__MAIL__JOBS__STATUS": "status",
    "QUEUE__MAIL__JOBS__STARTED_AT": "started_at",
    "QUEUE__MAIL__STATES__WAITING": "waiting",
    "QUEUE__MAIL__STATES__RUNNING": "running",
    "INTERVAL": "1s",
    # The server has only just started, and the grace after that lasts as long.
    "DEAD_AFTER": "1s",
}
NOWHERE = "host=/run/nowhere password=hunter2"


@pytest.fixture
def database(postgresql: servers.OwnServer) -> Iterator[servers.Database]:
    with postgresql.database(SCHEMA) as database:
        yield database


@pytest.fixture
def guarded(service: Service, database: servers.Database) -> Service:
    """One environment, whose DSN is a credential."""
    service.credential("prod", f"host={SOCKETS} dbname={database.name} user=postgres")
    service.configure(**QUEUE)
    return service


def status_of(database: servers.Database, job: int) -> str:
    return str(database.value("SELECT status FROM jobs WHERE id = %s", [job]))


def insert_running(database: servers.Database, job: int, age: str) -> None:
    database.execute("INSERT INTO jobs VALUES (%s, 'running', now() - %s::interval)", [job, age])


def test_it_is_ready_with_a_credential_and_tells_its_status(guarded: Service) -> None:
    guarded.start()
    assert guarded.show("ActiveState") == "active"
    eventually(lambda: guarded.show("StatusText").startswith("1/1 up"), what="STATUS tells that it is up")
    guarded.wait_for("environment.up", "QW_ENVIRONMENT=prod")


def test_anyone_may_ask_for_the_status(guarded: Service) -> None:
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    guarded.start()
    eventually(lambda: guarded.show("StatusText").startswith("1/1 up"), what="a sweep has ended")
    asked = guarded.box.run(*nobody, "queuewarden", "status")
    assert "prod" in asked.stdout
    refused = guarded.box.run(*nobody, "cat", "/etc/queuewarden/queuewarden.env", check=False)
    assert "Permission denied" in refused.stderr


def test_it_ends_in_peace(guarded: Service) -> None:
    guarded.start()
    guarded.box.run("systemctl", "stop", "queuewarden")
    assert guarded.show("Result") == "success"
    assert guarded.show("ExecMainStatus") == "0"


def test_a_database_that_is_down_is_a_state_and_no_failure(service: Service) -> None:
    service.credential("prod", NOWHERE)
    service.configure(**QUEUE)
    service.start()
    eventually(lambda: service.show("StatusText").startswith("0/1 up"), what="STATUS tells that it is down")
    assert "prod DOWN" in service.show("StatusText")
    assert "hunter2" not in service.show("StatusText")


def test_the_journal_has_priorities_and_fields(service: Service, database: servers.Database) -> None:
    service.credential("staging", f"host={SOCKETS} dbname={database.name} user=postgres")
    service.credential("prod", NOWHERE)
    service.configure(**QUEUE)
    service.start()
    service.wait_for("environment.up", "QW_ENVIRONMENT=staging")
    down = service.wait_for("environment.down", "--priority=warning")
    assert (down["PRIORITY"], down["QW_ENVIRONMENT"]) == ("3", "prod")
    assert {int(entry["PRIORITY"]) for entry in service.journal("--priority=warning")} <= {0, 1, 2, 3, 4}
    assert {entry["QW_ENVIRONMENT"] for entry in service.journal("QW_ENVIRONMENT=prod")} == {"prod"}
    everything = service.journal()
    assert any(str(entry["MESSAGE"]).startswith("daemon.started") for entry in everything)
    assert not any("hunter2" in str(value) for entry in everything for value in entry.values())


def test_a_hung_daemon_is_killed_by_the_watchdog_and_comes_back(guarded: Service) -> None:
    guarded.drop_in("WatchdogSec=3", "RestartSec=1")
    guarded.start()
    hung = guarded.show("MainPID")
    guarded.box.run("systemctl", "kill", "--signal=STOP", "--kill-whom=main", "queuewarden")
    eventually(lambda: guarded.show("NRestarts") == "1", what="the watchdog has restarted it")
    eventually(lambda: guarded.show("ActiveState") == "active", what="it is back")
    assert guarded.show("MainPID") not in {hung, "0"}
    said = [str(entry["MESSAGE"]) for entry in guarded.journal()]
    assert any("Watchdog timeout" in line for line in said)
    assert "Fatal Python error: Aborted" in said, "the stacks of the hung daemon are in the journal"
    eventually(lambda: guarded.show("StatusText").startswith("1/1 up"), what="it guards again")


def test_the_watchdog_is_fed_in_peace(guarded: Service) -> None:
    guarded.drop_in("WatchdogSec=4")  # long enough for a pause of the machine
    guarded.start()
    later = int(guarded.show("WatchdogTimestampMonotonic")) + 6_000_000
    eventually(
        lambda: int(guarded.show("WatchdogTimestampMonotonic")) > later,
        seconds=PATIENCE,
        what="six seconds of pings",
    )
    assert guarded.show("NRestarts") == "0"


@pytest.mark.parametrize(
    "configuration",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"ENV__PROD__DSN": NOWHERE, "STUCK_AFTER": "soon"}, id="a bad value"),
    ],
)
def test_a_wrong_configuration_is_not_tried_again(service: Service, configuration: dict[str, str]) -> None:
    service.drop_in("RestartSec=100ms")
    service.configure(**configuration)
    assert service.start(check=False).returncode != 0
    # A restart would be announced by "activating (auto-restart)".
    assert (service.show("ActiveState"), service.show("SubState")) == ("failed", "failed")
    assert service.show("ExecMainStatus") == "78"
    assert service.show("NRestarts") == "0"


def test_a_killed_daemon_is_started_again(guarded: Service) -> None:
    guarded.drop_in("RestartSec=100ms")
    guarded.start()
    guarded.box.run("systemctl", "kill", "--signal=KILL", "--kill-whom=main", "queuewarden")
    eventually(lambda: guarded.show("NRestarts") == "1", what="it was restarted")
    eventually(lambda: guarded.show("StatusText").startswith("1/1 up"), what="it guards again")


def test_a_reload_changes_a_threshold_and_a_bad_file_changes_nothing(
    guarded: Service, database: servers.Database
) -> None:
    guarded.configure(**QUEUE, STUCK_AFTER="1h")
    guarded.start()
    running = guarded.show("MainPID")

    guarded.configure(**QUEUE, STUCK_AFTER="soon")
    refused = guarded.box.run("systemctl", "reload", "queuewarden", check=False)
    assert refused.returncode != 0
    assert any("STUCK_AFTER" in str(entry["MESSAGE"]) for entry in guarded.journal())
    insert_running(database, 1, "10 minutes")
    insert_running(database, 2, "2 hours")
    eventually(lambda: status_of(database, 2) == "waiting", what="a job stuck by the old threshold is reset")
    assert status_of(database, 1) == "running"

    guarded.configure(**QUEUE, STUCK_AFTER="3m")
    guarded.box.run("systemctl", "reload", "queuewarden")
    eventually(lambda: status_of(database, 1) == "waiting", what="a job stuck by the new threshold is reset")
    guarded.wait_for("config.reloaded")
    assert guarded.show("MainPID") == running
    assert guarded.show("ActiveState") == "active"
