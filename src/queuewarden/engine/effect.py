"""Whether a write had the effect that it is told for; triggers may change a row once more, or keep it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from queuewarden.queues.sqltext import TEXT, Value
from queuewarden.queues.terms import state, status_is

if TYPE_CHECKING:
    from psycopg.sql import Composable

    from queuewarden.queues.target import Target

_ENDS = {
    "jobs.reset": "running",
    "jobs.failed": "running",
    "jobs.retried": "failed",
    "orphans.cancelled": "waiting",
}
"""The state that a job has left of which such a thing is told."""


def missed(target: Target, event: str) -> Composable:
    """A job that was written is in its old state, since a trigger keeps it so.

    Or other columns tell the states, and what a move writes is not all that they go by: in no state at all
    the job would be lost.
    """
    old = _ENDS.get(event)
    if old is None:
        return sql.SQL("FALSE")
    if target.mapping.jobs.status is not None:
        return status_is(target, old, getattr(target.mapping.states, old))
    word = Value("old_state", old, TEXT)
    return sql.SQL("coalesce({}, {}) = {}").format(state(target), word, word)


def require_effect(had_effect: bool) -> None:  # noqa: FBT001 -- a condition, as in assert
    """Raise as the server would, so that the batch is halved until the row stands alone.

    Raises:
        psycopg.errors.RaiseException: it had none.
    """
    if not had_effect:
        raise psycopg.errors.RaiseException("a job is in its old state, or in none at all")
