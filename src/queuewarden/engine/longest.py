"""The jobs that have run longest, for whoever watches a queue; read by the index that finds stuck ones."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from psycopg import sql

from queuewarden.engine.render import compiled, texts
from queuewarden.engine.shown import shown
from queuewarden.queues.keys import key_names
from queuewarden.queues.sqltext import INTEGER, TEXT, Value, cast, every, negate, some
from queuewarden.queues.terms import alive, expired, job, owns, relation, running, shape
from queuewarden.queues.times import age

if TYPE_CHECKING:
    from psycopg.sql import Composable

    from queuewarden.adapters.db.session import Query, Row
    from queuewarden.queues.target import Target

_FALSE = sql.SQL("FALSE")
_NULL = sql.SQL("NULL")


@dataclass(frozen=True, slots=True)
class RunningJob:
    """One running job.

    Attributes:
        id: its key, as people write it.
        label: how a person knows it.
        ran: since when it is marked running; None where that is not known.
        stuck: for longer than a job of this queue may.
    """

    queue: str
    id: str
    label: str
    worker: str | None
    ran: timedelta | None
    stuck: bool


def longest(target: Target, limit: int) -> Query | None:
    """The running jobs that started first, see `running_jobs`; None where no start time is mapped."""
    jobs = target.mapping.jobs
    if jobs.started_at is None:
        return None
    return compiled(
        sql.SQL("SELECT {}, {}, {}, {}, {} FROM {} AS j WHERE {} ORDER BY {} LIMIT {}").format(
            texts([shown(cast(name, TEXT)) for name in key_names(target, "jobs")]),
            texts([shown(cast(job(name), TEXT)) for name in jobs.label]),
            shown(cast(job(jobs.worker), TEXT)) if jobs.worker is not None else _NULL,
            age(target, target.jobs, "j", jobs.started_at),
            _stuck(target),
            relation(target.jobs),
            running(target),
            job(jobs.started_at),
            Value("most", limit, INTEGER),
        )
    )


def running_jobs(target: Target, rows: list[Row]) -> tuple[RunningJob, ...]:
    """From the rows of `longest`."""
    return tuple(
        RunningJob(
            target.queue,
            ",".join(key),
            ":".join(part for part in label if part is not None),
            worker,
            timedelta(seconds=seconds) if seconds is not None else None,
            bool(stuck),
        )
        for key, label, worker, seconds, stuck in rows
    )


def _stuck(target: Target) -> Composable:
    """The job has run for longer than the limit that applies to it; in doubt it has not."""
    limits = target.limits
    over = expired(target, limits.stuck_after, "stuck_after")
    if limits.stuck_after_alive == limits.stuck_after or target.mapping.workers is None:
        return over
    spared = (
        _FALSE
        if limits.stuck_after_alive is None
        else expired(target, limits.stuck_after_alive, "stuck_after_alive")
    )
    if target.workers is None:  # they register elsewhere: any of them may be alive
        return every([over, spared])
    lives = sql.SQL("EXISTS (SELECT FROM {} AS w WHERE {} AND {})").format(
        relation(shape(target, "workers")), owns(target), alive(target)
    )
    return some([every([over, negate(lives)]), every([spared, lives])])
