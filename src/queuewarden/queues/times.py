"""Times of mapped columns, whatever their type: with a zone, without, or seconds since 1970 as numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

from queuewarden.queues.sqltext import INTERVAL, TEXT, TRUE, Name, Value, cast

if TYPE_CHECKING:
    from datetime import timedelta

    from psycopg.sql import Composable

    from queuewarden.queues.target import Shape, Target

NOW = sql.SQL("statement_timestamp()")
_UNITS = {"seconds": sql.SQL("1"), "milliseconds": sql.SQL("1000")}
_YEARS = sql.SQL("least(greatest({}, -62135596800), 253402300799)")
"""From year 1 to 9999: a number may be beyond all timestamps, and one row's must not fail the look at all."""


def now(target: Target, shape: Shape, column: str) -> Composable:
    """The database's clock in the type of a time column; naive columns by the mapped zone."""
    return in_type_of(target, shape, column, NOW)


def in_type_of(target: Target, shape: Shape, column: str, moment: Composable) -> Composable:
    """A timestamptz in the type of a time column, which can then stand alone, for its index's sake."""
    known = shape.columns[column]
    if known.family == "naive":
        return sql.SQL("({} AT TIME ZONE {})").format(moment, _zone(target))
    if known.family == "number":
        whole = sql.SQL("floor(extract(epoch FROM {}) * {})").format(moment, _unit(target))
        return cast(whole, known.type)
    return moment


def instant(target: Target, shape: Shape, alias: str, column: str) -> Composable:
    """A time column as timestamptz, for comparing columns of different types with each other."""
    return as_instant(target, shape, column, Name(alias, column))


def as_instant(target: Target, shape: Shape, column: str, value: Composable) -> Composable:
    """A value of a time column's type as timestamptz."""
    family = shape.columns[column].family
    if family == "naive":
        return sql.SQL("({} AT TIME ZONE {})").format(value, _zone(target))
    if family == "number":
        seconds = _YEARS.format(sql.SQL("CAST({} AS float8) / {}").format(value, _unit(target)))
        return sql.SQL("CASE WHEN {} IS NOT NULL THEN to_timestamp({}) END").format(value, seconds)
    return value


def finite(shape: Shape, alias: str, column: str) -> Composable:
    """The time is no infinity, which has no age; numbers never are."""
    if shape.columns[column].family == "number":
        return TRUE
    return sql.SQL("isfinite({})").format(Name(alias, column))


def older_than(
    target: Target, shape: Shape, alias: str, column: str, limit: timedelta, name: str
) -> Composable:
    """A time lies further back than a limit. The column stands alone, for the index's sake."""
    return sql.SQL("{} < {}").format(Name(alias, column), ago(target, shape, column, limit, name))


def ago(target: Target, shape: Shape, column: str, limit: timedelta, name: str) -> Composable:
    """The moment that lies a limit back, in the type of a time column.

    A naive clock leaps when summer time begins or ends. Taking the limit off before and after the conversion,
    and going by the earlier result, errs on the young side in both nights.
    """
    span = Value(name, limit, INTERVAL)
    back = sql.SQL("{} - {}").format(NOW, span)
    if shape.columns[column].family != "naive":
        return in_type_of(target, shape, column, back)
    return sql.SQL("least({} - {}, ({}) AT TIME ZONE {})").format(
        now(target, shape, column), span, back, _zone(target)
    )


def ahead(target: Target, shape: Shape, column: str, span: timedelta, name: str) -> Composable:
    """The moment that lies a span ahead, in the type of a time column."""
    later = Value(name, span, INTERVAL)
    if shape.columns[column].family == "naive":
        return sql.SQL("{} + {}").format(now(target, shape, column), later)
    return in_type_of(target, shape, column, sql.SQL("({} + {})").format(NOW, later))


def age(target: Target, shape: Shape, alias: str, column: str) -> Composable:
    """Whole seconds since a time column, by the database's clock; NULL where it is infinite."""
    family = shape.columns[column].family
    since = (
        sql.SQL("{} - {}").format(NOW, instant(target, shape, alias, column))
        if family == "number"
        else sql.SQL("{} - {}").format(now(target, shape, column), Name(alias, column))
    )
    return sql.SQL("CASE WHEN {} THEN CAST(extract(epoch FROM {}) AS int8) END").format(
        finite(shape, alias, column), since
    )


def _zone(target: Target) -> Value:
    return Value("time_zone", target.mapping.jobs.time_zone, TEXT)


def _unit(target: Target) -> Composable:
    return _UNITS[target.mapping.jobs.epoch or "seconds"]
