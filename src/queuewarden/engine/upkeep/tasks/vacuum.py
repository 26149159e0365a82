"""``vacuum``: dead rows of the queues' tables and our own are made room for new ones.

Does: VACUUM, table by table, at autovacuum's pace, where neither it nor a VACUUM has just been; gives way to
whoever waits for its lock.

Never: VACUUM FULL, which locks everybody out; nor gives the end of a file back to the disk, which locks
everybody out for a moment, and on a standby cancels queries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

from queuewarden.engine.upkeep.steps import Steps, Verb, alone
from queuewarden.engine.upkeep.tables import leaves, read_tables

if TYPE_CHECKING:
    from queuewarden.engine.upkeep.config import TaskName
    from queuewarden.engine.upkeep.tables import Standing
    from queuewarden.engine.upkeep.task import Done, Place

NAME: TaskName = "vacuum"

FRESH = 3600.0
"""Seconds for which a table that was vacuumed is left alone."""

_VERB = Verb("vacuumed", "vacuum")
_VACUUM = sql.SQL("VACUUM (TRUNCATE false) {}")


async def run(place: Place) -> Done:
    """See above.

    Raises:
        psycopg.Error, UnavailableError: nothing could be done at all.
    """
    steps = Steps(place)
    if not await alone(steps, _VERB):
        return steps.done
    for table in leaves(await read_tables(place)):
        if (why := _why_not(table)) is not None:
            steps.skip(table, _VERB, why)
            continue
        await steps.run(table, _VERB, _VACUUM.format(table.identifier), amount=table.dead)
        if not place.connection.usable:
            break
    return steps.done


def _why_not(table: Standing) -> str | None:
    if table.hindered is not None:
        return table.hindered
    if table.vacuumed is not None and table.vacuumed < FRESH:
        return f"vacuumed {table.vacuumed:.0f} s ago"
    return None
