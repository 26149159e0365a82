"""The watchdog: what is wrong with the daemon ends in a restart; what is wrong around it does not."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
import pytest
import servers
from daemons import QUEUE
from disks import empty, fill, small_disk
from eventually import eventually

from .box import PATIENCE
from .conftest import SOCKETS, Service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")
pytestmark = pytest.mark.slow

SABOTAGE = Path(__file__).with_name("sabotage.py")
FAULTS = "/srv/faults"
WATCHDOG = 4.0
"""Seconds; a ping comes three times as often, so that a pause of the machine does not end the daemon."""
LONG = 3.0 + 3.0 + WATCHDOG
"""Seconds within which a daemon that has lost its way is restarted: a step, the slack, the watchdog."""

SETTINGS = {name: value for name, value in QUEUE.items() if name != "LOG_FORMAT"}
SETTINGS |= {"STATEMENT_TIMEOUT": "1s", "CONNECT_TIMEOUT": "2s"}
SCHEMA = """
CREATE TABLE workers (id text PRIMARY KEY, status text NOT NULL, heartbeat timestamptz NOT NULL);
CREATE TABLE jobs (
    id bigserial PRIMARY KEY, status text NOT NULL, worker text, started_at timestamptz, label text);
INSERT INTO workers VALUES ('w', 'idle', now() + interval '1 h');
"""
RUNNING = """
INSERT INTO jobs (status, worker, started_at, label)
SELECT 'running', 'w', now(), repeat('x', 1500) FROM generate_series(1, 20)
"""


@pytest.fixture
def watched(service: Service) -> Iterator[Service]:
    """A service with a short watchdog, to which faults can be done."""
    service.box.write(f"{FAULTS}/sitecustomize.py", SABOTAGE.read_text())
    service.drop_in(f"WatchdogSec={WATCHDOG}", "RestartSec=100ms", f"Environment=PYTHONPATH={FAULTS}")
    service.configure(**SETTINGS)
    yield service
    service.box.run("rm", "-r", FAULTS)


@pytest.fixture
def prod(postgresql: servers.OwnServer) -> Iterator[servers.Database]:
    with postgresql.database(SCHEMA) as database:
        yield database


@pytest.fixture
def staging(postgresql: servers.OwnServer) -> Iterator[servers.Database]:
    with postgresql.database(SCHEMA) as database:
        yield database


def until(condition: Callable[[], T], what: str) -> T:
    """As `eventually`, with the patience that a box takes."""
    return eventually(condition, seconds=PATIENCE, what=what)


def start(service: Service, **environments: servers.Database) -> str:
    """Start, with an environment for each database, ledger and all; the process, once all are guarded."""
    for name, database in environments.items():
        service.credential(name, f"host={SOCKETS} dbname={database.name} user=postgres")
    service.box.run("queuewarden", "install")
    service.start()
    all_up = f"{len(environments)}/{len(environments)} up"
    until(lambda: service.show("StatusText").startswith(all_up), all_up)
    return service.show("MainPID")


def told(service: Service, event: str, **fields: str) -> list[dict[str, Any]]:
    """The journal's entries of an event."""
    wanted = [f"QW_{name.upper()}={value}" for name, value in fields.items()]
    return service.journal(f"QW_EVENT={event}", *wanted)


def until_told(service: Service, event: str, *, count: int = 1, **fields: str) -> dict[str, Any]:
    """The newest entry of an event, once there are so many."""

    def enough() -> list[dict[str, Any]]:
        entries = told(service, event, **fields)
        return entries if len(entries) >= count else []

    return until(enough, f"{count} {event} {fields}")[-1]


def assert_restarted(service: Service, victim: str) -> list[str]:
    """The watchdog has ended the process, and another one guards; what the journal says."""
    until(lambda: service.show("NRestarts") == "1", "the watchdog has restarted it")
    until(lambda: service.show("StatusText").startswith("2/2 up"), "it guards again")
    assert service.show("NRestarts") == "1"
    assert service.show("MainPID") not in {victim, "0"}
    said = [str(entry["MESSAGE"]) for entry in service.journal()]
    assert sum("Watchdog timeout" in line for line in said) == 1
    assert "Fatal Python error: Aborted" in said, "the stacks are in the journal"
    return said


def assert_fed(service: Service, process: str, seconds: float = LONG) -> None:
    """So long a time passes in which the watchdog is fed; nobody restarts anything."""
    enough = int(service.show("WatchdogTimestampMonotonic")) + seconds * 1_000_000
    until(lambda: int(service.show("WatchdogTimestampMonotonic")) > enough, "the watchdog is fed")
    assert_not_restarted(service, process)


def assert_not_restarted(service: Service, process: str) -> None:
    assert (service.show("NRestarts"), service.show("MainPID")) == ("0", process)
    assert told(service, "watchdog.withheld") == []
    assert not any("Watchdog timeout" in str(entry["MESSAGE"]) for entry in service.journal())


