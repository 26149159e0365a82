"""Rows that an undo put back: left alone by every check until they change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

from queuewarden.queues.keys import TEXTS, key_columns
from queuewarden.queues.sqltext import TEXT, Name, Value, cast, commas
from queuewarden.queues.terms import ALIAS, shape

if TYPE_CHECKING:
    from collections.abc import Iterable

    from psycopg.sql import Composable

    from queuewarden.model import Table
    from queuewarden.queues.target import Column, Shape, Target

VERSION_OF_OURS = sql.SQL("CAST(CAST(pg_current_xact_id() AS xid) AS text)")
"""The xmin that a row written by this transaction shows."""


def left_alone(target: Target, table: Table) -> Composable | None:
    """The row was put back and has not changed since; None where no row of its table was."""
    if table not in target.left_alone:
        return None
    return sql.SQL(
        "EXISTS (SELECT FROM queuewarden.left_alone AS a"
        " WHERE {same} AND a.key = {key} AND a.version = {xmin})"
    ).format(
        same=of_table(target, table),
        key=key_text(shape(target, table), ALIAS[table], key_columns(target, table)),
        xmin=cast(Name(ALIAS[table], "xmin"), TEXT),
    )


def of_table(target: Target, table: Table) -> Composable:
    """Row ``a`` of the list is about a table of the queue."""
    relation = shape(target, table)
    return sql.SQL("a.table_schema = {} AND a.table_name = {}").format(
        Value(f"alone_schema_{table}", relation.schema, TEXT),
        Value(f"alone_table_{table}", relation.name, TEXT),
    )


def key_text(shape_: Shape, alias: str, names: Iterable[str]) -> Composable:
    """The key of a row as the list holds it: times in UTC, whatever the zone of a person's session."""
    parts = commas(_text(shape_.columns[name], Name(alias, name)) for name in names)
    return cast(sql.SQL("ARRAY[{}]").format(parts), TEXTS)


def _text(column: Column, value: Composable) -> Composable:
    if column.family != "instant":
        return cast(value, TEXT)
    utc = cast(sql.SQL("({} AT TIME ZONE 'UTC')").format(value), TEXT)
    return sql.SQL("CASE WHEN isfinite({0}) THEN {1} || '+00' ELSE {1} END").format(value, utc)
