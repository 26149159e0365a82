"""Failures: by the hour, and the latest ones with what they say."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from psycopg import sql

from queuewarden.engine.reading.parts import NOW, NULL, time
from queuewarden.engine.render import compiled, texts
from queuewarden.queues.keys import key_names
from queuewarden.queues.sqltext import INTEGER, TEXT, Value, cast, commas, every, some
from queuewarden.queues.terms import job, relation, status_is
from queuewarden.queues.times import finite, in_type_of, instant

if TYPE_CHECKING:
    from psycopg.sql import Composable

    from queuewarden.adapters.db.session import Query, Row
    from queuewarden.queues.target import Target

LOOKED_AT = 2000
"""Failures of which the texts are looked at: the latest ones."""

LONGEST = 300
"""Characters of a text that are looked at."""

_HOUR = sql.SQL("date_trunc('hour', {} AT TIME ZONE 'UTC')")
_ISO = sql.SQL("""'YYYY-MM-DD"T"HH24:00:00"Z"'""")


class Hour(NamedTuple):
    """What ended in one hour."""

    hour: str
    failed: int
    done: int


class Failure(NamedTuple):
    """One failed job."""

    id: str
    at: str | None
    error: str | None


def timeline(target: Target, hours: int) -> Query | None:
    """Each of the last hours, the present one included; None where no time tells when a job failed."""
    failed, finished = _failed(target), ended(target)
    if failed is None or finished is None:
        return None
    done = target.mapping.states.done
    is_done = status_is(target, "done", done) if done else sql.SQL("FALSE")
    first = sql.SQL("{} - make_interval(hours => {})").format(
        _HOUR.format(NOW), Value("hours", hours - 1, ("pg_catalog", "int4"))
    )
    hours_ = sql.SQL(
        "SELECT {hour} AS hour, count(*) FILTER (WHERE {failed}) AS failed,"
        " count(*) FILTER (WHERE {done}) AS done\n  FROM {table} AS j WHERE {where} GROUP BY 1"
    ).format(
        hour=_HOUR.format(finished),
        failed=failed,
        done=is_done,
        table=relation(target.jobs),
        where=every(
            [
                sql.SQL("({} OR {})").format(failed, is_done),
                ended_since(target, _of_utc(first)),
            ]
        ),
    )
    return compiled(
        sql.SQL(
            "SELECT to_char(h, {}), coalesce(e.failed, 0), coalesce(e.done, 0)\n"
            "  FROM generate_series({}, {}, '1 hour') AS h LEFT JOIN ({}) AS e ON e.hour = h ORDER BY h"
        ).format(_ISO, first, _HOUR.format(NOW), hours_)
    )


def hour(row: Row) -> Hour:
    """From a row of `timeline`."""
    return Hour(*row)


def latest_failures(target: Target, hours: int) -> Query | None:
    """The latest failed jobs, those of the last hours only where their time is known; None without a status
    that says failed.
    """
    failed, column = _failed(target), target.mapping.jobs.failure
    if failed is None:
        return None
    conditions: list[Composable] = [failed]
    order: list[Composable] = list(key_names(target, "jobs"))
    if column is not None:
        first = sql.SQL("{} - make_interval(hours => {})").format(
            _HOUR.format(NOW), Value("hours", hours - 1, ("pg_catalog", "int4"))
        )
        conditions.append(
            sql.SQL("{} >= {}").format(job(column), in_type_of(target, target.jobs, column, _of_utc(first)))
        )
        order = [job(column)]
    return compiled(
        sql.SQL("SELECT {}, {}, {}\n  FROM {} AS j WHERE {}\n ORDER BY {} LIMIT {}").format(
            texts(key_names(target, "jobs")),
            time(target, "jobs", column) if column is not None else NULL,
            _telling(target),
            relation(target.jobs),
            every(conditions),
            commas(sql.SQL("{} DESC").format(part) for part in order),
            Value("limit", LOOKED_AT, INTEGER),
        )
    )


def failure(row: Row) -> Failure:
    """From a row of `latest_failures`."""
    key, at, error = row
    return Failure(",".join(key), at, error)


def end_columns(target: Target) -> tuple[str, ...]:
    """The columns that tell when a job ended: one, or that of failures and that of the others."""
    jobs = target.mapping.jobs
    columns = (jobs.failure, jobs.finished_at or jobs.updated_at)
    return tuple(dict.fromkeys(column for column in columns if column is not None))


def ended(target: Target) -> Composable | None:
    """When a job ended; None where no column tells."""
    times = [instant(target, target.jobs, "j", column) for column in end_columns(target)]
    return sql.SQL("coalesce({})").format(commas(times)) if times else None


def ended_since(target: Target, moment: Composable) -> Composable:
    """A job ended at a moment or later; each column stands alone, for its index's sake."""
    return some(
        [
            every(
                [
                    sql.SQL("{} >= {}").format(job(name), in_type_of(target, target.jobs, name, moment)),
                    finite(target.jobs, "j", name),
                ]
            )
            for name in end_columns(target)
        ]
    )


def _telling(target: Target) -> Composable:
    """As much of an error's text as its pattern is made of; of a traceback that is its end."""
    column = target.mapping.jobs.error
    if column is None:
        return NULL
    return sql.SQL(
        "CASE WHEN starts_with({text}, 'Traceback') THEN 'Traceback' || chr(10) || right({text}, {longest})"
        " ELSE left({text}, {longest}) END"
    ).format(text=cast(job(column), TEXT), longest=Value("longest", LONGEST, ("pg_catalog", "int4")))


def _failed(target: Target) -> Composable | None:
    values = target.mapping.states.failed
    return status_is(target, "failed", values) if values else None


def _of_utc(naive: Composable) -> Composable:
    """A naive moment of UTC as timestamptz."""
    return sql.SQL("(({}) AT TIME ZONE 'UTC')").format(naive)
