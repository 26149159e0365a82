"""Faults of the application's workers."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

from faults.kinds.kind import fault
from faults.schema import DEAD_AFTER, INTERVAL

if TYPE_CHECKING:
    from faults.world import World

HOURS = 3600.0


@fault("worker killed")
def kill(world: World) -> None:
    for worker in world.crew.some(world.chance, world.chance.randint(1, 2)):
        worker.kill()


@fault("worker suspended, and back")
def suspend(world: World) -> None:
    """Long enough to be declared dead: it wakes up as a zombie, whose job may be another's by now."""
    (worker,) = world.crew.some(world.chance)
    worker.signal(signal.SIGSTOP)
    time.sleep(DEAD_AFTER + world.chance.uniform(INTERVAL / 2, 3 * INTERVAL))
    worker.signal(signal.SIGCONT)


@fault("worker suspended for a moment")
def blink(world: World) -> None:
    """Not long enough to be declared dead: nothing may be taken from it."""
    (worker,) = world.crew.some(world.chance)
    worker.signal(signal.SIGSTOP)
    time.sleep(world.chance.uniform(0.3, 0.9) * DEAD_AFTER)
    worker.signal(signal.SIGCONT)


@fault("worker's clock steps")
def step(world: World) -> None:
    """It beats by its own clock for a while, and that is hours off: ahead or behind."""
    (worker,) = world.crew.some(world.chance)
    lasts = world.chance.uniform(1, 2)
    worker.order(f"clock {world.chance.choice([-1, 1]) * world.chance.uniform(1, 30) * HOURS} {lasts}")
    time.sleep(lasts)


@fault("workers' backends terminated")
def terminate(world: World) -> None:
    world.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'shop/%'"
    )
