"""What a finding says beyond its row: the same for all checks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

from queuewarden.queues.signs import WORDS, signs
from queuewarden.queues.sqltext import TEXT, Value, cast
from queuewarden.queues.starts import last_start
from queuewarden.queues.terms import job, shape
from queuewarden.queues.times import NOW, age

if TYPE_CHECKING:
    from psycopg.sql import Composable

    from queuewarden.queues.target import Target


def job_facts(target: Target, since: str | None = None) -> dict[str, Composable]:
    """The job's worker, its start, and how long ago a time of it was (by default its start), in seconds."""
    jobs = target.mapping.jobs
    facts: dict[str, Composable] = {}
    if jobs.worker is not None:
        facts["worker"] = cast(job(jobs.worker), TEXT)
    if jobs.started_at is not None:
        facts["started"] = cast(job(jobs.started_at), TEXT)
    column = since or jobs.started_at
    if column is not None:
        facts["age"] = age(target, target.jobs, "j", column)
    elif (start := last_start(target)) is not None:
        facts["age"] = sql.SQL("CAST(extract(epoch FROM {} - {}) AS int8)").format(NOW, start)
    return facts


def evidence(target: Target, *, with_worker: bool = False) -> dict[str, Composable]:
    """Why a job is taken for dead where signs of life are mapped: which are absent, how old its heartbeat is.

    Args:
        target: the queue.
        with_worker: the job's worker is joined.
    """
    absent = [WORDS[name] for name in signs(target)]
    if not absent:
        return {}
    facts: dict[str, Composable] = {"absent": Value("absent_signs", ", ".join(absent), TEXT)}
    workers, beat = target.mapping.workers, target.mapping.jobs.heartbeat
    if with_worker and workers is not None:
        facts["beat"] = age(target, shape(target, "workers"), "w", workers.heartbeat)
    elif beat is not None:
        facts["beat"] = age(target, target.jobs, "j", beat)
    return facts


def worker_facts(target: Target) -> dict[str, Composable]:
    """How long ago the worker last beat, in seconds."""
    workers = target.mapping.workers
    if workers is None:
        return {}
    return {"age": age(target, shape(target, "workers"), "w", workers.heartbeat)}
