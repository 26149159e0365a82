"""How jobs end: the last hour against the day, failures in a row; and the load of the server.

Only asked for where somebody watches: alerts, metrics or the API.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from psycopg import sql

from queuewarden.adapters.db.session import Query
from queuewarden.engine.render import compiled
from queuewarden.queues.sqltext import INTERVAL, Value, every
from queuewarden.queues.terms import job, relation, status_is
from queuewarden.queues.times import finite, instant

if TYPE_CHECKING:
    from psycopg.sql import Composable

    from queuewarden.adapters.db.session import Row
    from queuewarden.model import Counts
    from queuewarden.queues.target import Target

LOAD = Query(
    b"""
SELECT (SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE backend_type = 'client backend'
           OR backend_type IS NULL AND usesysid IS NOT NULL AND datid IS NOT NULL),
       current_setting('max_connections')::int,
       (SELECT d.blks_hit::float8 / nullif(d.blks_hit + d.blks_read, 0)
          FROM pg_catalog.pg_stat_database AS d WHERE d.datname = current_database()
           AND d.blks_hit + d.blks_read >= 10000)""",
    {},
)
"""Client connections in use, the most there may be, and the share of block reads that the cache served (NULL
below 10 000 reads: too few to tell). Of sessions of others a role may not know what they are: those that have
a user and a database count as clients."""

LEAST = 20
"""Jobs of the last hour below which a p95 says nothing."""

EVERY = 60.0
"""Seconds between two looks; more where one takes long."""


@dataclass(frozen=True, slots=True)
class Outcomes:
    """How the jobs of one queue ended lately; at most the last 1000 of a day are looked at.

    Attributes:
        done_last_hour, failed_last_hour: jobs that ended so in the last hour, among those looked at.
        failed_in_a_row: that failed since the last one that went well.
        average_run: mean run time of the last hour's good ones.
        run_time_ratio: p95 of the last hour's run times to that of the day.
    """

    done_last_hour: int
    failed_last_hour: int | None
    failed_in_a_row: int | None
    average_run: timedelta | None
    run_time_ratio: float | None

    def onto(self, counts: Counts) -> Counts:
        """The counts of a queue, with these."""
        return replace(
            counts,
            done_last_hour=self.done_last_hour,
            failed_in_a_row=self.failed_in_a_row,
            average_run=self.average_run,
            run_time_ratio=self.run_time_ratio,
        )


@dataclass(frozen=True, slots=True)
class Load:
    """The server's load.

    Attributes:
        used, most: client connections.
        cache_hits: share of the database's block reads that its cache served, since its statistics began.
    """

    used: int
    most: int
    cache_hits: float | None


def outcomes(target: Target) -> Query | None:
    """How jobs ended lately; None where the mapping does not tell."""
    jobs, states = target.mapping.jobs, target.mapping.states
    if jobs.finished_at is None or not states.done:
        return None
    finished = instant(target, target.jobs, "j", jobs.finished_at)
    done = status_is(target, "done", states.done)
    failed: Composable = sql.SQL("NULL::boolean")
    ended: Composable = done
    if states.failed:
        failed = status_is(target, "failed", states.failed)
        ended = sql.SQL("({} OR {})").format(done, failed)
    took: Composable = sql.SQL("NULL::interval")
    if jobs.started_at is not None:
        took = sql.SQL("CASE WHEN {} THEN {} - {} END").format(
            finite(target.jobs, "j", jobs.started_at),
            finished,
            instant(target, target.jobs, "j", jobs.started_at),
        )
    since = sql.SQL("{} > statement_timestamp() - {}")
    return compiled(
        sql.SQL(
            "SELECT count(*) FILTER (WHERE s.done AND s.fresh),"
            "\n       count(*) FILTER (WHERE s.failed AND s.fresh),"
            "\n       count(*) FILTER (WHERE s.failed AND s.n < s.good),"
            "\n       avg(s.took) FILTER (WHERE s.done AND s.fresh AND s.took >= '0'),"
            "\n       percentile_cont(0.95) WITHIN GROUP (ORDER BY s.took)"
            " FILTER (WHERE s.done AND s.fresh AND s.took >= '0'),"
            "\n       percentile_cont(0.95) WITHIN GROUP (ORDER BY s.took)"
            " FILTER (WHERE s.done AND s.took >= '0')"
            "\n  FROM (SELECT e.*, coalesce(min(e.n) FILTER (WHERE e.done) OVER (), 1001) AS good"
            "\n          FROM (SELECT {done} AS done, {failed} AS failed, {fresh} AS fresh, {took} AS took,"
            " row_number() OVER (ORDER BY {order} DESC) AS n"
            "\n                  FROM {table} AS j WHERE {where} ORDER BY {order} DESC LIMIT 1000) AS e) AS s"
        ).format(
            done=done,
            failed=failed,
            fresh=since.format(finished, Value("hour", timedelta(hours=1), INTERVAL)),
            took=took,
            order=job(jobs.finished_at),
            table=relation(target.jobs),
            where=every(
                [
                    ended,
                    since.format(finished, Value("day", timedelta(days=1), INTERVAL)),
                    finite(target.jobs, "j", jobs.finished_at),
                ]
            ),
        )
    )


def told(target: Target, row: Row) -> Outcomes:
    """From a row of `outcomes`."""
    done, failed, in_a_row, average, hour, day = row
    ratio = hour / day if hour is not None and day else None
    known = bool(target.mapping.states.failed)
    return Outcomes(
        done,
        failed if known else None,
        in_a_row if known else None,
        average,
        ratio if done >= LEAST else None,
    )
