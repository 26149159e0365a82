"""``reindex``: indexes of which too much is waste are built anew, one by one, beside the old ones.

Does: REINDEX INDEX CONCURRENTLY of each index of the queues' tables and ours whose estimated waste is over
the limit; first of all it names what was left over from attempts that were cut short, and drops that where
somebody has agreed. It goes on past an index that failed, takes away what that attempt left, and gives way to
whoever waits for its lock.

Never: a whole table, schema or database; nor without CONCURRENTLY; nor an index of which an earlier attempt
has left something, since another could leave more.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from queuewarden.engine.upkeep.indexes import SMALLEST, debris, index, indexes_of, left_over
from queuewarden.engine.upkeep.steps import Steps, Verb, alone
from queuewarden.engine.upkeep.tables import leaves, read_tables

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from queuewarden.engine.upkeep.config import TaskName
    from queuewarden.engine.upkeep.indexes import Index
    from queuewarden.engine.upkeep.tables import Standing
    from queuewarden.engine.upkeep.task import Done, Place

NAME: TaskName = "reindex"

PATIENCE = timedelta(seconds=30)
"""For how long each phase waits for transactions that began before it: nobody waits behind it then."""

_REBUILD = Verb("rebuilt", "rebuild")
_DROP = Verb("dropped", "drop")


async def run(place: Place) -> Done:
    """See above.

    Raises:
        psycopg.Error, UnavailableError: nothing could be done at all.
    """
    steps = Steps(place)
    if not await alone(steps, _REBUILD, "all indexes"):
        return steps.done
    tables = {one.oid: one for one in leaves(await read_tables(place))}
    indexes = await _read(place, list(tables))
    for one in left_over(indexes):
        await _drop(steps, one, tables[one.table], agreed=place.consent)
    kept = await _read(place, list(tables)) if place.connection.usable else []
    for one in kept:
        if not place.connection.usable:
            break
        if (why := _why_not(one, tables, kept, place)) is None:
            await _rebuild(steps, one)
        elif why:
            steps.skip(one, _REBUILD, why)
    return steps.done


async def _drop(steps: Steps, one: Index, table: Standing, *, agreed: bool) -> None:
    """Drop what was left over, where that is agreed, and nobody is building it right now."""
    statement = sql.SQL("DROP INDEX CONCURRENTLY IF EXISTS {}").format(one.identifier)
    if table.busy:
        steps.skip(one, _DROP, "somebody is at work on its table, perhaps building it")
    elif agreed and table.ours:
        await steps.run(one, _DROP, statement, amount=one.size, patience=PATIENCE)
    else:
        quoted = '"{}"."{}"'.format(*(part.replace('"', '""') for part in (one.schema, one.name)))
        told = f"left over from a rebuilding that was cut short: DROP INDEX CONCURRENTLY {quoted}"
        steps.skip(one, _DROP, told)


async def _rebuild(steps: Steps, one: Index) -> None:
    """Rebuild an index; of an attempt that failed nothing stays."""
    place = steps.place
    statement = sql.SQL("REINDEX INDEX CONCURRENTLY {}").format(one.identifier)
    if await steps.run(one, _REBUILD, statement, amount=one.size, patience=PATIENCE) or place.dry_run:
        return
    if not place.connection.usable:
        return
    # None of an earlier attempt was there, else this one would not have been made.
    if (ours := debris(one, await _read(place, [one.table]))) is not None:
        tables = {table.oid: table for table in await read_tables(place)}
        await _drop(steps, ours, tables[one.table], agreed=True)


def _why_not(
    one: Index, tables: Mapping[int, Standing], indexes: Sequence[Index], place: Place
) -> str | None:
    """Why an index stays as it is; empty where that needs no word."""
    table = tables[one.table]
    if not one.valid:
        return "" if one.of is not None else "not valid: whoever made it has not finished, or it failed"
    if one.size < SMALLEST or (one.bloat is not None and one.bloat < place.upkeep.bloat):
        return ""
    if one.bloat is None:
        return f"its waste is not known: {one.unsure}"
    if one.exclusion:
        return "an exclusion constraint's: the server rebuilds it only under a lock"
    if table.refused is not None:
        return table.refused
    if (left := debris(one, indexes)) is not None:
        return f"an earlier attempt has left {left}: drop that first"
    return None


async def _read(place: Place, tables: Sequence[int]) -> list[Index]:
    """The indexes of some tables.

    Raises:
        psycopg.Error: as the server reports it.
    """
    try:
        return [index(row) for row in await place.connection.session.rows(indexes_of(tables))]
    except psycopg.Error:
        if not place.connection.usable:
            return []
        raise
