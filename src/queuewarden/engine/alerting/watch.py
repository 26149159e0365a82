"""Watching a queue: what is asked of the database beyond its counts, and the anomalies that follow."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import psycopg

from queuewarden.engine import outcomes, runs
from queuewarden.engine.alerting import anomalies, blocked
from queuewarden.engine.judge import advised
from queuewarden.engine.ledger.recall import LATEST, latest_resets

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from queuewarden.adapters.db.session import Query, Row, Session
    from queuewarden.engine.judge import QueueState
    from queuewarden.engine.outcomes import Load
    from queuewarden.model import Anomaly, Key, Table
    from queuewarden.queues.target import Target

RUN_TIMES_EVERY = 600.0
"""Seconds between two looks at run times."""

DUTY = 50
"""A look at outcomes that took a second is taken again after fifty: at most 2 % of the time."""


async def look_at_run_times(session: Session, target: Target, state: QueueState) -> None:
    """Look at run times now and then; a job heartbeat tells a long run from a hang without them."""
    monotonic = time.monotonic()
    if monotonic < state.next_run_times or target.mapping.jobs.heartbeat is not None:
        return
    state.next_run_times = monotonic + RUN_TIMES_EVERY
    query = runs.run_times(target, state.memory.estimated)
    rows = await _optional(session, query) if query is not None else None
    if rows:
        state.threshold.note_run_times(*rows[0])


async def look_at_outcomes(session: Session, target: Target, state: QueueState) -> None:
    """Look at how jobs ended lately, now and then: the longer that takes, the less often."""
    monotonic = time.monotonic()
    if monotonic < state.next_outcomes:
        return
    query = outcomes.outcomes(target)
    rows = await _optional(session, query) if query is not None else None
    state.outcomes = outcomes.told(target, rows[0]) if rows else None
    state.next_outcomes = monotonic + max(outcomes.EVERY, (time.monotonic() - monotonic) * DUTY)


async def load(session: Session) -> Load | None:
    """The server's load, if it tells."""
    rows = await _optional(session, outcomes.LOAD)
    return outcomes.Load(*rows[0]) if rows else None


async def anomalies_of(session: Session, target: Target, state: QueueState, now: datetime) -> list[Anomaly]:
    """What is wrong with a queue and no write can mend.

    Raises:
        psycopg.OperationalError, UnavailableError: the connection is lost or the deadline struck.
    """
    if state.recalled is not None:
        resets = state.recalled.last_hour
    else:
        resets = state.memory.resets_within(anomalies.STORM_WINDOW, now)
    found: list[Anomaly] = list(anomalies.of_memory(target, state.memory, resets))
    if state.sight is not None:
        found += anomalies.of_counts(target, state.sight.counts, state.muster)
    if state.sight is not None and state.muster is not None:
        found += anomalies.of_idleness(target, state.sight.counts, state.muster, state.idle, now)
    found += await _premature(session, target, state)
    limit = advised(state, target)
    if limit is not None:
        found.append(anomalies.threshold(target, limit))
    return found + await _blocked(session, target, state)


async def _premature(session: Session, target: Target, state: QueueState) -> list[Anomaly]:
    resets = await _latest_resets(session, target, state)
    query = runs.premature(target, resets) if resets is not None else None
    rows = await _optional(session, query) if query is not None else []
    if rows is not None and resets is not None:
        found = {tuple(row[0]): row[1] for row in rows}
        limit = target.limits.stuck_after_alive or target.limits.stuck_after
        for key in found.keys() - state.premature.keys():
            state.threshold.note_premature(limit, found[key])
        state.premature = found
    return [anomalies.premature(target, key, ran) for key, ran in sorted(state.premature.items())]


async def _latest_resets(
    session: Session, target: Target, state: QueueState
) -> Mapping[Key, tuple[str | None, str | None]] | None:
    """The latest resets: key to former worker and former start; None where they cannot be had just now."""
    if state.recalled is None:
        latest = list(state.memory.resets.items())[-LATEST:]
        return {key: (reset.worker, reset.started) for key, reset in latest}
    if not state.recalled.last_day:
        return {}
    rows = await _optional(session, latest_resets(target))
    if rows is None:
        return None
    resets: dict[Key, tuple[str | None, str | None]] = {}
    for key, worker, started in rows:  # newest first
        resets.setdefault(tuple(key), (worker, started))
    return resets


async def _blocked(session: Session, target: Target, state: QueueState) -> list[Anomaly]:
    found = []
    skipped: dict[Table, list[Key]] = {}
    for table, key in state.skips.update(state.memory.skips):
        skipped.setdefault(table, []).append(key)
    for table, keys in skipped.items():
        rows = await _optional(session, blocked.holders(target, table, keys)) or []
        found += [blocked.anomaly(target, table, row) for row in rows]
        for key in set(keys) - {tuple(row[0]) for row in rows}:
            state.memory.skips.pop((table, key), None)
    return found


async def _optional(session: Session, query: Query) -> list[Row] | None:
    """Rows of a query that a sweep can do without; None where it failed."""
    (result,) = await session.read([query])
    return None if isinstance(result, psycopg.Error) else result
