"""Reading the catalog: what the mapped tables really are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from queuewarden.adapters.db.session import Query
from queuewarden.queues.target import Column, Family, Shape

if TYPE_CHECKING:
    from queuewarden.adapters.db.session import Session
    from queuewarden.queues.mapping import TableName

_RELATION = b"""
SELECT c.oid, n.nspname, c.relname, c.relkind::text, row_security_active(c.oid),
       has_schema_privilege(n.oid, 'USAGE'), current_user,
       c.relkind = 'r' AND EXISTS (SELECT FROM pg_catalog.pg_inherits AS i WHERE i.inhparent = c.oid),
       ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute AS a
              WHERE a.attrelid = c.oid AND a.attname IN ('xmin', 'xmax', 'ctid')
                AND NOT has_column_privilege(c.oid, a.attnum, 'SELECT'))
  FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.relname = %(name)s AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
   AND n.nspname = ANY(CAST(%(schemas)s AS text[]))
 ORDER BY array_position(CAST(%(schemas)s AS text[]), n.nspname::text)"""

_PATH = Query(b"SELECT CAST(pg_catalog.current_schemas(false) AS pg_catalog.text[])", {})
"""The schemas in which the role finds tables by name alone; no operator in it that a schema could replace."""

_COLUMNS = b"""
WITH RECURSIVE base AS (
    SELECT a.attnum, t.oid, t.typbasetype, t.typtype, t.typcategory, t.typname
      FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid
     WHERE a.attrelid = %(oid)s AND a.attnum > 0 AND NOT a.attisdropped
    UNION ALL
    SELECT b.attnum, t.oid, t.typbasetype, t.typtype, t.typcategory, t.typname
      FROM base AS b JOIN pg_catalog.pg_type AS t ON t.oid = b.typbasetype WHERE b.typtype = 'd')
SELECT a.attname, n.nspname, t.typname, b.typtype::text, b.typcategory::text, b.typname,
       a.attnotnull OR t.typnotnull, a.attgenerated <> '' OR a.attidentity = 'a',
       has_column_privilege(a.attrelid, a.attnum, 'UPDATE'),
       has_column_privilege(a.attrelid, a.attnum, 'SELECT'),
       t.typtype = 'd', b.typname NOT IN ('json', '_json', 'xml', '_xml') AND b.typcategory <> 'G',
       EXISTS (SELECT FROM pg_catalog.pg_opclass AS o WHERE o.opcintype = b.oid AND o.opcdefault
                  AND o.opcnamespace <> 'pg_catalog'::regnamespace),
       CASE WHEN b.typname IN ('varchar', 'bpchar') AND a.atttypmod > 4 THEN a.atttypmod - 4 END
  FROM pg_catalog.pg_attribute AS a
  JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = t.typnamespace
  JOIN base AS b ON b.attnum = a.attnum AND b.typtype <> 'd'
 WHERE a.attrelid = %(oid)s AND a.attnum > 0 AND NOT a.attisdropped"""

_UNIQUE = b"""
SELECT (SELECT array_agg(a.attname::text) FROM pg_catalog.pg_attribute AS a
         WHERE a.attrelid = i.indrelid
           AND (a.attnum = ANY((i.indkey::int2[])[0:i.indnkeyatts - 1])
                OR EXISTS (SELECT FROM pg_catalog.pg_depend AS d
                            WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = i.indexrelid
                              AND d.refobjid = i.indrelid AND d.refobjsubid = a.attnum))),
       i.indimmediate, i.indisunique AND i.indpred IS NULL AND i.indexprs IS NULL AND i.indisvalid
  FROM pg_catalog.pg_index AS i
 WHERE i.indrelid = %(oid)s AND (i.indisunique OR i.indisexclusion)"""

_LEAVES = b"""
SELECT relid::oid FROM pg_catalog.pg_partition_tree(%(oid)s) WHERE isleaf"""

_TRIGGERS = b"""
SELECT (SELECT s.reset_val FROM pg_catalog.pg_settings AS s
         WHERE s.name = 'search_path' AND EXISTS (
               SELECT FROM pg_catalog.pg_trigger AS t
                WHERE NOT t.tgisinternal AND t.tgenabled <> 'D' AND t.tgtype & 16 <> 0
                  AND (t.tgrelid = %(oid)s OR t.tgrelid IN
                       (SELECT relid FROM pg_catalog.pg_partition_tree(%(oid)s))))),
       EXISTS (SELECT FROM pg_catalog.pg_rewrite AS r WHERE r.ev_class = %(oid)s AND r.ev_type = '2')"""
"""Bit 16 of a trigger's type is UPDATE, event 2 of a rule too."""


