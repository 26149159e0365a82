"""Starts of a job as another table notes them: when it began last, how often within a day."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from psycopg import sql

from queuewarden.queues.sqltext import INTEGER, Name, Value, cast, every
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
    """The job started more often within a day than its rescue budget allows; None where nothing tells."""
    mapped, shape, budget = target.mapping.starts, target.starts, target.limits.rescue_budget
    if mapped is None or shape is None:
        return None
    since = sql.SQL("{} >= {}").format(Name("s", mapped.at), ago(target, shape, mapped.at, DAY, "starts_day"))
    return sql.SQL("(SELECT count(*) FROM (SELECT FROM {} AND {} LIMIT {}) AS s) > {}").format(
        _rows(target),
        since,
        Value("starts_most", budget + 1, INTEGER),
        Value("starts_budget", budget, INTEGER),
    )


def _rows(target: Target) -> Composable:
    """The job's starts, from the table's name to the condition."""
    mapped, shape = target.mapping.starts, target.starts
    if mapped is None or shape is None:
        raise ValueError(f"queue {target.queue} maps no STARTS")
    (id_,) = target.mapping.jobs.id
    own, theirs = Name("s", mapped.job), Name("j", id_)
    same = sql.SQL("{} = {}")
    if shape.columns[mapped.job].type != target.jobs.columns[id_].type:
        parts = [same.format(own, cast(theirs, shape.columns[mapped.job].type))]
    else:
        parts = [same.format(own, theirs)]
    if mapped.kind is not None and mapped.value is not None:
        kind = Value("start_kind", mapped.value, shape.columns[mapped.kind].type)
        parts.append(sql.SQL("{} = {}").format(Name("s", mapped.kind), kind))
    return sql.SQL("{} AS s WHERE {}").format(Name(shape.schema, shape.name), every(parts))
