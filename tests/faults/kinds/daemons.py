"""Faults of the guard's own processes."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

from eventually import eventually
from faults.guards import THIRD
from faults.kinds.kind import fault
from faults.kinds.workers import kill as kill_workers
from faults.schema import INTERVAL, LANES, LEASE_TTL

if TYPE_CHECKING:
    from faults.world import World

_NOISE = 3.5
"""Seconds for the look that finds the lease free, and for a busy machine; less than the lease lasts."""


@fault("daemon killed")
def kill(world: World) -> None:
    """The one that repairs, while there is something to repair; its supervisor is in no hurry."""
    world.scramble()
    kill_workers(world)
    world.guards.kill(world.holder())
    _taken_over(world, LEASE_TTL + INTERVAL)


@fault("daemon killed amid a repair", freezes=True)
def kill_amid(world: World) -> None:
    """Its changes are made, its COMMIT is on the way."""
    name = only(world)
    ambush = world.guards.links[name].ambush("hold")
    world.scramble()
    ambush.wait()
    world.guards.kill(name)
    world.guards.links[name].heal()


@fault("daemon suspended, and back", freezes=True)
def suspend(world: World) -> None:
    """Beyond its lease: another one has taken over when it wakes up, perhaps amid a repair."""
    world.scramble()
    kill_workers(world)
    time.sleep(world.chance.uniform(0, INTERVAL))
    _suspend(world, world.holder(), LEASE_TTL * world.chance.uniform(0.5, 2))


@fault("daemon suspended amid a repair", freezes=True)
def suspend_amid(world: World) -> None:
    """Its changes are made, and held back; the server must not wait for it to wake up."""
    name = only(world)
    ambush = world.guards.links[name].ambush("hold")
    world.scramble()
    ambush.wait()
    _suspend(world, name, 1.75 * LEASE_TTL)


@fault("daemon suspended before a repair")
def suspend_before(world: World) -> None:
    """It has seen what to repair and that it may; when it begins, its lease has long been another's."""
    name = world.holder()
    link, process = world.guards.links[name], world.guards.running[name].process
    ambush = link.ambush("late")
    world.scramble()
    ambush.wait()
    process.send_signal(signal.SIGSTOP)
    try:
        eventually(lambda: world.lease_holder() not in (None, name), what="another daemon has the lease")
        eventually(lambda: not any("lane" in one for one in world.unrest(0)), what="it repairs")
        world.scramble(lanes=LANES)
        link.release()
    finally:
        process.send_signal(signal.SIGCONT)


@fault("daemon stopped, another takes over")
def stop(world: World) -> None:
    world.scramble()
    code = world.guards.stop(world.holder())
    assert code == 0, f"a clean stop ends with {code}"
    kill_workers(world)
    _taken_over(world, 0)


@fault("a third daemon comes and goes")
def third(world: World) -> None:
    world.guards.start(THIRD)
    world.scramble()
    kill_workers(world)
    time.sleep(world.chance.uniform(0.5, 2))
    if world.chance.random() < 0.5:
        world.guards.kill(THIRD)


def only(world: World) -> str:
    """Leave one daemon that has a link, and let it be the one that repairs."""
    name = world.chance.choice(sorted(world.guards.links))
    for other in set(world.guards.running) - {name}:
        world.guards.stop(other)
    eventually(lambda: world.lease_holder() == name, what=f"{name} has the lease")
    return name


def _taken_over(world: World, seconds: float) -> None:
    """Another daemon has the lease within so many seconds."""
    eventually(world.lease_holder, seconds=seconds + _NOISE, what="another daemon has the lease")


def _suspend(world: World, name: str, seconds: float) -> None:
    process = world.guards.running[name].process
    process.send_signal(signal.SIGSTOP)
    time.sleep(seconds)
    process.send_signal(signal.SIGCONT)
