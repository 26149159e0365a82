"""Parking: a way round unique indexes that are checked row by row.

A permutation fails under them in one statement. So the positions that change are first put out of the way,
then written. Where the numbers would be lost with the positions, the parked ones tell them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

from queuewarden.engine.lanes import lane_is, ordered, ordinary, rank_of, report, written
from queuewarden.engine.ledger.book import NO_BOOKING, Booking
from queuewarden.engine.render import compiled, image_columns, texts
from queuewarden.queues.keys import key_names
from queuewarden.queues.sqltext import INTEGER, TEXT, Name, Value, cast, commas, every
from queuewarden.queues.terms import job, relation, role_path

if TYPE_CHECKING:
    from psycopg.sql import Composable

    from queuewarden.adapters.db.session import Query
    from queuewarden.engine.lanes import Lane
    from queuewarden.model import Rule
    from queuewarden.queues.target import Target

MARK = "~"
"""What a parked position begins with where positions are text."""


def must_park(target: Target, rule: Rule) -> bool:
    """Whether a unique index is checked row by row, so that a permutation needs a step between."""
    column = rank_of(rule).position
    return column is not None and any(column in columns for columns in target.jobs.instant_unique)


def parks_above(target: Target, rule: Rule) -> bool:
    """Whether parked positions must still tell their number: NULL is refused, or the numbers hang on them."""
    positions, column = target.mapping.positions, rank_of(rule).position
    if positions is None or column is None:
        return False
    return target.jobs.columns[column].not_null or not positions.dense or column in ordered(target)


def highest(target: Target, rule: Rule, lane: Lane) -> Query:
    """One row: the highest ordinary position in a lane, whatever a job's status; 0 where they are text."""
    column = rank_of(rule).position
    if column is None or target.jobs.columns[column].family != "number":
        return compiled(sql.SQL("SELECT 0"))
    below = sql.SQL("{} <= {}").format(job(column), ordinary(target, column))
    return compiled(
        sql.SQL("SELECT CAST(ceil(greatest(max({}), 0)) AS int8) FROM {} AS j WHERE {}").format(
            job(column), relation(target.jobs), every([lane_is(target, rule, lane), below])
        )
    )


def park(target: Target, rule: Rule, lane: Lane, locked: int, top: int, sample: int, book: Booking) -> Query:
    """Put the positions that will change out of the way: to NULL where that will do, else above all others.

    Rows: as those of `write_lane`.
    """
    column, number = _position(rule)
    shape = target.jobs.columns[column]
    value: Composable = sql.SQL("NULL")
    if parks_above(target, rule) and shape.family == "number":
        value = cast(sql.SQL("{} + {}").format(number, Value("top", top, INTEGER)), shape.type)
    elif parks_above(target, rule):
        mark = Value("parked", MARK, TEXT)
        value = cast(sql.SQL("{} || {}").format(mark, cast(number, TEXT)), shape.type)
    return written(target, rule, lane, locked, {column: value}, sample, book)


def unpark(target: Target, rule: Rule, lane: Lane, top: int, sample: int, book: Booking) -> Query:
    """Bring positions that were parked above to the number they tell. Rows: as those of `write_lane`."""
    column, _ = _position(rule)
    shape = target.jobs.columns[column]
    if shape.family == "number":
        base = Value("top", top, INTEGER)
        parked = sql.SQL("{} > {}").format(job(column), base)
        value = cast(sql.SQL("{} - {}").format(job(column), base), shape.type)
    else:
        text = cast(job(column), TEXT)
        parked = sql.SQL("starts_with({}, {})").format(text, Value("parked", MARK, TEXT))
        value = cast(sql.SQL("substr({}, 2)").format(text), shape.type)
    imaged = bool(sample) or book is not NO_BOOKING
    columns = [job(name) for name in image_columns(target, "jobs", (column,))] if imaged else []
    return compiled(
        sql.SQL(
            "WITH path AS MATERIALIZED (SELECT {path}),\n"
            "done AS (UPDATE {table} AS j SET {column} = {value}\n"
            "  WHERE {where} AND (SELECT count(*) FROM path AS p WHERE p.role_path IS NULL) < 2\n"
            "  RETURNING {key} AS key, {none} AS before, {none} AS facts, {after} AS after){booked}\n{report}"
        ).format(
            path=commas(role_path(target.jobs) or [sql.SQL("NULL AS role_path")]),
            table=relation(target.jobs),
            column=Name(column),
            value=value,
            where=every([rule.where, lane_is(target, rule, lane), parked]),
            key=texts(key_names(target, "jobs")),
            none=texts([]),
            after=texts(columns),
            booked=book.ctes,
            report=report(sample, book),
        )
    )


def _position(rule: Rule) -> tuple[str, Composable]:
    """The position's column, and the number that a faulty member gets."""
    column = rank_of(rule).position
    if column is None or rule.write is None:
        raise ValueError(f"rule {rule.code} writes no position")
    return column, rule.write.values[column]
