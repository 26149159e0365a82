"""Several daemons at one database: exactly one repairs; another takes over when it dies, stops or sleeps."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING, Any

import kit
import ledgers
import poolers
import pytest
from daemons import QUEUE, Daemon
from eventually import eventually
from psycopg.conninfo import make_conninfo

from queuewarden.engine.ledger import schema

if TYPE_CHECKING:
    from collections.abc import Callable

    import servers

pytestmark = pytest.mark.slow

TTL, INTERVAL = 5.0, 1.0
NOISE = 3.5
"""Seconds for a busy machine; with the others, less than a lease that runs out twice would take."""
SETTINGS = QUEUE | {
    # Renewed every third of it: a daemon that stands still for two seconds does not lose it.
    "LEASE_TTL": "5s",
    "INTERVAL": "1s",
    "BRAKE_ROWS": "1000",
    "STUCK_AFTER": "30s",
}


@pytest.fixture
def shared(databases: Callable[..., servers.Database]) -> servers.Database:
    database = databases(ledgers.SCHEMA)
    database.execute("INSERT INTO workers (id, heartbeat) VALUES ('alive', now() + interval '1 h')")
    return database


def start(run: Callable[..., Daemon], dsn: str, name: str = "prod", **more: str) -> Daemon:
    return run(SETTINGS | {f"ENV__{name.upper()}__DSN": dsn} | more)


def stick(database: servers.Database) -> int:
    """A job that hangs."""
    return int(
        database.value(
            "INSERT INTO jobs (status, started_at) VALUES ('running', now() - interval '1 h') RETURNING id"
        )
    )


def mended(database: servers.Database, job: int) -> bool:
    return bool(database.value("SELECT status FROM jobs WHERE id = %s", [job]) == "waiting")


def lease(database: servers.Database) -> tuple[Any, ...]:
    (row,) = database.rows("SELECT holder, epoch, until > clock_timestamp() FROM queuewarden.lease")
    return row


def actors(database: servers.Database) -> dict[int, set[str]]:
    """Who repaired under each epoch."""
    found: dict[int, set[str]] = {}
    for epoch, actor in database.rows("SELECT epoch, actor FROM queuewarden.changes"):
        found.setdefault(epoch, set()).add(actor)
    return found


def pair(run: Callable[..., Daemon], first: str, second: str, name: str = "prod") -> tuple[Daemon, Daemon]:
    """A daemon that has the lease, and one that observes."""
    holder = start(run, first)
    holder.wait_for("lease.gained")
    other = start(run, second, name)
    other.wait_for("environment.up")
    return holder, other


def test_one_repairs_and_after_kill_the_other_takes_over_within_ttl_and_interval(
    run: Callable[..., Daemon], shared: servers.Database
) -> None:
    holder, other = pair(run, shared.dsn, shared.dsn)
    job = stick(shared)
    eventually(lambda: mended(shared, job))
    assert not other.events("jobs.reset")
    assert not other.events("lease.gained")
    killed = time.monotonic()
    holder.end(signal.SIGKILL)
    job = stick(shared)
    other.wait_for("lease.gained", epoch=2)
    eventually(lambda: mended(shared, job))
    assert time.monotonic() - killed < TTL + INTERVAL + NOISE
    assert [len(names) for names in actors(shared).values()] == [1, 1]
    assert other.end() == 0


def test_after_a_clean_stop_the_other_takes_over_at_once(
    run: Callable[..., Daemon], shared: servers.Database
) -> None:
    holder, other = pair(run, shared.dsn, shared.dsn)
    job = stick(shared)
    eventually(lambda: mended(shared, job))
    assert holder.end() == 0
    assert lease(shared)[0] is None or lease(shared)[1] == 2
    stopped = time.monotonic()
    job = stick(shared)
    other.wait_for("lease.gained")
    assert time.monotonic() - stopped < TTL - 1, "it looks every second, whatever time the lease had left"
    eventually(lambda: mended(shared, job))
    assert other.end() == 0
    assert lease(shared)[0] is None


def test_a_holder_that_was_suspended_and_wakes_up_late_writes_nothing(
    run: Callable[..., Daemon], shared: servers.Database
) -> None:
    holder, other = pair(run, shared.dsn, shared.dsn)
    name, epoch, _ = lease(shared)
    holder.process.send_signal(signal.SIGSTOP)
    other.wait_for("lease.gained")
    shared.execute("UPDATE queuewarden.lease SET until = until")
    assert lease(shared)[0] != name
    jobs = []
    holder.process.send_signal(signal.SIGCONT)
    for _ in range(6):
        jobs.append(stick(shared))
        time.sleep(0.5)
    for job in jobs:
        eventually(lambda job=job: mended(shared, job))
    holder.wait_for("lease.lost")
    assert actors(shared) == {epoch + 1: {lease(shared)[0]}}, "nothing under the old epoch"
    assert not holder.events("jobs.reset")


def test_two_names_for_one_database_are_one(run: Callable[..., Daemon], shared: servers.Database) -> None:
    holder, other = pair(run, shared.dsn, shared.dsn, name="live")
    job = stick(shared)
    eventually(lambda: mended(shared, job))
    assert not other.events("lease.gained")
    assert holder.end() == 0
    other.wait_for("lease.gained", environment="live")


def test_two_names_in_one_daemon_repair_a_row_once(
    run: Callable[..., Daemon], shared: servers.Database
) -> None:
    daemon = start(run, shared.dsn, ENV__LIVE__DSN=shared.dsn)
    daemon.wait_for("lease.gained", count=2)
    jobs = [stick(shared) for _ in range(5)]
    for job in jobs:
        eventually(lambda job=job: mended(shared, job))
    assert shared.value("SELECT sum(last_id - first_id + 1) FROM queuewarden.changes") == 5
    assert len(actors(shared)) == 1
    assert daemon.end() == 0


def test_three_daemons_through_a_pooler_are_one_actor_an_epoch(
    run: Callable[..., Daemon], shared: servers.Database
) -> None:
    if poolers.program() is None:
        pytest.skip(poolers.ABSENT)
    with shared.connect() as direct:
        host, port, user = direct.info.host, direct.info.port, direct.info.user
    with poolers.pooler(host, port, user, size=2) as pooled:
        dsn = make_conninfo(pooled, dbname=shared.name)
        daemons = [start(run, dsn) for _ in range(3)]
        for daemon in daemons:
            daemon.wait_for("environment.up")
        jobs: list[int] = []

        def at_work() -> bool:
            jobs.append(stick(shared))
            time.sleep(0.3)
            return len(jobs) > 10 and mended(shared, jobs[0])

        eventually(at_work, seconds=30, what="one of them repairs")
        (holder,) = eventually(lambda: [one for one in daemons if one.events("lease.gained")])
        holder.end(signal.SIGKILL)
        jobs.append(stick(shared))
        for job in jobs:
            eventually(lambda job=job: mended(shared, job))
        told = actors(shared)
        assert set(told) == {1, 2}
        assert [len(names) for names in told.values()] == [1, 1]
        assert told[1] != told[2]
        for daemon in daemons:
            daemon.close()


def test_a_lease_that_cannot_be_renewed_ends_repairs(
    run: Callable[..., Daemon], shared: servers.Database
) -> None:
    holder = start(run, shared.dsn)
    holder.wait_for("lease.gained")
    with shared.connect(autocommit=False) as other:
        other.execute("SELECT FROM queuewarden.lease FOR UPDATE")
        holder.wait_for("lease.lost")
        job = stick(shared)
        time.sleep(2 * INTERVAL)
        assert not mended(shared, job)
        other.rollback()
    holder.wait_for("lease.gained", epoch=2)
    eventually(lambda: mended(shared, job))
    assert not holder.events("environment.down")


def test_a_schema_that_is_installed_or_dropped_meanwhile_is_used_from_the_next_sweep_on(
    run: Callable[..., Daemon], databases: Callable[..., servers.Database]
) -> None:
    database = databases(kit.SCHEMA)
    daemon = start(run, database.dsn)
    job = stick(database)
    eventually(lambda: mended(database, job))
    assert not daemon.events("lease.gained")
    database.execute(schema.script())
    daemon.wait_for("lease.gained")
    job = stick(database)
    eventually(lambda: mended(database, job))
    assert database.rows("SELECT keys, epoch FROM queuewarden.changes") == [([[str(job)]], 1)]
    database.execute("DROP SCHEMA queuewarden CASCADE")
    job = stick(database)
    eventually(lambda: mended(database, job))
    assert not daemon.events("environment.down")
    assert not daemon.events("guard.failed")
    assert daemon.end() == 0


def test_a_schema_that_is_too_new_is_an_anomaly_and_nothing_is_repaired(
    run: Callable[..., Daemon], shared: servers.Database
) -> None:
    shared.execute("UPDATE queuewarden.schema_version SET version = 9")
    job = stick(shared)
    daemon = start(run, shared.dsn)
    raised = daemon.wait_for("anomaly.raised", kind="drift")
    assert "schema queuewarden has version 9" in str(raised)
    time.sleep(2 * INTERVAL)
    assert not mended(shared, job)
    shared.execute("UPDATE queuewarden.schema_version SET version = 3")
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_for("anomaly.cleared", kind="drift")
    eventually(lambda: mended(shared, job))


def test_a_pause_holds_all_daemons_at_once_survives_restarts_and_a_row_put_back_is_left(
    run: Callable[..., Daemon], shared: servers.Database
) -> None:
    holder, other = pair(run, shared.dsn, shared.dsn)
    job = stick(shared)
    eventually(lambda: mended(shared, job))
    assert [one.refused for one in ledgers.take_back(shared, 1)] == [None]
    shared.execute(
        "INSERT INTO queuewarden.pauses (environment, reason, set_by, until)"
        " VALUES ('prod', 'migrating', 'anna', now() + interval '1 h')"
    )
    held = stick(shared)
    brake = holder.wait_for("brake.on", kind="pause")
    assert brake["why"] == "migrating (by anna)"
    other.wait_for("brake.on", kind="pause")
    holder.end()
    other.wait_for("lease.gained")
    again = start(run, shared.dsn)
    again.wait_for("brake.on", kind="pause")
    assert not mended(shared, held)
    shared.execute("UPDATE queuewarden.pauses SET ended_at = now()")
    eventually(lambda: mended(shared, held))
    assert not mended(shared, job), "it was put back"
    other.wait_for("brake.off", kind="pause")
