"""What the catalog says of a few tables: keys, foreign keys, and which words a status column may hold."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from queuewarden.adapters.db.session import Query
from queuewarden.engine.render import compiled
from queuewarden.queues.proposal.facts import Foreign, Table, Word
from queuewarden.queues.proposal.states import MOST_WORDS, status_columns
from queuewarden.queues.sqltext import INTEGER, TEXT, Name, Value, cast

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from queuewarden.adapters.db.session import Row, Session

_COLUMNS = b"""
SELECT a.attrelid, a.attname, pg_catalog.pg_get_expr(d.adbin, d.adrelid),
       pg_catalog.col_description(a.attrelid, a.attnum),
       ARRAY(SELECT e.enumlabel::text FROM pg_catalog.pg_enum AS e WHERE e.enumtypid = a.atttypid
              ORDER BY e.enumsortorder),
       ARRAY(SELECT pg_catalog.pg_get_expr(k.conbin, 0) FROM pg_catalog.pg_constraint AS k
              WHERE k.contypid = a.atttypid AND k.contype = 'c')
  FROM pg_catalog.pg_attribute AS a
  LEFT JOIN pg_catalog.pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
 WHERE a.attrelid = ANY(CAST(%(oids)s AS oid[])) AND a.attnum > 0 AND NOT a.attisdropped"""

_INDEXES = b"""
SELECT i.indrelid, i.indisprimary, i.indisunique AND i.indisvalid AND i.indimmediate,
       pg_catalog.pg_get_expr(i.indpred, i.indrelid),
       ARRAY(SELECT a.attname::text
               FROM unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) WITH ORDINALITY AS k (attnum, place)
               LEFT JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
              ORDER BY k.place)
  FROM pg_catalog.pg_index AS i
 WHERE i.indrelid = ANY(CAST(%(oids)s AS oid[]))
 ORDER BY i.indrelid, i.indisprimary DESC, i.indnkeyatts, i.indexrelid"""

_CONSTRAINTS = b"""
SELECT c.conrelid, c.contype::text, pg_catalog.pg_get_expr(c.conbin, c.conrelid),
       ARRAY(SELECT a.attname::text FROM unnest(c.conkey) WITH ORDINALITY AS k (attnum, place)
               JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.conrelid AND a.attnum = k.attnum
              ORDER BY k.place),
       n.nspname::text, p.relname::text,
       ARRAY(SELECT a.attname::text FROM unnest(c.confkey) WITH ORDINALITY AS k (attnum, place)
               JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.confrelid AND a.attnum = k.attnum
              ORDER BY k.place),
       ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute AS a
               JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid
              WHERE a.attrelid = c.confrelid AND a.attnum > 0 AND t.typcategory = 'S' ORDER BY a.attnum)
  FROM pg_catalog.pg_constraint AS c
  LEFT JOIN pg_catalog.pg_class AS p ON p.oid = c.confrelid
  LEFT JOIN pg_catalog.pg_namespace AS n ON n.oid = p.relnamespace
 WHERE c.conrelid = ANY(CAST(%(oids)s AS oid[])) AND c.contype IN ('c', 'f')"""

_SIZES = b"""
SELECT c.oid,
       CASE c.relkind WHEN 'p' THEN (SELECT sum(greatest(l.reltuples, 0))
                                       FROM pg_catalog.pg_partition_tree(c.oid) AS t
                                       JOIN pg_catalog.pg_class AS l ON l.oid = t.relid AND t.isleaf)
                      WHEN 'r' THEN c.reltuples END::float8,
       CASE c.relkind WHEN 'p' THEN (SELECT coalesce(sum(pg_catalog.pg_relation_size(t.relid)), 0)
                                       FROM pg_catalog.pg_partition_tree(c.oid) AS t WHERE t.isleaf)
                      WHEN 'r' THEN pg_catalog.pg_relation_size(c.oid) ELSE 0 END::int8
         / CAST(current_setting('block_size') AS int8)
  FROM pg_catalog.pg_class AS c WHERE c.oid = ANY(CAST(%(oids)s AS oid[]))"""

_LITERAL = r"'(?:[^']|'')*'"
_CAST = r'(?:::[\w". ]+(?:\(\d+\))?(?:\[\])?)?'
_DEFAULT = re.compile(rf"(?:({_LITERAL})|\(?(-?\d+)\)?|(true|false)){_CAST}")
_NAMES = ("name", "label", "code", "title", "status", "state", "key", "slug", "value")
"""Columns of a lookup table that may hold the word, in this order."""
_COMMENT = re.compile(
    r"\b(-?\d{1,4})\s*(?:=>|->|[=:\-])\s*['\"]?([A-Za-z][\w -]*?)['\"]?\s*(?=[,;|/()\n.]|$)"
)


async def described(session: Session, tables: Sequence[Table]) -> dict[int, Table]:
    """The tables with all that the catalog knows of them, by their oid; without those that are locked.

    Raises:
        psycopg.Error: the connection was lost.
    """
    try:
        return await _together(session, tables)
    except psycopg.Error:
        if not session.usable:
            raise
    found: dict[int, Table] = {}
    for table in tables:
        try:
            found |= await _together(session, [table])
        except psycopg.Error:
            if not session.usable:
                raise
    return found


async def _together(session: Session, tables: Sequence[Table]) -> dict[int, Table]:
    by_oids = {"oids": [table.oid for table in tables]}
    found = await session.read([Query(text, by_oids) for text in (_COLUMNS, _INDEXES, _CONSTRAINTS, _SIZES)])
    columns, indexes, constraints, sizes = (_by_table(rows) for rows in found)
    return {
        table.oid: await _described(
            session, table, columns[table.oid], indexes[table.oid], constraints[table.oid], sizes[table.oid]
        )
        for table in tables
    }


def _by_table(rows: list[Row] | psycopg.Error) -> dict[int, list[Row]]:
    if isinstance(rows, psycopg.Error):
        raise rows
    found: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        found[row[0]].append(row[1:])
    return found


async def _described(
    session: Session,
    table: Table,
    columns: list[Row],
    indexes: list[Row],
    constraints: list[Row],
    sizes: list[Row],
) -> Table:
    by_name = {row[0]: row[1:] for row in columns}
    table = replace(
        table,
        columns=tuple(
            replace(one, default=_constant(by_name[one.name][0]))
            for one in table.columns
            if one.name in by_name
        ),
        foreign=tuple(
            Foreign(tuple(own), (schema, name), tuple(to))
            for kind, _, own, schema, name, to, _ in constraints
            if kind == "f"
        ),
        rows=_estimate(sizes[0][0]) if sizes else table.rows,
        pages=sizes[0][1] if sizes else table.pages,
    )
    not_null = {one.name for one in table.columns if one.not_null}
    whole = [(primary, names) for primary, unique, where, names in indexes if unique and where is None]
    keys = [tuple(names) for primary, names in whole if primary or (names and set(names) <= not_null)]
    words: dict[str, tuple[Word, ...]] = {}
    closed = set()
    for column in status_columns(table):
        default, comment, labels, domain = by_name[column.name]
        told = [Word(label, label, "enum") for label in labels]
        checks = [row[1] for row in constraints if row[0] == "c" and row[2] == [column.name]]
        told += [Word(one, one, "check") for text in checks for one in values_in(text, column.name)]
        told += [Word(one, one, "check") for text in domain for one in values_in(text, "VALUE")]
        looked_up = await _lookup(session, column.name, constraints)
        told += looked_up
        if told:
            closed.add(column.name)
        told += [Word(value, word, "comment") for value, word in _COMMENT.findall(comment or "")]
        if (fresh := _constant(default)) is not None:
            told.append(Word(fresh, fresh, "default"))
        loose = [row[2] for row in indexes if row[2]] + [
            row[1] for row in constraints if row[0] == "c" and row[1]
        ]
        told += [Word(one, one, "index") for text in loose for one in values_in(text, column.name)]
        first = {word.value: word for word in reversed(told)}
        words[column.name] = tuple(first[value] for value in dict.fromkeys(word.value for word in told))
    return replace(
        table,
        key=keys[0] if keys else (),
        unique=tuple(frozenset(names) for _, names in whole if None not in names),
        leading=frozenset(names[0] for _, _, where, names in indexes if where is None and names and names[0]),
        words=words,
        closed=frozenset(closed),
    )


def values_in(text: str, column: str) -> Iterator[str]:
    """The values that a predicate compares a column with."""
    name = rf'(?<![\w"])"?{re.escape(column)}"?(?![\w"])'
    compared = re.compile(
        rf"{name}\)?{_CAST}\)?\s*(?:=|<>)\s*(?:ANY|ALL)?\s*\(*(?:ARRAY\[)?"
        rf"((?:{_LITERAL}|-?\d+)\)?{_CAST}(?:\s*,\s*\(?(?:{_LITERAL}|-?\d+)\)?{_CAST})*)"
    )
    for found in compared.finditer(text):
        for literal in re.finditer(rf"{_LITERAL}|(?<![\w\[(])-?\d+(?!\w)|^-?\d+", found[1]):
            said = literal.group()
            yield said[1:-1].replace("''", "'") if said.startswith("'") else said


def _constant(expression: str | None) -> str | None:
    """The value of a default that is a constant."""
    found = _DEFAULT.fullmatch(expression or "")
    if found is None:
        return None
    quoted, digits, flag = found.groups()
    return quoted[1:-1].replace("''", "'") if quoted else digits or flag


def _estimate(tuples: float | None) -> int | None:
    """About how many rows; None where nobody has counted."""
    return int(tuples) if tuples is not None and tuples >= 0 else None


async def _lookup(session: Session, column: str, constraints: list[Row]) -> list[Word]:
    """The rows of the table that a status column points at; none where this role may not read it."""
    for kind, _, own, schema, name, to, texts in constraints:
        if kind != "f" or own != [column] or len(to) != 1:
            continue
        others = [one for one in texts if one != to[0]]
        word = next((one for one in _NAMES if one in others), others[0] if others else to[0])
        query = sql.SQL("SELECT {}, {} FROM {} LIMIT {}").format(
            cast(Name(to[0]), TEXT),
            cast(Name(word), TEXT),
            Name(schema, name),
            Value("most", MOST_WORDS + 1, INTEGER),
        )
        try:
            rows = await session.rows(compiled(query))
        except psycopg.Error:
            if not session.usable:
                raise
            return []
        return [Word(value, said or value, "lookup") for value, said in rows if value is not None]
    return []
