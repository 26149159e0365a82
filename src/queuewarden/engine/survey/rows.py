"""A bounded look at the rows of one table: which states there are, and what is set in each of them.

Of a large table some thousand rows are looked at: some anywhere, the last pages, and the greatest keys,
among which the live ones are; and all values of a status that an index can list.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from psycopg import sql

from queuewarden.engine.survey.trying import tried
from queuewarden.queues.conditions import Compared, Null, condition
from queuewarden.queues.proposal.asked import asked
from queuewarden.queues.proposal.facts import TIMES, Group, Sample, Word
from queuewarden.queues.proposal.names import time_weight
from queuewarden.queues.proposal.states import MOST_WORDS, status_columns
from queuewarden.queues.sqltext import INTEGER, TEXT, TRUE, Name, Value, cast, commas, every

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg.sql import Composable

    from queuewarden.adapters.db.session import Row, Session
    from queuewarden.queues.proposal.asked import Asked
    from queuewarden.queues.proposal.facts import Column, StatesFound, Table
    from queuewarden.queues.proposal.words import State

SMALL = 10_000
"""A table of up to so many rows is read whole."""

_SMALL_PAGES = 1000
_SOME = 4000
"""Rows that each of the looks at a large table brings."""
_PAGES = 200
_MOST_GROUPS = 500
_LONGEST = 100
_TARGETED = 500
_SCANNED_PAGES = 40_000
"""A table of up to so many pages is read through for all words and rows that run, where no index helps."""
_MOST_TIMES = 2
_RANGES = 140_000
"""The version from which on a condition on ctid reads only the pages that it is about."""
FLOAT = ("pg_catalog", "float8")


async def sampled(session: Session, table: Table, version: int) -> Table:
    """The table with what its rows showed; without, where this role may not read them or it took too long.

    Raises:
        psycopg.Error: the connection was lost.
    """
    columns = asked(table)
    small = table.pages <= _SMALL_PAGES
    rows = await tried(session, _grouped(columns, table, _sources(table, columns, version, small=small)))
    if rows is None:
        return table
    groups, ahead = _groups(columns, rows)
    complete = small and sum(one.count for one in groups) <= SMALL
    sample = Sample(groups, complete, frozenset(columns.present), ahead)
    listed = {} if complete else await _listed(session, table)
    words = {name: (*table.words.get(name, ()), *listed.get(name, ())) for name in {*table.words, *listed}}
    return replace(table, sample=sample, words=words)


async def running_too(session: Session, table: Table, states: StatesFound) -> Table:
    """The table with rows that run, where the look at some rows showed none.

    Raises:
        psycopg.Error: the connection was lost.
    """
    sample = table.sample
    if sample is None or sample.complete or any(states.of(one) == "running" for one in sample.groups):
        return table
    if states.status not in table.leading and table.pages > _SCANNED_PAGES:
        return table
    columns = asked(table)
    where = state_is(table, states, "running")
    source = _source(table, columns, sql.SQL("WHERE {} LIMIT {}").format(where, _number("some", _TARGETED)))
    rows = await tried(session, _grouped(columns, table, [source]))
    groups, ahead = _groups(columns, rows or [])
    return replace(
        table, sample=replace(sample, groups=(*sample.groups, *groups), ahead={**ahead, **sample.ahead})
    )


def state_is(table: Table, states: StatesFound, state: State) -> Composable:
    """The condition of a state, for one of the table's rows."""
    values = states.values[state]
    if states.status is not None:
        column = table.column(states.status)
        typed = [
            Value(f"{state}_{at}", value, (column.space, column.type)) for at, value in enumerate(values)
        ]
        return sql.SQL("{} IN ({})").format(Name(column.name), commas(typed))
    return every(_holds(table, f"{state}_{at}", text) for at, text in enumerate(values))


def _holds(table: Table, name: str, text: str) -> Composable:
    match condition(text):
        case Null(column, wanted):
            return sql.SQL("{} IS NULL" if wanted else "{} IS NOT NULL").format(Name(column))
        case Compared(column, _, value, None):
            one = table.column(column)
            return sql.SQL("{} = {}").format(Name(column), Value(name, value, (one.space, one.type)))
    return TRUE


def moment(column: Column, unit: str | None = None) -> Composable:
    """A time as seconds, counted from 1970; NULL where it is infinite. ``unit``: of whole numbers."""
    name = Name(column.name)
    if column.family == "number":
        size = sql.SQL("1000.0") if unit == "milliseconds" else sql.SQL("1.0")
        return sql.SQL("CAST({} AS float8) / {}").format(name, size)
    return sql.SQL("CASE WHEN isfinite({}) THEN CAST(extract(epoch FROM {}) AS float8) END").format(
        name, name
    )


def _sources(table: Table, columns: Asked, version: int, *, small: bool) -> list[Composable]:
    if small:
        return [_source(table, columns, sql.SQL("LIMIT {}").format(_number("most", SMALL + 1)))]
    share = Value("share", min(100.0, 100.0 * _PAGES / max(table.pages, 1)), ("pg_catalog", "float4"))
    some = _number("some", _SOME)
    ends = [sql.SQL("TABLESAMPLE SYSTEM ({}) LIMIT {}").format(share, some)]
    if len(table.key) == 1:
        ends.append(sql.SQL("ORDER BY {} DESC LIMIT {}").format(Name(table.key[0]), some))
    late = [one.name for one in table.of(TIMES) if one.name in table.leading and _tells_newest(one.name)]
    for name in late[:_MOST_TIMES]:
        newest = sql.SQL("WHERE {} IS NOT NULL ORDER BY {} DESC LIMIT {}")
        ends.append(newest.format(Name(name), Name(name), some))
    if table.kind == "r" and version >= _RANGES:
        last = Value("last", f"({max(table.pages - _PAGES, 0)},0)", ("pg_catalog", "tid"))
        ends.append(sql.SQL("WHERE ctid >= {} ORDER BY ctid DESC LIMIT {}").format(last, some))
    return [_source(table, columns, end) for end in ends]


