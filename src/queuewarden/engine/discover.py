"""Reading the tables of a database, for recognising queues."""

from __future__ import annotations

from typing import TYPE_CHECKING

from queuewarden.adapters.db.session import Query

if TYPE_CHECKING:
    from queuewarden.adapters.db.session import Session

_TABLES = b"""
SELECT n.nspname, c.relname, a.attname, pg_catalog.format_type(a.atttypid, NULL)
  FROM pg_catalog.pg_class AS c
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
 WHERE c.relkind IN ('r', 'p') AND c.relname = ANY(CAST(%(names)s AS text[]))
   AND n.nspname NOT IN ('pg_catalog', 'information_schema')
   AND n.nspname NOT LIKE 'pg\\_temp%%' AND has_schema_privilege(n.oid, 'USAGE')"""

_STRANGERS = b"""
SELECT n.nspname, c.relname
  FROM pg_catalog.pg_class AS c
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_roles AS r ON r.oid = c.relowner
 WHERE c.relname = ANY(CAST(%(names)s AS text[])) AND NOT r.rolsuper AND r.rolname <> current_user
   AND r.oid <> (SELECT d.datdba FROM pg_catalog.pg_database AS d WHERE d.datname = current_database())"""


async def read_tables(session: Session, names: list[str]) -> dict[tuple[str, str], dict[str, str]]:
    """Tables of these names in any schema: ``(schema, name)`` to columns and their types.

    Raises:
        psycopg.Error: the catalog could not be read.
    """
    tables: dict[tuple[str, str], dict[str, str]] = {}
    for schema, table, column, type_ in await session.rows(Query(_TABLES, {"names": names})):
        tables.setdefault((schema, table), {})[column] = type_
    return tables


async def of_strangers(session: Session, names: list[str]) -> set[tuple[str, str]]:
    """Of tables with these names, those owned by neither us, the database's owner nor a superuser.

    A table's owner can have code of his run by whoever writes it.

    Raises:
        psycopg.Error: the catalog could not be read.
    """
    return {(schema, table) for schema, table in await session.rows(Query(_STRANGERS, {"names": names}))}
