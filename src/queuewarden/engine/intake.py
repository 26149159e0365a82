"""Taking in what the first round trip of a sweep showed of one queue: its workers, its past, or a failure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

from queuewarden.adapters.db.reasons import primary_message
from queuewarden.engine import observe
from queuewarden.engine.ledger.recall import recalled
from queuewarden.engine.observe import Muster
from queuewarden.model import Outcome

if TYPE_CHECKING:
    from datetime import datetime

    from queuewarden.adapters.db.session import Row
    from queuewarden.engine.brakes import Grace
    from queuewarden.engine.judge import QueueState
    from queuewarden.queues.target import Fleet, Target


def take_recalled(
    state: QueueState, target: Target, result: list[Row] | psycopg.Error | None
) -> Outcome | None:
    """What the ledger tells; where it cannot be asked, nothing of this queue may be repaired."""
    if isinstance(result, psycopg.Error):
        state.unrecalled = True
        return _failure(target, "ledger", result)
    state.recalled, state.unrecalled = None, False
    if result is not None:
        state.recalled = recalled(target, result[0])
        state.memory.note_estimated(state.recalled.filled)
        state.memory.last_filled = max(state.memory.last_filled, state.recalled.last_filled)
    return None


def take_sight(state: QueueState, target: Target, result: list[Row] | psycopg.Error) -> Outcome | None:
    """Its jobs, counted."""
    if isinstance(result, psycopg.Error):
        state.sight = None
        return _failure(target, "counts", result)
    state.sight = observe.sight(result[0])
    return None


def take_muster(
    state: QueueState,
    target: Target,
    result: list[Row] | psycopg.Error | None,
    fleet: Fleet | None,
    grace: Grace,
    now: datetime,
) -> Outcome | None:
    """Who is alive; ``fleet`` tells where workers register elsewhere."""
    was_blind, before = state.blind, state.muster
    state.muster = None
    if fleet is not None:
        state.muster = Muster(live=fleet.beating, silent=len(fleet.dead), latest=fleet.latest)
    elif isinstance(result, list):
        state.muster = observe.muster(result[0])
    if state.muster is not None and before is not None and _goes_on(before, state.muster):
        state.beaten = now
    state.blind = state.muster is None and target.mapping.workers is not None
    if was_blind and not state.blind and fleet is not None:
        grace.wait(now, target.limits.dead_after, "outage where the workers register")
    return _failure(target, "workers", result) if isinstance(result, psycopg.Error) else None


def _goes_on(before: Muster, after: Muster) -> bool:
    """Somebody has beaten between two looks, though no heartbeat is young."""
    if after.live or before.latest is None or after.latest is None:
        return False
    return after.latest > before.latest


def first_look(state: QueueState, target: Target, grace: Grace, now: datetime) -> None:
    """A daemon that starts where no worker beats cannot tell a dead fleet from one that reconnects."""
    if state.looked or state.muster is None:
        return
    state.looked = True
    if state.muster.live == 0:
        grace.wait(now, target.limits.dead_after, "no worker alive at the start")


def _failure(target: Target, code: str, error: psycopg.Error) -> Outcome:
    return Outcome(
        target.environment,
        target.queue,
        "observe",
        code,
        "",
        error=error.sqlstate or "unknown",
        failure=primary_message(error),
    )
