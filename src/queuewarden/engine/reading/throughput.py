"""Throughput: what came and what ended within a time, and how long it ran."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from psycopg import sql

from queuewarden.engine.reading.failures import end_columns, ended_since
from queuewarden.engine.render import compiled
from queuewarden.queues.sqltext import INTERVAL, TEXT, Value, cast, every
from queuewarden.queues.terms import job, relation, status_is
from queuewarden.queues.times import ago, finite, instant

if TYPE_CHECKING:
    from datetime import timedelta

    from psycopg.sql import Composable

    from queuewarden.adapters.db.session import Query, Row
    from queuewarden.queues.target import Target

_NULL = sql.SQL("NULL")


class Throughput(NamedTuple):
    """What ended within a time; what no column tells is None.

    Attributes:
        average_seconds, p95_seconds: how long jobs that are done ran.
        arrived: jobs that were enqueued.
    """

    done: int | None
    failed: int | None
    average_seconds: float | None
    p95_seconds: float | None
    arrived: int | None


class Repaired(NamedTuple):
    """What was repaired within a time, as the ledger has it."""

    queue: str
    check: str
    event: str
    rows: int


def throughput(target: Target, span: timedelta) -> Query:
    """One row; see `Throughput`."""
    return compiled(
        sql.SQL("SELECT e.*, {} FROM ({}) AS e").format(_arrived(target, span), _ended(target, span))
    )


def throughput_row(row: Row) -> Throughput:
    """From a row of `throughput`."""
    return Throughput(*row)


def repaired(environment: str, span: timedelta) -> Query:
    """Rows of what was repaired in an environment within a time, by queue, check and event."""
    return compiled(
        sql.SQL(
            "SELECT c.queue, c.check_name, c.event, sum(c.last_id - c.first_id + 1)::int8\n"
            "  FROM queuewarden.changes AS c\n"
            " WHERE c.environment = {} AND c.undoes IS NULL AND c.at >= statement_timestamp() - {}\n"
            " GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
        ).format(Value("environment", environment, TEXT), Value("span", span, INTERVAL))
    )


def repaired_row(row: Row) -> Repaired:
    """From a row of `repaired`."""
    return Repaired(*row)


def _ended(target: Target, span: timedelta) -> Composable:
    jobs, states = target.mapping.jobs, target.mapping.states
    if not end_columns(target) or not (states.done or states.failed):
        return sql.SQL("SELECT NULL::int8, NULL::int8, NULL::float8, NULL::float8")
    done = status_is(target, "done", states.done) if states.done else None
    failed = status_is(target, "failed", states.failed) if states.failed else None
    took: Composable = _NULL
    if done is not None and jobs.started_at is not None and jobs.finished_at is not None:
        took = sql.SQL("CASE WHEN {done} AND {finite} AND {end} >= {start} THEN {took} END").format(
            done=done,
            finite=finite(target.jobs, "j", jobs.started_at),
            start=instant(target, target.jobs, "j", jobs.started_at),
            end=instant(target, target.jobs, "j", jobs.finished_at),
            took=cast(
                sql.SQL("extract(epoch FROM {} - {})").format(
                    instant(target, target.jobs, "j", jobs.finished_at),
                    instant(target, target.jobs, "j", jobs.started_at),
                ),
                ("pg_catalog", "float8"),
            ),
        )
    known = [one for one in (done, failed) if one is not None]
    since = sql.SQL("statement_timestamp() - {}").format(Value("span", span, INTERVAL))
    return sql.SQL(
        "SELECT {}, {}, avg(s.took), percentile_cont(0.95) WITHIN GROUP (ORDER BY s.took)\n"
        "  FROM (SELECT {} AS done, {} AS failed, ({})::float8 AS took FROM {} AS j WHERE {}) AS s"
    ).format(
        sql.SQL("count(*) FILTER (WHERE s.done)") if done is not None else sql.SQL("NULL::int8"),
        sql.SQL("count(*) FILTER (WHERE s.failed)") if failed is not None else sql.SQL("NULL::int8"),
        done if done is not None else sql.SQL("FALSE"),
        failed if failed is not None else sql.SQL("FALSE"),
        took,
        relation(target.jobs),
        every([sql.SQL("({})").format(sql.SQL(" OR ").join(known)), ended_since(target, since)]),
    )


def _arrived(target: Target, span: timedelta) -> Composable:
    column = target.mapping.jobs.enqueued_at
    if column is None:
        return sql.SQL("NULL::int8")
    return sql.SQL("(SELECT count(*) FROM {} AS j WHERE {})").format(
        relation(target.jobs), every(_within(target, column, span))
    )


def _within(target: Target, column: str, span: timedelta) -> list[Composable]:
    """A time of the job lies within a span that ends now."""
    return [
        sql.SQL("{} >= {}").format(job(column), ago(target, target.jobs, column, span, "span")),
        finite(target.jobs, "j", column),
    ]
