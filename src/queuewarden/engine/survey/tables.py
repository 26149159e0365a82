"""The tables of a database, in one question: names, types and sizes, of all that could be about jobs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from queuewarden.adapters.db.session import Query
from queuewarden.queues.proposal.facts import Column, Family, Table

if TYPE_CHECKING:
    from queuewarden.adapters.db.session import Row, Session

MOST_TABLES = 20_000
"""Tables that are taken in at most."""

_SIGNS = (
    "stat(us|e)|phase|stage|step|lock|claim|reserv|pick|taken|acquir|leas|start|beg[aiu]n|worker|heart"
    "|beat|seen|ping|alive|runn|process|attempt|tries|retr|perform"
)
"""A table without a column called like one of these tells neither what runs nor which worker lives."""

_SERVER = Query(
    b"""
SELECT CAST(current_setting('server_version_num') AS int), s.reset_val,
       CAST(extract(epoch FROM (statement_timestamp() AT TIME ZONE s.reset_val)
                             - (statement_timestamp() AT TIME ZONE 'UTC')) AS float8),
       current_setting('is_superuser') = 'on'
  FROM pg_catalog.pg_settings AS s WHERE s.name = 'TimeZone'""",
    {},
)

_WHERE = b"""
  FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace"""
_OURS = b"""
 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition AND c.relpersistence <> 't'
   AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'queuewarden')
   AND has_schema_privilege(n.oid, 'USAGE')
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_inherits AS i WHERE i.inhrelid = c.oid)
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS d
                    WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid
                      AND d.deptype = 'e')"""

_COUNT = b"SELECT count(*)" + _WHERE + _OURS

_TABLES = (
    b"""
SELECT c.oid, n.nspname, c.relname, c.relkind::text, CAST(c.reltuples AS float8), CAST(c.relpages AS int8),
       has_table_privilege(c.oid, 'SELECT'),
       array_agg(a.attname::text ORDER BY a.attnum), array_agg(b.typname::text ORDER BY a.attnum),
       array_agg(m.nspname::text ORDER BY a.attnum),
       array_agg(b.typtype::text || b.typcategory::text ORDER BY a.attnum),
       array_agg(a.attnotnull OR t.typnotnull ORDER BY a.attnum),
       array_agg(a.attgenerated <> '' OR a.attidentity = 'a' ORDER BY a.attnum),
       array_agg(CASE WHEN b.typname IN ('varchar', 'bpchar') AND a.atttypmod > 4 THEN a.atttypmod - 4 END
                 ORDER BY a.attnum)"""
    + _WHERE
    + b"""
  JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid
  JOIN pg_catalog.pg_type AS b ON b.oid = CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.oid END
  JOIN pg_catalog.pg_namespace AS m ON m.oid = b.typnamespace"""
    + _OURS
    + b"""
 GROUP BY c.oid, n.nspname, c.relname, c.relkind, c.reltuples, c.relpages
HAVING bool_or(a.attname ~* %(signs)s)
 LIMIT %(most)s"""
)


@dataclass(frozen=True, slots=True)
class Survey:
    """What there is.

    Attributes:
        count: tables and views of all kinds, those of extensions and of the server apart.
        tables: those that have a column called like one of a queue.
        version: of the server, as a number.
        zone: the server's own time zone, and by how many seconds it is ahead of UTC.
        superuser: this role is one: no code of others should run with its rights.
    """

    count: int
    tables: tuple[Table, ...]
    version: int
    zone: tuple[str, float]
    superuser: bool = False


async def survey(session: Session) -> Survey:
    """All tables, by what the catalog says of their columns.

    Raises:
        psycopg.Error: the catalog could not be read.
    """
    ((version, zone, offset, superuser),) = await session.rows(_SERVER)
    ((count,),) = await session.rows(Query(_COUNT, {}))
    rows = await session.rows(Query(_TABLES, {"signs": _SIGNS, "most": MOST_TABLES}))
    return Survey(count, _without_twins([_table(row) for row in rows]), version, (zone, offset), superuser)


def _table(row: Row) -> Table:
    oid, schema, name, kind, tuples, pages, readable, *columns = row
    return Table(
        schema,
        name,
        tuple(_column(one) for one in zip(*columns, strict=True)),
        kind=kind,
        oid=oid,
        rows=int(tuples) if tuples >= 0 else None,
        pages=pages,
        readable=readable,
    )


def _column(cells: tuple[Any, ...]) -> Column:
    name, type_, space, kind, not_null, generated, width = cells
    return Column(name, type_, family(type_, kind), not_null, generated, width, space=space)


def family(type_: str, kind: str) -> Family:
    """How a column of a type is used; ``kind``: typtype and typcategory, a letter each."""
    by_type = {"timestamptz": "instant", "timestamp": "naive", "bool": "flag", "uuid": "uuid"}
    by_kind = {"e": "enum"}
    by_category = {"N": "number", "S": "text"}
    return cast("Family", by_type.get(type_) or by_kind.get(kind[0]) or by_category.get(kind[1], "other"))


def _without_twins(tables: list[Table]) -> tuple[Table, ...]:
    """One of each kind where many schemas have the same tables: the largest, as one for each tenant."""
    kinds: dict[Any, list[Table]] = {}
    for table in tables:
        columns = frozenset((one.name, one.type) for one in table.columns)
        kinds.setdefault((table.name, columns), []).append(table)

    def size(table: Table) -> tuple[bool, int, str]:
        return table.schema == "public", table.pages, table.schema

    return tuple(replace(max(alike, key=size), twins=len(alike) - 1) for alike in kinds.values())
