"""Dead workers: registered, but silent.

Detect: a worker whose heartbeat is older than ``dead_after``, whatever its status says; a running job whose
        worker has no row for as long, or has started anew since the job started.
Repair: its running jobs go back to waiting (to failed once spent); then the worker is marked offline and its
        current job cleared.
Never:  judges by the status word, marks a worker that still holds a running job, or touches a job that beats
        itself, a job or worker that somebody holds locked. A heartbeat in the same instant wins.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from psycopg import sql

from queuewarden.checks.facts import evidence, job_facts, worker_facts
from queuewarden.model import Rule
from queuewarden.queues.moves import NULL, release
from queuewarden.queues.signs import sign_of_life
from queuewarden.queues.sqltext import INTERVAL, TEXT, Value, every, negate
from queuewarden.queues.terms import (
    among,
    beats,
    dead,
    expired,
    job,
    no_owner,
    owns,
    relation,
    running,
    shape,
    worker,
)
from queuewarden.queues.times import instant
from queuewarden.writes import Put

if TYPE_CHECKING:
    from psycopg.sql import Composable

    from queuewarden.queues.target import Target

NAME = "dead_workers"
REASON = "worker_dead"

SKEW = timedelta(seconds=5)
"""A worker may write its start by its own clock, and the job's by the database's: so far they may differ."""


def rules(target: Target) -> tuple[Rule, ...]:
    """The rules for one queue; none where it maps no workers, or nobody knows just now who is alive."""
    if target.mapping.workers is None or target.mapping.jobs.worker is None:
        return ()
    if target.fleet is not None:
        return (*_released_elsewhere(target), *_rowless(target))
    if target.workers is None:
        return ()
    return (*_released(target), *_earlier_life(target), *_rowless(target), *_offline(target))


def _released(target: Target) -> tuple[Rule, ...]:
    return release(
        target,
        code="silent",
        where=every([running(target), dead(target), *_silent(target)]),
        reason=REASON,
        with_worker=True,
        order=_worker_order(target),
        facts=job_facts(target) | evidence(target, with_worker=True),
    )


def _released_elsewhere(target: Target) -> tuple[Rule, ...]:
    """Workers that register in another database: the engine has read there who is dead."""
    if target.fleet is None or not target.fleet.dead:
        return ()
    return release(
        target,
        code="silent",
        where=every([running(target), among(target, "fleet_dead", target.fleet.dead), *_silent(target)]),
        reason=REASON,
        order=_worker_order(target),
        facts=job_facts(target) | evidence(target),
    )


def _earlier_life(target: Target) -> tuple[Rule, ...]:
    """The name beats, but the process that took the job is gone: the worker has started since."""
    workers, jobs = target.mapping.workers, target.mapping.jobs
    if workers is None or workers.started_at is None or jobs.started_at is None:
        return ()
    theirs = shape(target, "workers")
    born = instant(target, theirs, "w", workers.started_at)
    since = sql.SQL("{} > {} + {} AND {} <= statement_timestamp()").format(
        born, instant(target, target.jobs, "j", jobs.started_at), Value("skew", SKEW, INTERVAL), born
    )
    parts = [running(target), since, negate(dead(target)), *_without_sign(target)]
    if jobs.heartbeat is not None:
        beaten = instant(target, target.jobs, "j", jobs.heartbeat)
        parts.append(negate(sql.SQL("{} >= {}").format(beaten, born)))
    if theirs.columns[workers.started_at].family == "naive":
        # In the hour that summer time's end repeats, a naive start may mean an hour earlier.
        earlier = sql.SQL("({} - interval '1 hour') AT TIME ZONE {}").format(
            born, Value("time_zone", target.mapping.jobs.time_zone, TEXT)
        )
        parts.append(sql.SQL("{} <> {}").format(earlier, worker(workers.started_at)))
    return release(
        target,
        code="earlier_life",
        where=every(parts),
        reason=REASON,
        with_worker=True,
        order=_worker_order(target),
        facts=job_facts(target) | evidence(target, with_worker=True),
    )


def _rowless(target: Target) -> tuple[Rule, ...]:
    """The job names a worker that has no row."""
    jobs = target.mapping.jobs
    if jobs.started_at is None or jobs.worker is None:
        return ()
    parts: list[Composable] = [
        running(target),
        sql.SQL("{} IS NOT NULL").format(job(jobs.worker)),
        expired(target, target.limits.dead_after, "dead_after"),
        *_without_sign(target),
    ]
    if target.fleet is not None:
        if not target.fleet.absent:
            return ()
        parts.append(among(target, "fleet_absent", target.fleet.absent))
    return release(
        target,
        code="no_worker_row",
        where=every(parts),
        reason=REASON,
        absent=None if target.fleet is not None else no_owner(target),
        order=(jobs.started_at,),
        facts=job_facts(target) | evidence(target),
    )


def _offline(target: Target) -> tuple[Rule, ...]:
    workers = target.mapping.workers
    if workers is None or workers.status is None or workers.offline_value is None:
        return ()
    columns = shape(target, "workers").columns
    offline = Value("worker_offline", workers.offline_value, columns[workers.status].type)
    values: dict[str, Composable] = {workers.status: offline}
    if workers.current_job is not None and not columns[workers.current_job].not_null:
        values[workers.current_job] = NULL
    holds_job = sql.SQL("NOT EXISTS (SELECT FROM {} AS j WHERE {} AND {})").format(
        relation(target.jobs), owns(target), running(target)
    )
    marked = sql.SQL("{} IS DISTINCT FROM {}").format(worker(workers.status), offline)
    return (
        Rule(
            code="offline",
            event="workers.offline",
            table="workers",
            where=every([dead(target), marked]),
            write=Put(values),
            cleared=holds_job,
            facts=worker_facts(target),
            reason=REASON,
            brake=True,
        ),
    )


def _without_sign(target: Target) -> tuple[Composable, ...]:
    """The job shows none of the signs of life that are mapped."""
    shown = sign_of_life(target)
    return () if shown is None else (negate(shown),)


def _silent(target: Target) -> tuple[Composable, ...]:
    """Nor does it beat itself: somebody runs a job that does, though its worker's row is silent."""
    beating = beats(target, target.limits.dead_after)
    return (*_without_sign(target), *(() if beating is None else (negate(beating),)))


def _worker_order(target: Target) -> tuple[str, ...]:
    return (target.mapping.jobs.worker,) if target.mapping.jobs.worker is not None else ()
