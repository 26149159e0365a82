"""Observing: the server by its own words, and each queue in counts that stay cheap."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from psycopg import sql

from queuewarden.adapters.db.session import Query
from queuewarden.engine.render import compiled
from queuewarden.model import Counts, ServerState
from queuewarden.queues.keys import TEXTS, key_among
from queuewarden.queues.sqltext import INTEGER, INTERVAL, TEXT, Name, Value, cast, commas, every, negate, some
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
    """What one look at a queue's jobs shows.

    Attributes:
        counts: those of workers are not in it.
        counter: rows inserted, updated and deleted so far, by the server's statistics.
    """

    counts: Counts
    counter: int | None


@dataclass(frozen=True, slots=True)
class Muster:
    """What one look at a queue's workers shows; taken in each sweep, since brakes go by it.

    Attributes:
        live: how many beat.
        silent: how many do not, and are not marked offline or still have running jobs.
        registered: how many there are; None where they register elsewhere.
        zombies: workers that are marked offline and beat, at most 20.
        idle: live workers without a running job, at most 200.
    """

    live: int
    silent: int
    registered: int | None = None
    zombies: tuple[str, ...] = ()
    idle: tuple[str, ...] = ()


def server_state(row: Row) -> ServerState:
    """From a row of `SERVER`."""
    return ServerState(*row)


def look(target: Target, estimated: Collection[Key] = ()) -> Query:
    """One row of counts of a queue's jobs; see `sight`."""
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
        _counter(target),
    ]
    return compiled(sql.SQL("SELECT {}").format(commas(parts)))


def sight(row: Row) -> Sight:
    """From a row of `look`."""
    return Sight(Counts(*row[:7]), row[7])


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


def roll(target: Target) -> Query | None:
    """One row about a queue's workers, see `muster`; None where they are not in this database."""
    mapped = target.mapping.workers
    if mapped is None or target.workers is None:
        return None
    table = relation(target.workers)
    busy = sql.SQL("EXISTS (SELECT FROM {} AS j WHERE {} AND {})").format(
        relation(target.jobs), owns(target), running(target)
    )
    zombies: Composable = NULL
    unmarked: Composable = busy
    if mapped.status is not None and mapped.offline_value is not None:
        offline = Value(
            "worker_offline", mapped.offline_value, shape(target, "workers").columns[mapped.status].type
        )
        unmarked = some([sql.SQL("{} IS DISTINCT FROM {}").format(worker(mapped.status), offline), busy])
        marked = sql.SQL("{} = {}").format(worker(mapped.status), offline)
        zombies = _names(target, every([marked, alive(target)]), 20)
    count = sql.SQL("(SELECT count(*) FROM {} AS w WHERE {})")
    parts = [
        count.format(table, alive(target)),
        count.format(table, every([dead(target), unmarked])),
        sql.SQL("(SELECT count(*) FROM {} AS w)").format(table),
        zombies,
        _names(target, every([alive(target), negate(busy)]), 200),
    ]
    return compiled(sql.SQL("SELECT {}").format(commas(parts)))


def muster(row: Row) -> Muster:
    """From a row of `roll`."""
    live, silent, registered, zombies, idle = row
    return Muster(live, silent, registered, tuple(zombies or ()), tuple(idle or ()))


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
    conditions = [status_is(target, "done", done)]
    arrays = [("former", [former for former, _ in resets.values()])]
    for number, name in enumerate(jobs.id):
        arrays.append((f"k{number}", [key[number] for key in resets]))
        theirs = cast(Name("r", f"k{number}"), target.jobs.columns[name].type)
        conditions.append(sql.SQL("{} = {}").format(job(name), theirs))
    same: Composable = sql.SQL("{} IS NOT DISTINCT FROM r.former").format(cast(job(jobs.worker), TEXT))
    if jobs.started_at is not None:
        arrays.append(("since", [started for _, started in resets.values()]))
        same = sql.SQL(
            "({same} AND ({start} IS NULL OR {text} = r.since) OR {worker} IS NULL AND {start} IS NULL)"
        ).format(
            same=same,
            start=job(jobs.started_at),
            text=cast(job(jobs.started_at), TEXT),
            worker=job(jobs.worker),
        )
    return compiled(
        sql.SQL("SELECT ARRAY[{}] FROM unnest({}) AS r({}) JOIN {} AS j ON {}").format(
            commas(cast(job(name), TEXT) for name in jobs.id),
            commas(Value(f"reset_{name}", values, TEXTS) for name, values in arrays),
            commas(Name(name) for name, _ in arrays),
            relation(target.jobs),
            every([*conditions, same]),
        )
    )
