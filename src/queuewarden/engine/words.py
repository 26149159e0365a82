"""Status values held against the database: type, length, CHECK constraints and lookup tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString, cast

import psycopg
from psycopg import sql

from queuewarden.adapters.db.session import Query
from queuewarden.engine.render import compiled
from queuewarden.queues.sqltext import Name, Value
from queuewarden.queues.sqltext import cast as typed

if TYPE_CHECKING:
    from queuewarden.adapters.db.session import Session
    from queuewarden.engine.catalog import Relation
    from queuewarden.queues.mapping import Mapping

_CONSTRAINTS = b"""
SELECT c.conname, c.contype::text, pg_catalog.pg_get_expr(c.conbin, c.conrelid), n.nspname, p.relname,
       (SELECT a.attname FROM pg_catalog.pg_attribute AS a
         WHERE a.attrelid = c.confrelid AND a.attnum = c.confkey[1])
  FROM pg_catalog.pg_constraint AS c
  LEFT JOIN pg_catalog.pg_class AS p ON p.oid = c.confrelid
  LEFT JOIN pg_catalog.pg_namespace AS n ON n.oid = p.relnamespace
 WHERE c.conrelid = %(oid)s AND c.contype IN ('c', 'f')
   AND c.conkey = ARRAY[(SELECT a.attnum FROM pg_catalog.pg_attribute AS a
                          WHERE a.attrelid = c.conrelid AND a.attname = %(column)s)]"""


_LABELS = b"""
SELECT e.enumlabel::text
  FROM pg_catalog.pg_enum AS e
  JOIN pg_catalog.pg_type AS t ON t.oid = e.enumtypid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = t.typnamespace
 WHERE ARRAY[n.nspname, t.typname]::text[] = %(type)s::text[] ORDER BY e.enumsortorder"""

_SHOWN = 20
"""Labels of an enum that a fault names."""


async def word_faults(
    session: Session, mapping: Mapping, jobs: Relation, workers: Relation | None
) -> list[str]:
    """Status values that the columns cannot hold: each would make every repair fail.

    Raises:
        psycopg.Error: the catalog could not be read.
    """
    named = (
        (f"STATES__{state.upper()}", value)
        for state in ("waiting", "running", "done", "failed", "cancelled")
        for value in getattr(mapping.states, state)
    )
    faults = []
    if mapping.jobs.status is not None:
        faults = await _faults(session, jobs, mapping.jobs.status, {value: name for name, value in named})
    if workers is not None and mapping.workers is not None:
        status, offline = mapping.workers.status, mapping.workers.offline_value
        if status is not None and offline is not None:
            faults += await _faults(session, workers, status, {offline: "WORKERS__OFFLINE_VALUE"})
    return faults


async def _faults(session: Session, relation: Relation, column: str, words: dict[str, str]) -> list[str]:
    faults = []
    shape = relation.shape.columns[column]
    width = relation.widths.get(column)
    rows = await session.rows(Query(_CONSTRAINTS, {"oid": relation.oid, "column": column}))
    for word, variable in words.items():
        value = Value("word", word, shape.type)
        if not await _holds(session, sql.SQL("SELECT {} IS NOT NULL").format(value)):
            labels = [row[0] for row in await session.rows(Query(_LABELS, {"type": list(shape.type)}))]
            known = f": it knows {', '.join(labels[:_SHOWN])}" if labels else ""
            more = ", …" if len(labels) > _SHOWN else ""
            faults.append(
                f"{variable}: {relation.shape}.{column}, of type {shape.type[1]}, cannot hold '{word}'"
                f"{known}{more}"
            )
        elif width is not None and len(word) > width:
            faults.append(f"{variable}: '{word}' is longer than {relation.shape}.{column} ({width})")
        else:
            for name, kind, expression, schema, table, referenced in rows:
                test = (
                    sql.SQL("SELECT ({}) IS NOT FALSE FROM (SELECT {} AS {}) AS s").format(
                        sql.SQL(cast("LiteralString", expression.replace("%", "%%"))), value, Name(column)
                    )
                    if kind == "c"
                    else sql.SQL("SELECT EXISTS (SELECT FROM {} AS p WHERE {} = {})").format(
                        Name(schema, table), Name("p", referenced), typed(value, shape.type)
                    )
                )
                if not await _holds(session, test):
                    faults.append(
                        f"{variable}: constraint {name} of {relation.shape} forbids '{word}' in {column}"
                    )
    return faults


async def _holds(session: Session, test: sql.Composable) -> bool:
    """Whether the server finds the test true; not where the type refuses the value."""
    try:
        rows = await session.rows(compiled(test))
    except (psycopg.DataError, psycopg.IntegrityError):
        return False
    except psycopg.Error:
        if not session.usable:
            raise
        return True  # a lookup table that we may not read, a function that raises: they prove nothing
    return bool(rows and rows[0][0])
