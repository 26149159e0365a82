"""Reading the catalog for a library's preset: all that a repair of its tables goes by, in one round trip."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from psycopg import sql

from queuewarden.adapters.db.session import Query
from queuewarden.queues.sqltext import Name

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from queuewarden.adapters.db.session import Session
    from queuewarden.engine.library_rights import Right

    Place = tuple[str, str]

_CATALOG = b"""
WITH beside AS (
    SELECT c.oid, n.nspname::text AS schema, c.relname::text AS name
      FROM unnest(CAST(%(schemas)s AS text[]), CAST(%(tables)s AS text[])) AS w(schema, name)
      JOIN pg_catalog.pg_namespace AS n ON n.nspname = w.schema
      JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid AND c.relname = w.name
     WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f'))
SELECT CAST('column' AS text), a.attname::text, ARRAY[b.schema, b.name, format_type(a.atttypid, NULL)], true
  FROM beside AS b JOIN pg_catalog.pg_attribute AS a ON a.attrelid = b.oid
 WHERE a.attnum > 0 AND NOT a.attisdropped
UNION ALL
SELECT 'label', e.enumlabel::text, NULL, true
  FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_enum AS e ON e.enumtypid = a.atttypid
 WHERE a.attrelid = %(jobs)s AND a.attname = %(status)s
UNION ALL
SELECT 'check', c.conname::text,
       ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute AS a
              WHERE a.attrelid = c.conrelid AND a.attnum = ANY(c.conkey)), true
  FROM pg_catalog.pg_constraint AS c
 WHERE c.contype = 'c' AND (c.conrelid = %(jobs)s OR c.conrelid IN
       (SELECT p.relid::oid FROM pg_catalog.pg_partition_tree(CAST(%(jobs)s AS oid)::regclass) AS p))
UNION ALL
SELECT 'trigger', t.tgname::text,
       ARRAY[p.proname::text, CASE WHEN p.proconfig::text LIKE '%%search_path=%%' THEN '' ELSE p.prosrc END,
             CASE WHEN t.tgenabled IN ('O', 'A') THEN 'on' ELSE 'off' END], t.tgtype & 16 <> 0
  FROM pg_catalog.pg_trigger AS t JOIN pg_catalog.pg_proc AS p ON p.oid = t.tgfoid
 WHERE t.tgrelid = %(jobs)s AND NOT t.tgisinternal
UNION ALL
SELECT 'unique', i.relname::text, NULL, x.indisunique AND x.indisvalid
  FROM pg_catalog.pg_class AS i
  JOIN pg_catalog.pg_namespace AS n ON n.oid = i.relnamespace
  JOIN pg_catalog.pg_index AS x ON x.indexrelid = i.oid
 WHERE i.relname = ANY(CAST(%(unique)s AS text[])) AND n.nspname = ANY(CAST(%(schemas)s AS text[]))
UNION ALL
SELECT 'further', i.relname::text, NULL, true
  FROM pg_catalog.pg_index AS x JOIN pg_catalog.pg_class AS i ON i.oid = x.indexrelid
 WHERE x.indrelid = %(jobs)s AND x.indisunique AND x.indisvalid AND NOT x.indisprimary
   AND i.relname <> ALL(CAST(%(unique)s AS text[]))
UNION ALL
SELECT 'function', p.proname::text,
       ARRAY[CASE WHEN p.proconfig::text LIKE '%%search_path=%%' THEN '' ELSE p.prosrc END],
       has_function_privilege(p.oid, 'EXECUTE')
  FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
 WHERE n.nspname = %(schema)s AND p.proname = ANY(CAST(%(functions)s AS text[]))
UNION ALL
SELECT 'denied', r.number::text, NULL, true
  FROM unnest(CAST(%(kinds)s AS text[]), CAST(%(places)s AS text[]), CAST(%(names)s AS text[]),
              CAST(%(columns)s AS text[]), CAST(%(privileges)s AS text[]))
       WITH ORDINALITY AS r(kind, schema, name, col, privilege, number)
  JOIN pg_catalog.pg_namespace AS n ON n.nspname = r.schema
  JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid AND c.relname = r.name
  LEFT JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attname = r.col
 WHERE NOT CASE WHEN c.relkind = 'S' AND r.kind = 'SEQUENCE' THEN has_sequence_privilege(c.oid, r.privilege)
                WHEN c.relkind <> 'S' AND r.kind = 'TABLE' AND r.col IS NULL
                THEN has_table_privilege(c.oid, r.privilege)
                WHEN a.attnum IS NOT NULL THEN has_column_privilege(c.oid, a.attnum, r.privilege)
                ELSE true END
UNION ALL
SELECT 'comment', obj_description(c.oid, 'pg_class'), NULL, true
  FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE n.nspname = %(schema)s AND c.relname = %(comment)s
   AND obj_description(c.oid, 'pg_class') IS NOT NULL
