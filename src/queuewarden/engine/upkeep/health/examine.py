"""Examining a database: each room asks its question; one that fails leaves the others alone."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import psycopg

from queuewarden.engine.inspection import inspected, statements
from queuewarden.engine.upkeep.health import (
    activity,
    bloat,
    blocking,
    indexes,
    replication,
    server,
    tables,
    transactions,
)
from queuewarden.engine.upkeep.health import statements as slow
from queuewarden.engine.upkeep.health.signs import (
    LARGE,
    Health,
    Room,
    Sign,
    Told,
    Ward,
    Where,
    together,
    ward,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from queuewarden.adapters.db.session import Row, Session
    from queuewarden.queues.target import Target

ROOMS: tuple[Room, ...] = (
    server, activity, blocking, transactions, tables, bloat, indexes, replication, slow,
)  # fmt: skip
MISSING = "missing_indexes"


async def examine(session: Session, targets: Sequence[Target]) -> tuple[Ward, Health]:
    """Ask everything that one connection can tell; it writes nothing, and takes no lock that anybody minds.

    Raises:
        psycopg.Error, UnavailableError: the connection is lost, or the deadline struck.
    """
    begun = time.monotonic()
    known = ward(server.server(await session.rows(server.WHO)), targets)
    asked = [(room, query) for room in ROOMS if (query := room.question(known)) is not None]
    answers = await session.read([query for _, query in asked])
    told: list[tuple[Told, frozenset[str]]] = []
    large: frozenset[int] | None = frozenset()
    for (room, _), rows in zip(asked, answers, strict=True):
        if isinstance(rows, psycopg.Error):
            told.append((Told(unseen=(f"{room.TOPIC}: SQLSTATE {rows.sqlstate}",)), frozenset()))
            large = None if room is tables else large
            continue
        one = room.told(known, rows)
        told.append((one, frozenset() if one.unseen else room.METRICS))
        if room is tables:
            large = _large(rows)
    if large is not None:
        told.append(await _missing(session, known, large))
    return known, together(told, time.monotonic() - begun)


async def _missing(session: Session, known: Ward, large: frozenset[int]) -> tuple[Told, frozenset[str]]:
    """Recommended indexes that are not there, of queues whose tables are large enough to need them."""
    signs: list[Sign] = []
    readings: dict[Where, float | None] = {}
    unseen: list[str] = []
    for target in known.targets:
        where = Where(MISSING, target.queue)
        if not large & set(target.jobs.leaves):
            readings[where] = None
            continue
        seen = await inspected(session, target)
        if seen.unseen:
            unseen.append(f"indexes of {target.jobs}: the planner does not tell of all that are recommended")
        else:
            readings[where] = float(len(seen.missing))
        for index in seen.missing:
            remedy = await statements(session, target, index)
            text = f"no index of {target.jobs} serves {index.purpose}"
            signs.append(Sign(Where(MISSING, target.queue, index.purpose), 1.0, text, remedy))
    settled = frozenset() if unseen else frozenset({MISSING})
    return Told(tuple(signs), readings, unseen=tuple(unseen)), settled


def _large(rows: list[Row]) -> frozenset[int]:
    found = tables.tables(rows)
    return frozenset(table.oid for table in found if table.size >= LARGE)
