"""The indexes of tables: how much of each is waste, by the server's statistics, and what is left over.

An estimate, without reading the index: how many pages its rows should take, from how many there are and how
wide their columns are on average, against how many it has. Entries that the server merges (the same value,
many times) take less, so that the waste of such an index counts as less than it is, never as more.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import sql

from queuewarden.adapters.db.session import Query

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

SMALLEST = 1024 * 1024
"""Bytes below which waste does not matter."""

_LEFTOVER = re.compile(r"(?P<base>.*)_cc(new|old)\d*", re.DOTALL)

_INDEXES = b"""
SELECT i.indexrelid, n.nspname::text, c.relname::text, i.indrelid, i.indisvalid, i.indisexclusion,
       a.amname::text, pg_relation_size(c.oid), m.page, m.page - 40 AS room,
       CASE WHEN i.indpred IS NULL THEN greatest(c.reltuples, s.n_live_tup) ELSE c.reltuples END::float8,
       greatest(s.n_mod_since_analyze, 0)::float8, t.reltuples::float8,
       coalesce(substring(array_to_string(c.reloptions, ',') FROM 'fillfactor=(\\d+)')::int, 90),
       w.width::float8, w.nulls,
       EXISTS (SELECT FROM pg_catalog.pg_index AS b JOIN pg_catalog.pg_class AS bc ON bc.oid = b.indexrelid
                WHERE b.indrelid = i.indrelid AND b.indexrelid <> i.indexrelid
                  AND bc.relname !~ '_cc(new|old)\\d*$'
                  AND starts_with(bc.relname::text, regexp_replace(c.relname, '_cc(new|old)\\d*$', ''))
                  AND (b.indkey::text, b.indclass::text, b.indcollation::text, b.indoption::text)
                    = (i.indkey::text, i.indclass::text, i.indcollation::text, i.indoption::text)
                  AND (pg_get_expr(b.indexprs, b.indrelid), pg_get_expr(b.indpred, b.indrelid))
                      IS NOT DISTINCT FROM
                      (pg_get_expr(i.indexprs, i.indrelid), pg_get_expr(i.indpred, i.indrelid)))
  FROM pg_catalog.pg_index AS i
  JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
  JOIN pg_catalog.pg_class AS t ON t.oid = i.indrelid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_namespace AS tn ON tn.oid = t.relnamespace
  JOIN pg_catalog.pg_am AS a ON a.oid = c.relam
  LEFT JOIN pg_catalog.pg_stat_all_tables AS s ON s.relid = i.indrelid
  CROSS JOIN (SELECT current_setting('block_size')::int AS page) AS m
  CROSS JOIN LATERAL (
       SELECT CASE WHEN count(*) = count(p.avg_width) THEN sum((1 - p.null_frac) * p.avg_width) END AS width,
              bool_or(p.null_frac > 0) AS nulls
         FROM pg_catalog.pg_attribute AS f
         LEFT JOIN pg_catalog.pg_attribute AS o
                ON o.attrelid = i.indrelid AND o.attnum = i.indkey[f.attnum - 1] AND o.attnum <> 0
         LEFT JOIN pg_catalog.pg_stats AS p
                ON NOT p.inherited
               AND (o.attnum IS NOT NULL AND p.schemaname = tn.nspname AND p.tablename = t.relname
                    AND p.attname = o.attname
                    OR o.attnum IS NULL AND p.schemaname = n.nspname AND p.tablename = c.relname
                    AND p.attname = f.attname)
        WHERE f.attrelid = i.indexrelid AND f.attnum > 0) AS w
 WHERE i.indrelid = ANY(CAST(%(tables)s AS oid[])) AND c.relkind = 'i'
 ORDER BY n.nspname = 'queuewarden', n.nspname, c.relname"""
"""Of a page, its head and what a B-tree keeps at its end are no room for entries: 24 and 16 bytes. Last comes
whether the index that this is a copy of, by its name, is defined alike: others may have made this one."""


@dataclass(frozen=True, slots=True)
class Index:
    """One index.

    Attributes:
        valid: queries may use it.
        exclusion: it is a constraint's that the server cannot rebuild beside the old one.
        size: bytes.
        bloat: how many per cent of it are waste, as estimated; None where that cannot be told.
        unsure: why it cannot.
        copy: the index that its name says it is a copy of is there, and is defined alike.
    """

    oid: int
    schema: str
    name: str
    table: int
    valid: bool
    exclusion: bool
    size: int
    bloat: float | None
    unsure: str = ""
    copy: bool = False

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def identifier(self) -> sql.Identifier:
        """Its qualified name."""
        return sql.Identifier(self.schema, self.name)

    @property
    def of(self) -> str | None:
        """The beginning of the name of the index that this is left over from; None where it is no such."""
        found = _LEFTOVER.fullmatch(self.name) if self.copy and not self.valid else None
        return found["base"] if found is not None else None


def indexes_of(tables: Collection[int]) -> Query:
    """The indexes of some tables, for `index`."""
    return Query(_INDEXES, {"tables": list(tables)})


def index(row: tuple[object, ...]) -> Index:
    """From a row of `indexes_of`."""
    return _index(*row)  # type: ignore[arg-type]  # as the query has them


def _index(
    oid: int,
    schema: str,
    name: str,
    table: int,
    valid: bool,  # noqa: FBT001 -- a row's values, in its order
    exclusion: bool,  # noqa: FBT001
    method: str,
    size: int,
    page: int,
    room: int,
    entries: float | None,
    changed: float | None,
    rows: float,
    fill: int,
    width: float | None,
    nulls: bool | None,  # noqa: FBT001
    copy: bool,  # noqa: FBT001
) -> Index:
    unsure = ""
    bloat = None
    if method != "btree":
        unsure = f"no estimate for {method}"
    elif entries is None or entries < 0 or rows < 0 or width is None:
        unsure = "no statistics: analyse its table"
    elif changed is not None and changed > max(rows, 1000) / 5:
        unsure = "much has changed since its table was analysed"
    else:
        needed = _pages(entries, width, room * fill / 100, bool(nulls)) * page
        bloat = max(0.0, 100 * (1 - needed / size)) if size else 0.0
    return Index(oid, schema, name, table, valid, exclusion, size, bloat, unsure, copy)


def _pages(entries: float, width: float, room: float, nulls: bool) -> float:  # noqa: FBT001 -- see above
    """Pages of a B-tree without waste: its leaves, those above them, and the first, which describes it."""
    entry = 4 + 8 + (8 if nulls else 0) + -(-width // 8) * 8
    fan = max(2.0, room // entry)
    level = max(1.0, entries / fan)
    pages = 1.0
    while level > 1:
        pages += level
        level /= fan
    return pages + 1


def left_over(indexes: Iterable[Index]) -> list[Index]:
    """What a REINDEX CONCURRENTLY that was cut short has left; each write to its table still pays for it."""
    return [one for one in indexes if one.of is not None]


def debris(one: Index, indexes: Iterable[Index]) -> Index | None:
    """What an earlier attempt to rebuild an index has left: another would only leave more."""
    return next(
        (
            other
            for other in left_over(indexes)
            if other.table == one.table and one.name.startswith(other.of or "\0")
        ),
        None,
    )