def _tells_newest(name: str) -> bool:
    return any(time_weight(name, role) for role in ("started_at", "updated_at", "enqueued_at"))


def _source(table: Table, columns: Asked, end: Composable) -> Composable:
    """Rows as they are grouped; with their place, so that a row that is met twice counts once."""
    told: list[Composable] = [sql.SQL("tableoid"), sql.SQL("ctid")]
    for at, name in enumerate(columns.values):
        cut = sql.SQL("left({}, {}) AS {}").format(
            cast(Name(name), TEXT), sql.Literal(_LONGEST), Name(f"v{at}")
        )
        told.append(cut)
    bits: list[Composable] = [sql.SQL("CAST(0 AS int8)")]
    for at, name in enumerate(columns.present):
        bits.append(sql.SQL("CASE WHEN {} IS NULL THEN 0 ELSE {} END").format(Name(name), sql.Literal(2**at)))
    told.append(sql.SQL("{} AS present").format(sql.SQL(" + ").join(bits)))
    for at, name in enumerate(columns.numbers):
        told.append(sql.SQL("CAST({} AS float8) AS {}").format(Name(name), Name(f"n{at}")))
    utc = sql.SQL("extract(epoch FROM statement_timestamp())")
    for at, name in enumerate(columns.naive):
        ahead = sql.SQL("CAST({} - {} AS float8) AS {}")
        told.append(ahead.format(moment(table.column(name)), utc, Name(f"t{at}")))
    return sql.SQL("(SELECT {} FROM {} {})").format(commas(told), Name(table.schema, table.name), end)


def _grouped(columns: Asked, table: Table, sources: Sequence[Composable]) -> Composable:
    del table
    values = [Name(f"v{at}") for at in range(len(columns.values))]
    told: list[Composable] = [*values, sql.SQL("present"), sql.SQL("count(*)")]
    for at in range(len(columns.numbers)):
        told += [sql.SQL("{}({})").format(sql.SQL(one), Name(f"n{at}")) for one in ("min", "max")]
    told += [sql.SQL("max({})").format(Name(f"t{at}")) for at in range(len(columns.naive))]
    return sql.SQL("SELECT {} FROM ({}) AS s GROUP BY {} ORDER BY count(*) DESC LIMIT {}").format(
        commas(told),
        sql.SQL(" UNION ").join(sources),
        commas([*values, sql.SQL("present")]),
        _number("groups", _MOST_GROUPS),
    )


def _groups(columns: Asked, rows: Sequence[Row]) -> tuple[tuple[Group, ...], dict[str, float]]:
    """The rows of `_grouped`; and how far ahead naive times are."""
    groups: list[Group] = []
    ahead: dict[str, float] = {}
    for row in rows:
        cells: list[Any] = list(row)
        values = {name: cells.pop(0) for name in columns.values}
        present, count = cells.pop(0), cells.pop(0)
        numbers = {}
        for name in columns.numbers:
            least, most = cells.pop(0), cells.pop(0)
            if least is not None:
                numbers[name] = (least, most)
        for name in columns.naive:
            if (one := cells.pop(0)) is not None:
                ahead[name] = max(one, ahead.get(name, one))
        there = frozenset(name for at, name in enumerate(columns.present) if present >> at & 1)
        groups.append(Group(values, there, count, numbers))
    return tuple(groups), ahead


async def _listed(session: Session, table: Table) -> dict[str, list[Word]]:
    """All values of status columns: one jump each where an index lists them; else read, or common ones."""
    found: dict[str, list[Word]] = {}
    for column in status_columns(table):
        name, place = Name(column.name), Name(table.schema, table.name)
        if column.name in table.leading:
            query = sql.SQL(
                "WITH RECURSIVE v AS ((SELECT {c} AS s FROM {t} WHERE {c} IS NOT NULL ORDER BY 1 LIMIT 1)"
                " UNION ALL SELECT (SELECT {c} FROM {t} WHERE {c} > v.s ORDER BY 1 LIMIT 1) FROM v"
                " WHERE v.s IS NOT NULL)"
                " SELECT left(CAST(s AS text), {l}) FROM v WHERE s IS NOT NULL LIMIT {m}"
            ).format(c=name, t=place, l=sql.Literal(_LONGEST), m=_number("most", MOST_WORDS + 1))
        elif table.pages <= _SCANNED_PAGES:
            query = sql.SQL("SELECT left(CAST({c} AS text), {l}) FROM {t} GROUP BY {c} LIMIT {m}").format(
                c=name, t=place, l=sql.Literal(_LONGEST), m=_number("most", MOST_WORDS + 2)
            )
        else:
            query = sql.SQL(
                "SELECT left(u.s, {l}) FROM pg_catalog.pg_stats AS p,"
                " unnest(CAST(CAST(p.most_common_vals AS text) AS text[])) AS u (s)"
                " WHERE p.schemaname = {a} AND p.tablename = {b} AND p.attname = {c} LIMIT {m}"
            ).format(
                l=sql.Literal(_LONGEST),
                a=Value("schema", table.schema, TEXT),
                b=Value("table", table.name, TEXT),
                c=Value("column", column.name, TEXT),
                m=_number("most", MOST_WORDS + 1),
            )
        rows = await tried(session, query)
        found[column.name] = [Word(value, value, "rows") for (value,) in rows or () if value is not None]
    return found


def _number(name: str, value: int) -> Value:
    return Value(name, value, INTEGER)
