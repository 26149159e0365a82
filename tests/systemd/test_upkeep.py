"""Upkeep beside the guard: by a timer, in a unit with limits of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from eventually import eventually
from nightly import AT

from queuewarden.engine.ledger import schema

from .conftest import OF_UPKEEP, PATIENCE, SOCKETS, UPKEEP, UPKEEP_UNITS
from .test_service import QUEUE, SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterator

    import servers

    from .box import Box
    from .conftest import Service

BACKUPS = f"/var/lib/{OF_UPKEEP}"
MISSED = (
    "INSERT INTO queuewarden.upkeep_runs (environment, task, trigger, actor, slot, schedule, alive_until,"
    " finished_at, result) VALUES ('prod', 'backup', 'schedule', 'before', now() - interval '2 days',"
    f" '{AT} UTC', now(), now(), 'done')"
)
RUNS = "SELECT task, result, summary FROM queuewarden.upkeep_runs WHERE actor <> 'before' ORDER BY number"


@pytest.fixture
def database(postgresql: servers.OwnServer) -> Iterator[servers.Database]:
    with postgresql.database(SCHEMA + ";" + schema.script()) as database:
        yield database


@pytest.fixture
def nightly(service: Service, database: servers.Database) -> Service:
    """A backup each night, which was missed; nothing waits for its jitter."""
    service.credential("prod", f"host={SOCKETS} dbname={database.name} user=postgres")
    service.configure(**QUEUE, BACKUP_DIR=BACKUPS, UPKEEP__BACKUP=AT, UPKEEP__JITTER="0")
    database.execute(MISSED)
    return service


def drop_in(box: Box, unit: str, *lines: str) -> None:
    box.write(f"{unit}.d/test.conf", "\n".join(lines))
    box.run("systemctl", "daemon-reload")


def journal(box: Box) -> str:
    box.run("journalctl", "--sync")
    return box.run("journalctl", f"--unit={UPKEEP}", "--no-pager", "--output=cat").stdout


def test_what_is_due_is_done_once_and_told_in_the_journal(
    nightly: Service, database: servers.Database
) -> None:
    for _ in range(2):
        nightly.box.run("systemctl", "start", UPKEEP, timeout=PATIENCE)
    assert [run[:2] for run in database.rows(RUNS)] == [("backup", "done")], journal(nightly.box)
    assert nightly.box.run("find", f"{BACKUPS}/prod/", "-name", "*dump*").stdout
    assert "upkeep.done" in journal(nightly.box)
    shown = nightly.box.run("stat", "-L", "-c", "%a %U", BACKUPS).stdout.split()
    assert shown[0] == "700", "nobody else reads a copy of the database"


def test_the_timer_has_it_done(nightly: Service, database: servers.Database) -> None:
    drop_in(nightly.box, UPKEEP_UNITS[1], "[Timer]", "OnCalendar=*:*:0/1", "AccuracySec=100ms")
    nightly.box.run("systemctl", "enable", "--now", "--quiet", f"{UPKEEP}.timer")
    eventually(lambda: [run[1] for run in database.rows(RUNS)] == ["done"], seconds=PATIENCE)


def test_what_is_too_much_for_it_leaves_the_guard_alone(nightly: Service, database: servers.Database) -> None:
    drop_in(
        nightly.box, UPKEEP_UNITS[0], "[Service]", "MemoryHigh=infinity", "MemoryMax=6M", "MemorySwapMax=0"
    )
    nightly.start()
    guard = nightly.show("MainPID")
    failed = nightly.box.run("systemctl", "start", UPKEEP, check=False)
    if failed.returncode == 0:
        pytest.skip("no memory controller in this box: nothing can be too much")
    result = nightly.box.run("systemctl", "show", UPKEEP, "--property=Result", "--value").stdout.strip()
    assert result in {"oom-kill", "signal"}
    assert (nightly.show("MainPID"), nightly.show("ActiveState")) == (guard, "active")
    assert "backup" not in {run[0] for run in database.rows(RUNS) if run[1] == "done"}


def test_a_database_that_is_not_there_fails_the_unit(service: Service) -> None:
    dsn = "host=/run/nowhere password=hunter2"
    service.configure(ENV__PROD__DSN=dsn, BACKUP_DIR=BACKUPS, UPKEEP__BACKUP="@daily")
    assert service.box.run("systemctl", "start", UPKEEP, check=False).returncode != 0
    assert "hunter2" not in journal(service.box)
    assert "no server on that socket" in journal(service.box)
