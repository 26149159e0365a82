"""By hand: what a person may ask for beyond the checks.

Detect: running jobs that are old, of a worker, or named (reset); jobs that failed lately (retry).
Repair: back to waiting. A reset by hand neither counts against the rescue budget nor ends in failed.
Never:  touches a job that is in another state by now, or that somebody holds locked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import sql

from queuewarden.checks.facts import job_facts
from queuewarden.model import Rule
from queuewarden.queues.calls import calls
from queuewarden.queues.keys import key_among
from queuewarden.queues.moves import NOTE_PREFIX, requeue, retry
from queuewarden.queues.sqltext import INTERVAL, Value, every, negate
from queuewarden.queues.terms import among, running, status_is
from queuewarden.queues.times import instant

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from psycopg.sql import Composable

    from queuewarden.model import Key
    from queuewarden.queues.target import Target

NAME = "by_hand"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which running jobs to reset: those that meet all that is given.

    Attributes:
        older_than: running for longer than this, since the later of start and job heartbeat.
        workers: of one of these workers; empty: of any.
        keys: one of these; None: any.
    """

    older_than: timedelta | None = None
    workers: tuple[str, ...] = ()
    keys: tuple[Key, ...] | None = None


def reset_rules(target: Target, wanted: Wanted) -> tuple[Rule, ...]:
    """The rule for a reset by hand; none where the queue does not map what it would have to go by."""
    jobs = target.mapping.jobs
    parts = [running(target)]
    if wanted.older_than is not None:
        since = _latest(target, (jobs.started_at, jobs.heartbeat), jobs.updated_at)
        if since is None:
            return ()
        parts.append(_before(since, wanted.older_than))
    if wanted.workers:
        if jobs.worker is None:
            return ()
        parts.append(among(target, "workers", wanted.workers))
    if wanted.keys is not None:
        parts.append(key_among(target, "jobs", "wanted", wanted.keys))
    own = calls(target)
    if own.requeue is not None and own.over is not None:
        # The library's own function would not put these back, but end them.
        parts.append(negate(own.over(target)))
    return (
        Rule(
            code="reset",
            event="jobs.reset",
            table="jobs",
            where=every(parts),
            write=requeue(target, f"{NOTE_PREFIX}reset by hand"),
            facts=job_facts(target),
            reason=NAME,
            by_hand=True,
        ),
    )


def retry_rules(target: Target, since: timedelta) -> tuple[Rule, ...]:
    """The rule for putting failed jobs back; none where failed jobs, or when they failed, are not mapped.

    Nor where nothing that could be written would end their failure.
    """
    jobs, states, put = target.mapping.jobs, target.mapping.states, retry(target)
    finished = _latest(target, (jobs.failed_at, jobs.finished_at), jobs.updated_at)
    if not states.failed or finished is None or put is None:
        return ()
    lately = sql.SQL("{0} >= statement_timestamp() - {1} AND isfinite({0})").format(
        finished, Value("since", since, INTERVAL)
    )
    return (
        Rule(
            code="retry",
            event="jobs.retried",
            table="jobs",
            where=every([status_is(target, "failed", states.failed), lately]),
            write=put,
            facts=job_facts(target, jobs.failure),
            reason=NAME,
            by_hand=True,
        ),
    )


def _latest(target: Target, first: Sequence[str | None], fallback: str | None) -> Composable | None:
    """The latest of some times of a job, and where it has none of them, another one."""
    times = [instant(target, target.jobs, "j", name) for name in first if name is not None]
    parts: list[Composable] = [sql.SQL("greatest({})").format(sql.SQL(", ").join(times))] if times else []
    if fallback is not None:
        parts.append(instant(target, target.jobs, "j", fallback))
    return sql.SQL("coalesce({})").format(sql.SQL(", ").join(parts)) if parts else None


def _before(since: Composable, limit: timedelta) -> Composable:
    return sql.SQL("{} < statement_timestamp() - {}").format(since, Value("older_than", limit, INTERVAL))
