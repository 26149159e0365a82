"""Starts of a job as another table notes them: when it began last, how often within a day."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from psycopg import sql

from queuewarden.queues.sqltext import INTEGER, Name, Value, cast
from queuewarden.queues.times import ago, as_instant

if TYPE_CHECKING:
    from psycopg.sql import Composable

    from queuewarden.queues.target import Target

DAY = timedelta(days=1)
"""The time in which a rescue budget counts."""


def last_start(target: Target) -> Composable | None:
    """When the job started last, as timestamptz; None where no table notes it."""
    mapped, shape = target.mapping.starts, target.starts
    if mapped is None or shape is None:
        return None
    latest = sql.SQL("(SELECT max({}) FROM {})").format(Name("s", mapped.at), _rows(target))
    return as_instant(target, shape, mapped.at, latest)


def too_many_starts(target: Target) -> Composable | None:
    """Within a day the job was started anew as often as its rescue budget allows, with no other note between.

    A start behind another note, such as that of a retry, is one that the library meant.
    """
    mapped, shape, budget = target.mapping.starts, target.starts, target.limits.rescue_budget
    if mapped is None or shape is None:
        return None
    since = sql.SQL("{} >= {}").format(Name("s", mapped.at), ago(target, shape, mapped.at, DAY, "starts_day"))
    again: Composable = sql.SQL("n.earlier IS NOT NULL")
    kind = Name("s", mapped.at)
    if mapped.kind is not None and mapped.value is not None:
        kind = Name("s", mapped.kind)
        start = Value("start_kind", mapped.value, shape.columns[mapped.kind].type)
        again = sql.SQL("n.kind = {} AND n.earlier = {}").format(start, start)
    return sql.SQL(
        "(SELECT count(*) FROM (SELECT {kind} AS kind, lag({kind}) OVER (ORDER BY {at}) AS earlier"
        " FROM {notes} AND {since}) AS n WHERE {again}) >= {budget}"
    ).format(
        kind=kind,
        at=Name("s", mapped.at),
        notes=_notes(target),
        since=since,
        again=again,
        budget=Value("starts_budget", budget, INTEGER),
    )


def _rows(target: Target) -> Composable:
    """The job's starts, from the table's name to the condition."""
    mapped, shape = target.mapping.starts, target.starts
    if mapped is None or shape is None or mapped.kind is None or mapped.value is None:
        return _notes(target)
    kind = Value("start_kind", mapped.value, shape.columns[mapped.kind].type)
    return sql.SQL("{} AND {} = {}").format(_notes(target), Name("s", mapped.kind), kind)


def _notes(target: Target) -> Composable:
    """All that is noted of the job, from the table's name to the condition."""
    mapped, shape = target.mapping.starts, target.starts
    if mapped is None or shape is None:
        raise ValueError(f"queue {target.queue} maps no STARTS")
    (id_,) = target.mapping.jobs.id
    theirs: Composable = Name("j", id_)
    if shape.columns[mapped.job].type != target.jobs.columns[id_].type:
        theirs = cast(theirs, shape.columns[mapped.job].type)
    return sql.SQL("{} AS s WHERE {} = {}").format(
        Name(shape.schema, shape.name), Name("s", mapped.job), theirs
    )