def test_a_blocked_event_loop_ends_in_a_restart(
    watched: Service, prod: servers.Database, staging: servers.Database
) -> None:
    victim = start(watched, prod=prod, staging=staging)
    watched.box.write(f"{FAULTS}/prod", f"block {victim}")
    said = assert_restarted(watched, victim)
    assert any(f'"{FAULTS}/sitecustomize.py"' in line for line in said), "the stack names who blocked it"
    assert told(watched, "watchdog.withheld") == [], "nobody was left who could have said so"


def test_one_environment_that_hangs_ends_in_a_restart(
    watched: Service, prod: servers.Database, staging: servers.Database
) -> None:
    victim = start(watched, prod=prod, staging=staging)
    watched.box.write(f"{FAULTS}/prod", f"hang {victim}")
    withheld = until_told(watched, "watchdog.withheld")
    assert withheld["QW_LATE"] == '["prod"]', "the other one goes on, and is not blamed"
    assert_restarted(watched, victim)


def test_a_frozen_server_is_no_reason_to_restart(
    watched: Service, prod: servers.Database, postgresql: servers.OwnServer
) -> None:
    process = start(watched, prod=prod)
    postgresql.freeze()
    try:
        down = until_told(watched, "environment.down", environment="prod")
        assert down["QW_REASON"] == "no answer within 3 s"
        assert_fed(watched, process)
    finally:
        postgresql.thaw()
    until_told(watched, "environment.up", count=2, environment="prod")
    assert_not_restarted(watched, process)
    assert len(told(watched, "environment.down")) == 1


def test_a_server_that_refuses_connections_is_no_reason_to_restart(
    watched: Service, prod: servers.Database, postgresql: servers.OwnServer
) -> None:
    process = start(watched, prod=prod)
    postgresql.halt()
    try:
        until_told(watched, "environment.down", environment="prod")
        assert_fed(watched, process)
    finally:
        postgresql.launch()
    until_told(watched, "environment.up", count=2, environment="prod")
    assert_not_restarted(watched, process)


@contextlib.contextmanager
def database_on(disk: Path, server: servers.OwnServer) -> Iterator[servers.Database]:
    """A database that lies on a disk of its own, catalog and all."""
    with psycopg.connect(server.dsn(), autocommit=True) as maintenance:
        maintenance.execute(f"CREATE TABLESPACE small LOCATION '{disk}'".encode())
        maintenance.execute("CREATE DATABASE small TEMPLATE template0 TABLESPACE small")
        try:
            yield servers.Database(server.dsn("small"), "small")
        finally:
            server.drop("small")
            maintenance.execute("DROP TABLESPACE small")


def test_a_full_disk_of_the_server_is_no_reason_to_restart(
    watched: Service, postgresql: servers.OwnServer
) -> None:
    watched.configure(**SETTINGS, STUCK_AFTER="8s")
    folder, owner = postgresql.server.directory / "small", postgresql.server.data.stat()
    with small_disk(folder, "20m", owner) as disk, database_on(disk, postgresql) as prod:
        prod.execute(SCHEMA)
        process = start(watched, prod=prod)
        # They are stuck only once there is no room for the mended rows beside them.
        prod.execute(RUNNING)
        fill(disk)
        failed = until_told(watched, "check.failed", environment="prod")
        assert (failed["PRIORITY"], failed["QW_CHECK"], failed["QW_SQLSTATE"]) == ("3", "stuck_jobs", "53100")
        assert "No space left on device" in failed["QW_MESSAGE"]
        assert_fed(watched, process, seconds=WATCHDOG + 2)
        assert len(told(watched, "check.failed")) == 1, "told once, not with each sweep"
        assert told(watched, "jobs.reset") == []

        empty(disk)
        until_told(watched, "jobs.reset", environment="prod")
        assert_not_restarted(watched, process)
        watched.box.run("systemctl", "stop", "queuewarden")


def test_a_full_runtime_directory_is_no_reason_to_restart(watched: Service, prod: servers.Database) -> None:
    box, folder = watched.box, "/run/queuewarden"
    box.run("mkdir", folder)
    box.run("mount", "-t", "tmpfs", "-o", "size=16k,mode=755", "tmpfs", folder)
    try:
        process = start(watched, prod=prod)
        box.run("sh", "-c", f"cat /dev/zero >{folder}/filler", check=False)
        failed = until_told(watched, "status_file.failed")
        assert failed["PRIORITY"] == "4"
        assert failed["QW_PATH"] == f"{folder}/status.json"
        assert failed["QW_REASON"] == "No space left on device"
        assert_fed(watched, process, seconds=WATCHDOG + 2)
        assert len(told(watched, "status_file.failed")) == 1, "told once, not with each sweep"
        known = box.run("cat", f"{folder}/status.json").stdout
        assert json.loads(known)["pid"] == int(process), "the last one that could be written is whole"
        whole = ["filler", "status.json"]
        until(lambda: box.run("ls", "-A", folder).stdout.split() == whole, "no half of a file is left")

        box.run("rm", f"{folder}/filler")
        until(lambda: box.run("cat", f"{folder}/status.json").stdout != known, "it is written again")
        assert_not_restarted(watched, process)
        box.run("systemctl", "stop", "queuewarden")
    finally:
        box.run("umount", "--lazy", folder)
