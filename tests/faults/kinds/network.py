"""Faults of the line between a daemon and the server."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from faults.kinds.daemons import only
from faults.kinds.kind import fault
from faults.kinds.workers import kill as kill_workers

if TYPE_CHECKING:
    from faults.link import Ending
    from faults.world import World


@fault("connection cut")
def cut(world: World) -> None:
    world.scramble()
    kill_workers(world)
    for _ in range(world.chance.randint(1, 4)):
        world.guards.links[_line(world)].cut()
        time.sleep(world.chance.uniform(0.05, 0.5))


@fault("connection slow", freezes=True)
def slow(world: World) -> None:
    """Every message takes its time; the repair is slow, but it is one."""
    world.guards.links[_line(world)].delay = world.chance.uniform(0.02, 0.06)
    world.scramble()
    kill_workers(world)
    time.sleep(2.5)


@fault("connection half open", freezes=True)
def half_open(world: World) -> None:
    """Everything is swallowed, in both directions, and nobody is told."""
    world.scramble()
    world.guards.links[_line(world)].deafen()
    kill_workers(world)
    time.sleep(world.chance.uniform(1, 3))


@fault("connection half open amid a repair", freezes=True)
def half_open_amid(world: World) -> None:
    """The changes are made, their COMMIT never arrives, and nobody is told."""
    _ambushed(world, "deaf")


@fault("connection cut before COMMIT arrives")
def cut_before(world: World) -> None:
    _ambushed(world, "before")


@fault("connection cut after COMMIT, before its answer")
def cut_after(world: World) -> None:
    """The outcome is unknown to the daemon, which must read it again."""
    _ambushed(world, "after")


@fault("a pooler in transaction mode alone leads to the server", lacking=lambda w: w.guards.lacking)
def pooled(world: World) -> None:
    """The daemon that repairs has no other way than through the pooler."""
    world.guards.stop("alpha")
    world.scramble()
    kill_workers(world)
    time.sleep(world.chance.uniform(1, 2))
    world.guards.links["beta"].cut()


def _ambushed(world: World, ending: Ending) -> None:
    ambush = world.guards.links[only(world)].ambush(ending)
    world.scramble()
    ambush.wait()


def _line(world: World) -> str:
    """Of the daemon that repairs."""
    name = world.holder()
    return name if name in world.guards.links else world.chance.choice(sorted(world.guards.links))
