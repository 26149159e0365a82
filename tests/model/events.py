"""What may happen in the middle of a sweep, between two of its transactions."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from model.guards import PERSON

from queuewarden.engine import pauses
from queuewarden.engine.ledger.entries import Wanted

if TYPE_CHECKING:
    from model.guards import Daemon
    from model.world import World

STOPS = ("pause", "takeover", "undo")
"""After these the sweep must write nothing more."""

WAKING = ("beat", "finish")
"""A worker that has jobs comes back."""

EVENTS = (*WAKING, *WAKING, "claim", "scramble", "lock", "enqueue", *STOPS)


async def happen(world: World, name: str, pick: int, daemon: Daemon | None) -> bool:
    """Let it happen; whether the sweep must write nothing from then on.

    Args:
        world: where.
        name: what, one of `EVENTS`.
        pick: which worker or job.
        daemon: whose sweep it is; None for one by hand, which neither a pause nor the lease holds.
    """
    if name == "pause":
        lasts = dt.timedelta(minutes=1)
        await pauses.set_pause(world.person.session(), "test", reason="why not", by=PERSON, lasts=lasts)
        return daemon is not None
    if name == "takeover":
        return await _taken_over(world, daemon)
    if name == "undo":
        history = world.witness.history
        if not history:
            return False
        await world.person.undo(Wanted(ids=(history[-1 - pick % len(history)].id,)))
        return bool(world.witness.account())
    _work(world, name, pick)
    world.witness.rebase()
    return False


async def _taken_over(world: World, daemon: Daemon | None) -> bool:
    """The sweeping daemon was suspended for so long that the other one has repaired everything."""
    world.hub.app.execute("UPDATE queuewarden.lease SET until = clock_timestamp() - interval '1 ms'")
    other = world.daemons["B" if daemon is not None and daemon.name == "A" else "A"]
    await other.look()
    may = not world.is_paused()
    await other.sweep(world.target)
    booked = world.witness.account()
    assert may or not booked
    return daemon is not None


def _work(world: World, name: str, pick: int) -> None:
    fleet = world.fleet
    if name == "enqueue":
        fleet.enqueue(1, pick % 3, "last", None, None)
    elif name in {"scramble", "lock"}:
        waiting = [key for key, row in world.witness.base.of("jobs").items() if row["status"] == "waiting"]
        if waiting and name == "lock":
            world.lock(waiting[pick % len(waiting)])
        elif waiting:
            fleet.scramble(waiting[pick % len(waiting)], "far", pick % 3)
    elif fleet.workers:
        worker = fleet.busy(pick) or fleet.workers[pick % len(fleet.workers)]
        worker.lives = True
        if name == "beat":
            fleet.beat(worker, tells=True)
        elif name == "finish":
            fleet.finish(worker, "done", stamped=True)
        else:
            fleet.claim(worker, keeps=True)
