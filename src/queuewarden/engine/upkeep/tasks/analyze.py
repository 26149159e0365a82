"""``analyze``: statistics of the planner for the queues' tables and our own.

Does: ANALYZE, table by table, of what has changed since it was analysed last; a partitioned table with all
its partitions, which the server never does by itself.

Never: writes to a catalog or a view of statistics, or waits longer than for ``LOCK_TIMEOUT``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

from queuewarden.engine.upkeep.steps import Steps, Verb
from queuewarden.engine.upkeep.tables import read_tables

if TYPE_CHECKING:
    from queuewarden.engine.upkeep.config import TaskName
    from queuewarden.engine.upkeep.tables import Standing
    from queuewarden.engine.upkeep.task import Done, Place

NAME: TaskName = "analyze"

_VERB = Verb("analysed", "analyse")


async def run(place: Place) -> Done:
    """See above.

    Raises:
        psycopg.Error, UnavailableError: nothing could be done at all.
    """
    steps = Steps(place)
    tables = await read_tables(place)
    whole = {one.oid for one in tables if one.partitioned}
    for table in tables:
        if table.root in whole and table.oid != table.root:
            continue  # with the table that it is a part of
        if (why := _why_not(table)) is not None:
            steps.skip(table, _VERB, why)
            continue
        await steps.run(table, _VERB, sql.SQL("ANALYZE {}").format(table.identifier), amount=table.changed)
        if not place.connection.usable:
            break
    return steps.done


def _why_not(table: Standing) -> str | None:
    if table.hindered is not None:
        return table.hindered
    if table.changed == 0 and table.analyzed is not None and not table.partitioned:
        return "nothing has changed since"
    return None
