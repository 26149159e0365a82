"""What a person does in the model, and what is asserted of each command beyond the ledger's exactness."""

from __future__ import annotations

import contextlib
import datetime as dt
from typing import TYPE_CHECKING

from model.guards import PERSON

from queuewarden.application.plan_file import EnvironmentPlan
from queuewarden.checks import by_hand
from queuewarden.engine import pauses
from queuewarden.engine.judge import QueueState
from queuewarden.engine.ledger import retention
from queuewarden.engine.ledger.entries import Wanted
from queuewarden.errors import BusyError

if TYPE_CHECKING:
    from model.ledger import Booked
    from model.tables import Place, Row
    from model.world import World

    from queuewarden.engine.undo import Undone

DAY = dt.timedelta(days=1)
KEEP = dt.timedelta(days=2)
STATELESS = QueueState
"""A repair by hand remembers nothing."""


def reset(world: World, by: str, key: str) -> None:
    """Reset a job by hand, or all of its worker, or all that are old: what was asked for and nothing else."""
    before = world.witness.base
    worker = before.rows["jobs", key]["worker"]
    assert worker is not None
    wanted = {
        "age": by_hand.Wanted(older_than=dt.timedelta(minutes=1)),
        "worker": by_hand.Wanted(workers=(worker,)),
        "key": by_hand.Wanted(keys=((key,),)),
    }[by]
    world.hub.run(world.person.act(by_hand.reset_rules(world.target, wanted)))
    for change in world.witness.account():
        assert change.event == "jobs.reset"
        assert by != "worker" or change.before["worker"] == worker
        assert by != "key" or change.place == ("jobs", key)
    if by != "age" and key != str(world.fleet.locked) and not world.setup.unique:
        assert world.witness.base.rows["jobs", key]["status"] == "waiting"


def retry(world: World) -> None:
    """Put failed jobs back to waiting."""
    world.hub.run(world.person.act(by_hand.retry_rules(world.target, DAY)))
    assert all(change.event == "jobs.retried" for change in world.witness.account())


def _wanted(world: World, pick: int, what: str) -> Wanted:
    history = world.witness.history
    if what == "time":
        span = (dt.timedelta(seconds=5), dt.timedelta(minutes=5), dt.timedelta(hours=6))[pick % 3]
        return Wanted(environment="test", since=span, undos=False)
    if what == "sweep":
        sweeps = list(dict.fromkeys(one.sweep for one in reversed(history)))
        return Wanted(environment="test", sweep=sweeps[pick % len(sweeps)], undos=False)
    chosen = [one for one in history if one.undoes is not None] if what == "undo" else history
    return Wanted(ids=(chosen[-1 - pick % len(chosen)].id,) if chosen else (0,))


def undo(world: World, pick: int, what: str) -> int:
    """Undo, having asked before what it would do; each row goes back exactly, or stays exactly as it is."""
    wanted = _wanted(world, pick, what)
    foretold = world.hub.run(world.person.undo(wanted, dry=True))
    assert not world.witness.account(), "a dry run wrote"
    before = world.witness.base
    told = world.hub.run(world.person.undo(wanted))
    booked = world.witness.account()
    _exactly(world, dict(before.rows), told, {one.undoes: one for one in booked})
    if not world.setup.unique and world.fleet.locked is None and what != "time":
        assert _verdicts(foretold) == _verdicts(told), "the dry run told something else"
    return len(booked)


def _verdicts(told: list[Undone]) -> dict[int, bool]:
    return {one.change.id: one.refused is None for one in told}


def _exactly(
    world: World, rows: dict[Place, Row], told: list[Undone], undone: dict[int | None, Booked]
) -> None:
    for one in told:
        finding = one.change.finding
        place = (finding.table, finding.key[0])
        assert finding.after is not None
        row = rows.get(place)
        as_left = row is not None and {name: row[name] for name in finding.after} == finding.after
        if one.refused is None:
            assert row is not None
            assert as_left, f"it has moved on: {row} {one}"
            change = undone.pop(one.change.id)
            assert (change.place, change.before, change.after) == (place, finding.after, finding.before)
            rows[place] = row | finding.before
        elif one.refused.startswith(("it has changed", "the row is gone")):
            assert not as_left, f"refused for nothing: {row} {one}"
        elif "locked" in one.refused:
            assert place == ("jobs", str(world.fleet.locked)), one
        else:
            assert "already undone" in one.refused or world.setup.unique, one
    assert not undone, f"it did more than it told: {undone}"


async def keep_house(world: World) -> None:
    """What the holder of the lease does now and then: forget what is old, or needs no sparing any more."""
    for daemon in world.daemons.values():
        if world.holds_lease(daemon):
            with contextlib.suppress(BusyError):  # it goes by what its last sweep saw, as it does
                await retention.tidy(daemon.session, world.target, "jobs")
                await retention.tidy(daemon.session, world.target, "workers")
                await retention.forget(daemon.session, KEEP)


def pause(world: World, *, window: bool) -> None:
    """A pause, or a window that is always open."""
    lasts = dt.timedelta(minutes=1)
    cron = {"cron": "* * * * *", "zone": "UTC"} if window else {}
    world.hub.run(
        pauses.set_pause(world.person.session(), "test", reason="why not", by=PERSON, lasts=lasts, **cron)
    )
    world.witness.rebase()


def resume(world: World) -> None:
    """End pauses and windows."""
    session = world.person.session()
    active = pauses.pauses(world.hub.run(session.rows(pauses.ACTIVE)))
    world.hub.run(pauses.end_pauses(session, by=PERSON, ids=[one.id for one in active]))
    assert not world.is_paused()
    world.witness.rebase()


def apply(world: World) -> int:
    """Apply a plan: nothing but what it says, to rows that are as it found them."""
    assert world.plan is not None
    plan, world.plan = world.plan, None
    ((name, system),) = world.hub.app.execute(
        "SELECT current_database(), (SELECT system_identifier::text FROM pg_control_system())"
    ).fetchall()
    world.hub.run(world.person.apply(EnvironmentPlan((system, name), "", plan)))
    booked = world.witness.account()
    planned = [((one.table, one.key[0]), one.before, one.after) for one in plan]
    for change in booked:
        assert (change.place, change.before, change.after) in planned, f"it was not planned: {change}"
    return len(booked)
