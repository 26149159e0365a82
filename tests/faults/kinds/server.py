"""Faults of the server."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import disks
import psycopg
import pytest
from eventually import eventually
from faults.kinds.kind import fault
from faults.kinds.workers import kill as kill_workers

if TYPE_CHECKING:
    from faults.world import World


@fault("server killed")
def crash(world: World) -> None:
    world.scramble()
    world.cluster.crash()


@fault("server restarted, fast")
def restart_fast(world: World) -> None:
    kill_workers(world)
    world.cluster.restart("fast")


@fault("server restarted, immediate")
def restart_immediate(world: World) -> None:
    world.scramble()
    kill_workers(world)
    world.cluster.restart("immediate")


@fault("failover to a standby", lacking=lambda w: w.cluster.lacking())
def fail_over(world: World) -> None:
    world.scramble()
    kill_workers(world)
    world.cluster.fail_over()


@fault("statements cancelled")
def cancel(world: World) -> None:
    """Of everybody, again and again."""
    world.scramble()
    kill_workers(world)
    for _ in range(150):
        world.execute(
            "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name LIKE ANY"
            " (ARRAY['shop/%', 'queuewarden/%']) AND state <> 'idle'"
        )
        time.sleep(0.01)


@fault("daemons' backends terminated")
def terminate(world: World) -> None:
    world.scramble()
    kill_workers(world)
    for _ in range(world.chance.randint(1, 5)):
        world.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name LIKE 'queuewarden/%'"
        )
        time.sleep(world.chance.uniform(0.05, 0.5))


def _no_small_disk(world: World) -> str | None:
    try:
        with disks.small_disk(world.folder / "probe", "1m", world.cluster.primary.server.data.stat()):
            return None
    except pytest.skip.Exception as reason:
        return str(reason)


@fault("disk full", lacking=_no_small_disk)
def fill_disk(world: World) -> None:
    """There is no room for the letters that the guard would put back, until somebody makes some."""
    server, before = world.cluster.primary.server, _refusals(world)
    with disks.small_disk(server.directory / "small", "2m", server.data.stat()) as small:
        world.execute(f"CREATE TABLESPACE small LOCATION '{small}'")
        world.execute("ALTER TABLE letters SET TABLESPACE small")
        with world.connect() as connection:
            connection.execute(
                "INSERT INTO letters (status, started_at, text) SELECT 'running', now(), repeat('x', 1500)"
                " FROM generate_series(1, 5)"
            )
            connection.execute("CREATE TABLE filler (text text) TABLESPACE small")
            with contextlib.suppress(psycopg.errors.DiskFull):
                while True:
                    connection.execute("INSERT INTO filler SELECT repeat('y', 1900)")
        eventually(lambda: _refusals(world) > before, what="the guard meets the full disk")
        world.execute("DROP TABLE filler")
        eventually(
            lambda: world.database.value("SELECT bool_and(status = 'waiting') FROM letters"),
            what="letters are put back once there is room",
        )
        world.execute("TRUNCATE letters")
        world.execute("ALTER TABLE letters SET TABLESPACE pg_default")
        world.execute("DROP TABLESPACE small")


def _refusals(world: World) -> int:
    """How often a daemon has been told that there is no room."""
    return sum('"53100"' in line for line in world.guards.said())
