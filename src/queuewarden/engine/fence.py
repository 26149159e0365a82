"""The fence: what a repairing transaction begins with, so that it cannot act on what held a moment ago.

A daemon that was suspended and wakes up late still believes that it has the lease; a person may have paused
repairs, or put rows back, since the sweep looked. The lease's row stays locked until the transaction ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

from queuewarden.engine.render import compiled
from queuewarden.queues.sqltext import INTEGER, TEXT, Value

if TYPE_CHECKING:
    from psycopg.sql import Composable

    from queuewarden.adapters.db.session import Query

_UNDONE = sql.SQL("WHEN (SELECT c.undos FROM queuewarden.counter AS c) <> {} THEN 'undo'")
_PAUSED = sql.SQL(
    "WHEN EXISTS (SELECT FROM queuewarden.pauses AS p WHERE p.ended_at IS NULL AND p.cron IS NULL"
    " AND p.until > clock_timestamp()) THEN 'pause'"
)
_NOT_OURS = sql.SQL(
    "WHEN NOT (l.holder IS NOT DISTINCT FROM {} AND l.epoch = {} AND l.until > clock_timestamp())"
    " THEN 'lease'"
)


def of_person(undos: int, *, pauses: bool = False) -> Query:
    """The fence of a sweep by hand.

    Args:
        undos: how often rows had been put back when the sweep looked.
        pauses: whether a pause holds this person's repairs, too.
    """
    conditions = [*([_PAUSED] if pauses else []), _undone(undos)]
    return compiled(sql.SQL("SELECT CASE {} END").format(sql.SQL(" ").join(conditions)))


def of_daemon(holder: str, epoch: int, undos: int) -> Query:
    """The fence of a daemon's sweep.

    Args:
        holder: whose lease it is.
        epoch: under which it was taken.
        undos: how often rows had been put back when the sweep looked.
    """
    lost = _NOT_OURS.format(Value("holder", holder, TEXT), Value("epoch", epoch, INTEGER))
    conditions: list[Composable] = [lost, _PAUSED, _undone(undos)]
    return compiled(
        sql.SQL("SELECT CASE {} END FROM queuewarden.lease AS l FOR KEY SHARE OF l").format(
            sql.SQL(" ").join(conditions)
        )
    )


def _undone(undos: int) -> Composable:
    return _UNDONE.format(Value("undos", undos, INTEGER))