UNION ALL
SELECT 'owner', pg_get_userbyid(c.relowner)::text, NULL, true
  FROM pg_catalog.pg_class AS c WHERE c.oid = %(jobs)s AND c.relrowsecurity"""
"""Bit 16 of a trigger's type is UPDATE. A function with a search_path of its own finds its tables by that."""

_MOST = 1000
"""Rows of a version table that are read: such a table has a few dozen."""


@dataclass(frozen=True, slots=True)
class Trigger:
    """A trigger of the jobs table: its function's name and text, whether it is enabled, and for UPDATE."""

    function: str
    source: str
    enabled: bool
    on_update: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """What is looked up.

    Attributes:
        schema, oid: of the jobs table.
        status: its status column; empty where there is none.
        tables: schema and name of each table.
        comment: the table whose comment is the library's version.
        rights: what the role should have.
    """

    schema: str
    oid: int
    status: str
    tables: Collection[tuple[str, str]]
    unique: Sequence[str]
    functions: Sequence[str]
    rights: Sequence[Right]
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """What the catalog has of it.

    Attributes:
        tables: schema and name to columns and their types.
        labels: of the status column's type, where that is an enum.
        checks: CHECK constraints of the jobs table or its partitions, and the columns that they mention.
        unique: unique indexes that were asked for, and whether they are valid.
        further: the other unique indexes of the jobs table, but its primary key.
        functions: text of each function that was asked for.
        shut: functions that the role may not call.
        denied: rights that the role lacks, with just the columns for which it does.
        comment: of the table that was asked for.
        owner: of the jobs table, where row-level security hides its rows from others.
    """

    tables: dict[Place, dict[str, str]]
    labels: list[str]
    checks: dict[str, list[str]]
    triggers: dict[str, Trigger]
    unique: dict[str, bool]
    further: list[str]
    functions: dict[str, str]
    shut: list[str]
    denied: list[Right]
    comment: str | None
    owner: str | None


async def read_library(session: Session, asked: Asked) -> Found:
    """Look everything up.

    Raises:
        psycopg.Error: the catalog could not be read.
    """
    each = [(right, column) for right in asked.rights for column in right.columns or (None,)]
    parameters = {
        "schema": asked.schema,
        "jobs": asked.oid,
        "status": asked.status,
        "schemas": [schema for schema, _ in asked.tables],
        "tables": [name for _, name in asked.tables],
        "unique": list(asked.unique),
        "functions": list(asked.functions),
        "comment": asked.comment,
        "kinds": [right.kind for right, _ in each],
        "places": [right.schema for right, _ in each],
        "names": [right.name for right, _ in each],
        "columns": [column for _, column in each],
        "privileges": [right.privilege for right, _ in each],
    }
    of: dict[str, list[tuple[str, list[str], bool]]] = defaultdict(list)
    for kind, name, parts, flag in await session.rows(Query(_CATALOG, parameters)):
        of[kind].append((name, parts, flag))
    tables: dict[Place, dict[str, str]] = {}
    for name, (schema, table, type_), _ in of["column"]:
        tables.setdefault((schema, table), {})[name] = type_
    functions: dict[str, str] = {}
    for name, (source,), _ in of["function"]:
        functions[name] = functions.get(name, "") + source
    denied: dict[Right, list[str]] = {}
    for name, _, _ in of["denied"]:
        right, column = each[int(name) - 1]
        denied.setdefault(right, []).extend([column] if column is not None else [])
    return Found(
        tables=tables,
        labels=[name for name, _, _ in of["label"]],
        checks={name: columns for name, columns, _ in of["check"]},
        triggers={
            name: Trigger(function, source, enabled=state == "on", on_update=flag)
            for name, (function, source, state), flag in of["trigger"]
        },
        unique={name: valid for name, _, valid in of["unique"]},
        further=[name for name, _, _ in of["further"]],
        functions=functions,
        shut=[name for name, _, callable_ in of["function"] if not callable_],
        denied=[replace(right, columns=tuple(columns)) for right, columns in denied.items()],
        comment=next((name for name, _, _ in of["comment"]), None),
        owner=next((name for name, _, _ in of["owner"]), None),
    )


async def read_version(session: Session, table: Place, column: str) -> str | None:
    """The greatest version in a library's own table; None where it is empty.

    Raises:
        psycopg.Error: it could not be read.
    """
    query = sql.SQL("SELECT DISTINCT {}::text FROM {} LIMIT {}").format(
        Name(column), Name(*table), sql.Literal(_MOST)
    )
    told = [value for (value,) in await session.rows(Query(query.as_bytes(None), {})) if value is not None]
    return max(told, key=lambda one: (int(one) if one.isdecimal() else -1, one), default=None)
