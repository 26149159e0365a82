"""The latest changes in the ledger, in passing: what was done, how often and by whom, never to which row."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from psycopg import sql

from queuewarden.engine.render import compiled
from queuewarden.queues.keys import TEXTS
from queuewarden.queues.sqltext import INTEGER, INTERVAL, Value, every

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from queuewarden.adapters.db.session import Query, Row

WITHIN = timedelta(days=1)
"""So far back it looks at most, lest it read a long ledger for a queue that is never repaired."""


@dataclass(frozen=True, slots=True)
class Repair:
    """Changes of one kind that were made together.

    Attributes:
        ago: how long ago, by the database's clock.
        actor: the daemon, or the person who called.
    """

    queue: str
    event: str
    reason: str
    actor: str
    count: int
    ago: timedelta


def latest(limit: int, queues: Collection[str] | None = None) -> Query:
    """The latest changes of a database, under whatever name it was guarded; see `repairs`.

    Args:
        limit: at most so many.
        queues: only of these; None: of all.
    """
    conditions = [
        sql.SQL("c.at >= statement_timestamp() - {}").format(Value("within", WITHIN, INTERVAL)),
    ]
    if queues is not None:
        conditions.append(sql.SQL("c.queue = ANY({})").format(Value("queues", sorted(queues), TEXTS)))
    return compiled(
        sql.SQL(
            "SELECT c.queue, c.event, c.reason, c.actor, c.last_id - c.first_id + 1,"
            " statement_timestamp() - c.at"
            " FROM queuewarden.changes AS c WHERE {} ORDER BY c.first_id DESC LIMIT {}"
        ).format(every(conditions), Value("most", limit, INTEGER))
    )


def repairs(rows: Iterable[Row]) -> tuple[Repair, ...]:
    """From the rows of `latest`."""
    return tuple(Repair(*row) for row in rows)
