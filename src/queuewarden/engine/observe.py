"""Observing: the server by its own words, and each queue in counts that stay cheap."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from psycopg import sql

from queuewarden.adapters.db.session import Query
from queuewarden.engine.render import compiled
from queuewarden.model import Counts, ServerState
from queuewarden.queues.keys import key_among
from queuewarden.queues.sqltext import INTEGER, INTERVAL, TEXT, Value, cast, commas, every, negate
from queuewarden.queues.terms import (
    alive,
    dead,
    instant,
    job,
    older,
    owns,
    relation,
    running,
    shape,
    status,
    status_is,
    waiting,
    worker,
)

if TYPE_CHECKING:
    from collections.abc import Collection

    from psycopg.sql import Composable

    from queuewarden.adapters.db.session import Row
    from queuewarden.model import Key
    from queuewarden.queues.target import Target

CAP = 100_000
"""Jobs are counted up to here: an index-only count of so many takes about 10 ms."""

HOUR = timedelta(hours=1)

SERVER = Query(
    b"""
SELECT clock_timestamp(), pg_postmaster_start_time(), pg_is_in_recovery(),
       CASE WHEN NOT pg_is_in_recovery() THEN substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END,
       (SELECT system_identifier::text FROM pg_control_system())""",
    {},
)
NULL = sql.SQL("NULL")


@dataclass(frozen=True, slots=True)
class Sight:
    """What one look at a queue shows.

    Attributes:
        zombies: workers that are marked offline and beat, at most 20.
        idle: live workers without a running job, at most 200.
        counter: rows inserted, updated and deleted so far, by the server's statistics.
    """

    counts: Counts
    zombies: tuple[str, ...]
    idle: tuple[str, ...]
    counter: int | None


def server_state(row: Row) -> ServerState:
    """From a row of `SERVER`."""
    return ServerState(*row)


def look(target: Target, estimated: Collection[Key] = ()) -> Query:
    """One row of counts for a queue; see `sight`."""
    jobs, states = target.mapping.jobs, target.mapping.states
    eligible = waiting(target)
    if jobs.scheduled_at is not None:
        due = sql.SQL("({} IS NULL OR {})").format(
            job(jobs.scheduled_at), older(target, jobs.scheduled_at, timedelta(0), name="no_time")
        )
        eligible = every([eligible, due])
    failed = status_is(target, "failed", states.failed) if states.failed else None
    parts: list[Composable] = [
        _count(target, waiting(target)),
        _count(target, eligible),
        _count(target, running(target)),
        _count(target, failed) if failed is not None else NULL,
        _failed_lately(target, failed, estimated),
        _oldest(target, eligible),
        _last_finished(target),
        *_workers(target),
        _counter(target),
    ]
    return compiled(sql.SQL("SELECT {}").format(commas(parts)))


def sight(row: Row) -> Sight:
    """From a row of `look`."""
    counts = Counts(*row[:7], *row[7:10])
    return Sight(counts, tuple(row[10] or ()), tuple(row[11] or ()), row[12])


def _count(target: Target, where: Composable) -> Composable:
    return sql.SQL("(SELECT count(*) FROM (SELECT 1 FROM {} AS j WHERE {} LIMIT {}) AS s)").format(
        relation(target.jobs), where, Value("cap", CAP, INTEGER)
    )


def _failed_lately(target: Target, failed: Composable | None, estimated: Collection[Key]) -> Composable:
    """Failures of the last hour; a lifetime total would warn for ever."""
    column = target.mapping.jobs.finished_at or target.mapping.jobs.updated_at
    if failed is None or column is None:
        return NULL
    conditions = [failed, negate(older(target, column, HOUR, name="hour"))]
    conditions.append(sql.SQL("{} IS NOT NULL").format(job(column)))
    if estimated:
        conditions.append(negate(key_among(target, "jobs", "estimated", list(estimated))))
    return _count(target, every(conditions))


def _oldest(target: Target, eligible: Composable) -> Composable:
    """How long the oldest waiting job that may run has waited."""
    jobs = target.mapping.jobs
    if jobs.enqueued_at is None:
        return NULL
    since = instant(target, target.jobs, "j", jobs.enqueued_at)
    if jobs.scheduled_at is not None:
        since = sql.SQL("greatest({}, {})").format(
            since, instant(target, target.jobs, "j", jobs.scheduled_at)
        )
    return sql.SQL("(SELECT statement_timestamp() - {} FROM {} AS j WHERE {} ORDER BY {} LIMIT 1)").format(
        since, relation(target.jobs), eligible, job(jobs.enqueued_at)
    )


def _last_finished(target: Target) -> Composable:
    jobs, done = target.mapping.jobs, target.mapping.states.done
    if jobs.finished_at is None or not done:
        return NULL
    column = job(jobs.finished_at)
    return sql.SQL(
        "(SELECT statement_timestamp() - {} FROM {} AS j WHERE {} AND {} IS NOT NULL"
        " ORDER BY {} DESC LIMIT 1)"
    ).format(
        instant(target, target.jobs, "j", jobs.finished_at),
        relation(target.jobs),
        status_is(target, "done", done),
        column,
        column,
    )


def _workers(target: Target) -> list[Composable]:
    """Live, silent and registered workers, zombies, and idle live ones."""
    mapped = target.mapping.workers
    if mapped is None or target.workers is None:
        return [NULL, NULL, NULL, NULL, NULL]
    table = relation(target.workers)
    busy = sql.SQL("EXISTS (SELECT FROM {} AS j WHERE {} AND {})").format(
        relation(target.jobs), owns(target), running(target)
    )
    zombies: Composable = NULL
    unmarked = busy
    if mapped.status is not None and mapped.offline_value is not None:
        offline = Value(
            "worker_offline", mapped.offline_value, shape(target, "workers").columns[mapped.status].type
        )
        unmarked = sql.SQL("({} IS DISTINCT FROM {})").format(worker(mapped.status), offline)
        marked = sql.SQL("{} = {}").format(worker(mapped.status), offline)
        zombies = _names(target, every([marked, alive(target)]), 20)
    count = sql.SQL("(SELECT count(*) FROM {} AS w WHERE {})")
    return [
        count.format(table, alive(target)),
        count.format(table, every([dead(target), unmarked])),
        sql.SQL("(SELECT count(*) FROM {} AS w)").format(table),
        zombies,
        _names(target, every([alive(target), negate(busy)]), 200),
    ]


def _names(target: Target, where: Composable, limit: int) -> Composable:
    mapped = target.mapping.workers
    name = cast(worker(mapped.id), TEXT) if mapped is not None else NULL
    return sql.SQL(
        "(SELECT array_agg(s.name) FROM (SELECT {} AS name FROM {} AS w WHERE {} ORDER BY 1 LIMIT {}) AS s)"
    ).format(name, relation(shape(target, "workers")), where, Value(f"most_{limit}", limit, INTEGER))


def _counter(target: Target) -> Composable:
    if not target.jobs.leaves:
        return NULL
    return sql.SQL(
        "(SELECT sum(pg_stat_get_tuples_inserted(o) + pg_stat_get_tuples_updated(o)"
        " + pg_stat_get_tuples_deleted(o))::int8 FROM unnest({}) AS o)"
    ).format(Value("leaves", list(target.jobs.leaves), ("pg_catalog", "_oid")))


def population(target: Target, check: str, cap: int) -> Query:
    """How many rows a check looks at, counted up to a cap."""
    if check == "timestamps":
        stamped = [
            status(target, f"stamped_{n}", value) for n, (value, _) in enumerate(target.mapping.timestamps)
        ]
        where: Composable = sql.SQL("{} IN ({})").format(job(target.mapping.jobs.status), commas(stamped))
    else:
        where = waiting(target) if check in ("orphans", "positions") else running(target)
    return compiled(
        sql.SQL("SELECT count(*) FROM (SELECT 1 FROM {} AS j WHERE {} LIMIT {}) AS s").format(
            relation(target.jobs), where, Value("cap", cap, INTEGER)
        )
    )


def run_times(target: Target, estimated: Collection[Key] = ()) -> Query | None:
    """How many jobs finished in the last day (at most 1000 looked at), and the p95 of their run times."""
    jobs, done = target.mapping.jobs, target.mapping.states.done
    if jobs.started_at is None or jobs.finished_at is None or not done:
        return None
    finished, started = (
        instant(target, target.jobs, "j", name) for name in (jobs.finished_at, jobs.started_at)
    )
    conditions = [
        status_is(target, "done", done),
        sql.SQL("{} > statement_timestamp() - {}").format(
            finished, Value("day", timedelta(days=1), INTERVAL)
        ),
        sql.SQL("{} >= {}").format(finished, started),
    ]
    if estimated:
        conditions.append(negate(key_among(target, "jobs", "estimated", list(estimated))))
    return compiled(
        sql.SQL(
            "SELECT count(*), percentile_cont(0.95) WITHIN GROUP (ORDER BY s.took)"
            " FROM (SELECT {} - {} AS took FROM {} AS j WHERE {} ORDER BY {} DESC LIMIT 1000) AS s"
        ).format(finished, started, relation(target.jobs), every(conditions), job(jobs.finished_at))
    )


def premature(target: Target, resets: dict[Key, tuple[str | None, str | None]]) -> Query | None:
    """Of jobs that we reset, those that their former worker has finished: nobody else had claimed them.

    Args:
        target: the queue.
        resets: for each key the former worker and the former start, as text.
    """
    jobs, done = target.mapping.jobs, target.mapping.states.done
    if jobs.worker is None or not done or not resets:
        return None
    cases = []
    for number, (key, (former, started)) in enumerate(resets.items()):
        own: list[Composable] = [key_among(target, "jobs", f"reset_{number}", [key])]
        same: list[Composable] = [
            sql.SQL("{} IS NOT DISTINCT FROM {}").format(
                cast(job(jobs.worker), TEXT), Value(f"former_{number}", former, TEXT)
            )
        ]
        if jobs.started_at is not None:
            same.append(
                sql.SQL("({0} IS NULL OR {0} = {1})").format(
                    cast(job(jobs.started_at), TEXT), Value(f"since_{number}", started, TEXT)
                )
            )
            orphaned = sql.SQL("({} IS NULL AND {} IS NULL)").format(job(jobs.worker), job(jobs.started_at))
            own.append(sql.SQL("({} OR {})").format(every(same), orphaned))
        else:
            own += same
        cases.append(every(own))
    keys = commas(cast(job(name), TEXT) for name in jobs.id)
    return compiled(
        sql.SQL("SELECT ARRAY[{}] FROM {} AS j WHERE {} AND ({})").format(
            keys, relation(target.jobs), status_is(target, "done", done), sql.SQL(" OR ").join(cases)
        )
    )
