"""Observing: the server by its own words, and each queue in counts that stay cheap."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from psycopg import sql

from queuewarden.adapters.db.session import Query
from queuewarden.engine.render import compiled
from queuewarden.model import Counts, ServerState
from queuewarden.queues.keys import key_among
from queuewarden.queues.sqltext import INTEGER, TEXT, Value, cast, commas, every, negate, some
from queuewarden.queues.terms import (
    alive,
    dead,
    job,
    older,
    owns,
    relation,
    running,
    shape,
    status_is,
    waiting,
    worker,
)
from queuewarden.queues.times import finite, instant

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
       (SELECT system_identifier::text FROM pg_control_system()),
       ARRAY(SELECT c.oid FROM pg_catalog.pg_class AS c
              WHERE c.relkind = 'r' AND c.relnamespace =
                    (SELECT n.oid FROM pg_catalog.pg_namespace AS n WHERE n.nspname = 'queuewarden')
              ORDER BY c.oid)""",
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
        latest: the latest heartbeat, in seconds by whatever clock the workers go; None where none is known.
    """

    live: int
    silent: int
    registered: int | None = None
    zombies: tuple[str, ...] = ()
    idle: tuple[str, ...] = ()
    latest: float | None = None

    def onto(self, counts: Counts) -> Counts:
        """Counts of jobs, together with those of workers."""
        return replace(
            counts,
            live_workers=self.live,
            silent_workers=self.silent,
            registered_workers=self.registered,
        )


def server_state(row: Row) -> ServerState:
    """From a row of `SERVER`."""
    return ServerState(*row[:5], ledger=tuple(row[5]))  # type: ignore[misc]  # mypy counts all of row


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
    column = target.mapping.jobs.failure
    if failed is None or column is None:
        return NULL
    conditions = [failed, negate(older(target, column, HOUR, name="hour"))]
    conditions += [sql.SQL("{} IS NOT NULL").format(job(column)), finite(target.jobs, "j", column)]
    if estimated:
        conditions.append(negate(key_among(target, "jobs", "estimated", list(estimated))))
    return _count(target, every(conditions))


def _oldest(target: Target, eligible: Composable) -> Composable:
    """How long the oldest waiting job that may run has waited; an infinite time tells nothing."""
    jobs = target.mapping.jobs
    if jobs.enqueued_at is None:
        return NULL
    since = instant(target, target.jobs, "j", jobs.enqueued_at)
    if jobs.scheduled_at is not None:
        since = sql.SQL("greatest({}, {})").format(
            since, instant(target, target.jobs, "j", jobs.scheduled_at)
        )
    return sql.SQL("(SELECT statement_timestamp() - {} FROM {} AS j WHERE {} ORDER BY {} LIMIT 1)").format(
        since,
        relation(target.jobs),
        every([eligible, finite(target.jobs, "j", jobs.enqueued_at)]),
        job(jobs.enqueued_at),
    )


def _last_finished(target: Target) -> Composable:
    jobs, done = target.mapping.jobs, target.mapping.states.done
    if jobs.finished_at is None or not done:
        return NULL
    column = job(jobs.finished_at)
    return sql.SQL(
        "(SELECT statement_timestamp() - {} FROM {} AS j WHERE {} AND {} IS NOT NULL AND {}"
        " ORDER BY {} DESC LIMIT 1)"
    ).format(
        instant(target, target.jobs, "j", jobs.finished_at),
        relation(target.jobs),
        status_is(target, "done", done),
        column,
        finite(target.jobs, "j", jobs.finished_at),
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
        sql.SQL("(SELECT {} FROM {} AS w)").format(latest_beat(target), table),
    ]
    return compiled(sql.SQL("SELECT {}").format(commas(parts)))


def muster(row: Row) -> Muster:
    """From a row of `roll`."""
    live, silent, registered, zombies, idle, latest = row
    return Muster(live, silent, registered, tuple(zombies or ()), tuple(idle or ()), latest)


def latest_beat(target: Target) -> Composable:
    """The latest heartbeat of all workers ``w``, in seconds by their own clock."""
    mapped = target.mapping.workers
    if mapped is None:
        return NULL
    latest: Composable = sql.SQL("max({})").format(worker(mapped.heartbeat))
    if shape(target, "workers").columns[mapped.heartbeat].family != "number":
        latest = sql.SQL("extract(epoch FROM {})").format(latest)
    return cast(latest, ("pg_catalog", "float8"))


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
        stamped = [value for value, _ in target.mapping.timestamps]
        where = status_is(target, "stamped", stamped)
    else:
        where = waiting(target) if check in ("orphans", "positions") else running(target)
    return compiled(
        sql.SQL("SELECT count(*) FROM (SELECT 1 FROM {} AS j WHERE {} LIMIT {}) AS s").format(
            relation(target.jobs), where, Value("cap", cap, INTEGER)
        )
    )
