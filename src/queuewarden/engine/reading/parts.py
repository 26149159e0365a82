"""What the statements for people share: values as text that is short enough, times in UTC, keys in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

from queuewarden.engine.shown import shown
from queuewarden.queues.keys import key_columns
from queuewarden.queues.sqltext import TEXT, Name, Value, cast, commas
from queuewarden.queues.terms import ALIAS, shape
from queuewarden.queues.times import instant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg.sql import Composable

    from queuewarden.model import Key, Table
    from queuewarden.queues.target import Target

NULL: Composable = sql.SQL("NULL::text")
NOW: Composable = sql.SQL("statement_timestamp()")

_FORMAT = sql.SQL("""'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'""")


def text(target: Target, table: Table, column: str | None) -> Composable:
    """A column as text, cut to what people are shown; NULL where none is mapped."""
    if column is None or column not in shape(target, table).columns:
        return NULL
    return shown(cast(Name(ALIAS[table], column), TEXT))


def time(target: Target, table: Table, column: str | None) -> Composable:
    """A time column in UTC; NULL where none is mapped."""
    if column is None:
        return NULL
    return utc(instant(target, shape(target, table), ALIAS[table], column))


def utc(moment: Composable) -> Composable:
    """A moment as ISO 8601 writes it; NULL where it is infinite, or in no year of four digits."""
    return sql.SQL(
        "CASE WHEN {moment} >= '0001-01-02Z'::timestamptz AND {moment} < '9999-12-31Z'::timestamptz"
        " THEN to_char({moment} AT TIME ZONE 'UTC', {format}) END"
    ).format(moment=moment, format=_FORMAT)


def order(target: Target, table: Table) -> list[Composable]:
    """The key columns as rows are ordered by them.

    A type with an order of its own is ordered by its text, since its operators lie on no path of ours.
    """
    columns = shape(target, table).columns
    names = {name: Name(ALIAS[table], name) for name in key_columns(target, table)}
    return [cast(part, TEXT) if columns[name].own_equality else part for name, part in names.items()]


def behind(target: Target, table: Table, key: Key) -> Composable:
    """The row comes after the one of this key."""
    columns = shape(target, table).columns
    values = [
        Value(f"after_{number}", part, TEXT if columns[name].own_equality else columns[name].type)
        for number, (name, part) in enumerate(zip(key_columns(target, table), key, strict=True))
    ]
    return sql.SQL("({}) > ({})").format(commas(order(target, table)), commas(values))


def latest(moments: Sequence[Composable]) -> Composable:
    """The latest of some moments, those that are NULL apart."""
    return sql.SQL("greatest({})").format(commas(moments))
