"""Conditions and writes of a mapping, tried on no row: what the server cannot do would fail every look."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
from psycopg import sql
from psycopg.sql import Composable

from queuewarden.adapters.db.reasons import primary_message
from queuewarden.engine.render import compiled
from queuewarden.queues.moves import fail, requeue
from queuewarden.queues.sqltext import cast, commas
from queuewarden.queues.terms import STATES, all_hold, relation, spared

if TYPE_CHECKING:
    from collections.abc import Mapping

    from queuewarden.adapters.db.session import Session
    from queuewarden.queues.target import Target

_TYPES = ("22", "42")
_RIGHT = "42501"
"""A right that is missing is told with its GRANT."""


async def condition_faults(session: Session, target: Target) -> list[str]:
    """Conditions that compare what cannot be compared: no job's state can be told.

    Raises:
        psycopg.OperationalError, UnavailableError: the connection is lost or the deadline struck.
    """
    told: dict[str, Composable] = {}
    if target.mapping.jobs.status is None:
        for word in STATES:
            if texts := getattr(target.mapping.states, word):
                told[f"STATES__{word.upper()}"] = all_hold(target, word, texts)
    if (left := spared(target)) is not None:
        told["SPARE"] = left
    return await _faults(session, target, told)


async def write_faults(session: Session, target: Target) -> list[str]:
    """What moves would write by the mapping's own words, and its columns cannot hold.

    Raises:
        psycopg.OperationalError, UnavailableError: as above.
    """
    mapping, tried = target.mapping, dict[str, Composable]()
    for name, words, put in (
        ("REQUEUE", mapping.requeue, requeue(target, "")),
        ("FAIL", mapping.fail, fail(target, "")),
    ):
        own = [one.column for one in words if put is not None and one.column in put.values]
        if put is not None and own:
            columns = target.jobs.columns
            tried[name] = commas(cast(put.values[column], columns[column].type) for column in own)
    return await _faults(session, target, tried)


async def _faults(session: Session, target: Target, parts: Mapping[str, Composable]) -> list[str]:
    if not parts:
        return []
    tried = sql.SQL("SELECT {} FROM {} AS j LIMIT 0")
    queries = [compiled(tried.format(part, relation(target.jobs))) for part in parts.values()]
    results = await session.read(queries)
    return [
        f"{name}: {primary_message(result)}"
        for name, result in zip(parts, results, strict=True)
        if isinstance(result, psycopg.Error) and _by_type(result.sqlstate or "")
    ]


def _by_type(state: str) -> bool:
    return state.startswith(_TYPES) and state != _RIGHT
