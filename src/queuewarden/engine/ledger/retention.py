"""Retention: the ledger forgets changes by their age, a few rows at a time; nothing else is ever deleted."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from psycopg import sql

from queuewarden.adapters.db.session import Query
from queuewarden.engine.ledger.alone import of_table
from queuewarden.engine.render import compiled
from queuewarden.queues.keys import key_columns
from queuewarden.queues.sqltext import INTEGER, TEXT, Name, Value, cast, every
from queuewarden.queues.terms import ALIAS, relation, shape

if TYPE_CHECKING:
    from datetime import timedelta

    from queuewarden.adapters.db.session import Session
    from queuewarden.model import Table
    from queuewarden.queues.target import Target

BATCH = 50
"""Rows of the ledger that one statement deletes: up to 50 000 changes."""

MOST = 20
"""Batches of one call: what is left is for the next one."""

BREATH = 0.01
"""Seconds between batches."""

_FORGET = b"""
DELETE FROM queuewarden.changes WHERE first_id IN (
    SELECT c.first_id FROM queuewarden.changes AS c WHERE c.at < statement_timestamp() - %(keep)s
     ORDER BY c.at LIMIT %(batch)s)
RETURNING last_id - first_id + 1"""


async def forget(session: Session, keep: timedelta) -> int:
    """Delete changes that are older than ``keep``; how many they were.

    Raises:
        BusyError: another guard is repairing this database.
        psycopg.Error: as the server reports it.
    """
    forgotten = 0
    query = Query(_FORGET, {"keep": keep, "batch": BATCH})
    for _ in range(MOST):
        async with session.transaction() as transaction:
            rows = await transaction.execute(query)
        forgotten += sum(count for (count,) in rows)
        if len(rows) < BATCH:
            break
        await asyncio.sleep(BREATH)
    return forgotten


async def tidy(session: Session, target: Target, table: Table) -> int:
    """Forget rows that were to be left alone until they change, and have changed, or are gone; how many.

    Raises:
        BusyError: another guard is repairing this database.
        psycopg.Error: as the server reports it.
    """
    columns = shape(target, table).columns
    same = every(
        [
            *(
                sql.SQL("{} = {}").format(
                    Name(ALIAS[table], name),
                    cast(sql.SQL("a.key[{}]").format(Value(f"at_{n}", n, INTEGER)), columns[name].type),
                )
                for n, name in enumerate(key_columns(target, table), start=1)
            ),
            sql.SQL("{} = a.version").format(cast(Name(ALIAS[table], "xmin"), TEXT)),
        ]
    )
    query = compiled(
        sql.SQL(
            "DELETE FROM queuewarden.left_alone AS a WHERE {} AND NOT EXISTS (SELECT FROM {} AS {} WHERE {})"
            " RETURNING 1"
        ).format(of_table(target, table), relation(shape(target, table)), Name(ALIAS[table]), same)
    )
    async with session.transaction() as transaction:
        return len(await transaction.execute(query))