@dataclass(frozen=True, slots=True)
class Relation:
    """A table as the catalog has it, with what decides whether it may be read and written.

    Attributes:
        kind: relkind: ``r`` table, ``p`` partitioned, ``v`` view, ``m`` materialised view, ``f`` foreign.
        inherited: other tables inherit from it: its own unique index does not cover their rows.
        unique: sets of columns that identify a row: under a valid, unconditional unique index, none NULL.
        unreadable: columns that this role may not read, ``xmin`` and ``ctid`` included.
        widths: most characters of a column, where limited.
        ruled: a rewrite rule stands before its updates.
        schemas: all schemas on the role's path that have a table or view of this name.
    """

    oid: int
    kind: str
    shape: Shape
    filtered: bool
    usable_schema: bool
    role: str
    inherited: bool
    unique: tuple[frozenset[str], ...]
    unreadable: frozenset[str]
    widths: dict[str, int]
    ruled: bool = False
    schemas: tuple[str, ...] = ()


async def read_relation(session: Session, table: TableName) -> Relation | None:
    """Look a table up by its name; None where it does not exist or is not visible.

    Raises:
        psycopg.Error: as the server reports it.
    """
    if table.schema is not None:
        schemas = [table.schema]
    else:
        ((schemas,),) = await session.rows(_PATH, role_path=True)
    found = await session.rows(Query(_RELATION, {"name": table.name, "schemas": schemas}))
    if not found:
        return None
    oid, schema, name, kind, filtered, usable, role, inherited, hidden = found[0]
    by_oid = {"oid": oid}
    columns, unique, leaves, triggers = [
        await session.rows(Query(text, by_oid)) for text in (_COLUMNS, _UNIQUE, _LEAVES, _TRIGGERS)
    ]
    shape = Shape(
        schema,
        name,
        {row[0]: _column(row) for row in columns},
        instant_unique=tuple(frozenset(row[0]) for row in unique if row[1]),
        leaves=_leaves(kind, oid, [row[0] for row in leaves]),
        role_path=triggers[0][0],
    )
    not_null = {row[0] for row in columns if row[6]}
    return Relation(
        oid,
        kind,
        shape,
        filtered,
        usable,
        role,
        inherited,
        tuple(frozenset(row[0]) for row in unique if row[2] and set(row[0]) <= not_null),
        frozenset(row[0] for row in columns if not row[9]).union(hidden),
        {row[0]: row[13] for row in columns if row[13] is not None},
        bool(triggers[0][1]) and kind in ("r", "p"),
        tuple(row[1] for row in found),
    )


def _leaves(kind: str, oid: int, partitions: list[int]) -> tuple[int, ...]:
    """The tables that hold the rows; of a table without partitions the server itself lists none."""
    if kind == "r":
        return (oid,)
    return tuple(partitions) if kind == "p" else ()


def _column(row: tuple[object, ...]) -> Column:
    _, schema, name, kind, category, base, not_null, generated, writable, _, domain, comparable, own, _ = row
    families: dict[object, Family] = {"timestamptz": "instant", "timestamp": "naive"}
    by_category: dict[object, Family] = {"N": "number", "S": "text"}
    family: Family = families.get(base, by_category.get(category, "other"))
    if kind == "e" and not domain:  # the operators of enums do not know domains over them
        family = "enum"
    return Column(
        (cast("str", schema), cast("str", name)),
        family,
        not_null=bool(not_null),
        generated=bool(generated),
        writable=bool(writable),
        comparable=bool(comparable),
        own_equality=bool(own),
    )
