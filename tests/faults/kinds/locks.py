"""Faults of somebody who holds locks and does not let go for a while."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from faults.kinds.kind import fault
from faults.kinds.workers import kill as kill_workers

if TYPE_CHECKING:
    from faults.world import World

_LIKELY = 0.7


@fault("rows locked")
def lock_rows(world: World) -> None:
    """Those that the guard would write: of a dead worker, of its jobs, of a lane."""
    kill_workers(world)
    world.scramble()
    with world.database.connect(application_name="campaign/holder", autocommit=False) as connection:
        for rows in (
            "jobs WHERE status = 'running'",
            "workers WHERE status <> 'offline' ORDER BY heartbeat LIMIT 2",
            "interviews WHERE status = 'waiting' AND lane < 3",
        ):
            if world.chance.random() < _LIKELY:
                connection.execute(f"SELECT FROM {rows} FOR UPDATE SKIP LOCKED".encode())
        time.sleep(world.chance.uniform(1, 3))
        connection.rollback()


@fault("table locked")
def lock_table(world: World) -> None:
    """ACCESS EXCLUSIVE, as a migration takes it, shorter than a worker may be silent."""
    kill_workers(world)
    world.scramble()
    table = world.chance.choice(["jobs", "workers", "interviews"])
    with world.database.connect(application_name="campaign/holder", autocommit=False) as connection:
        connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
        time.sleep(world.chance.uniform(0.3, 1.2))
        connection.rollback()
