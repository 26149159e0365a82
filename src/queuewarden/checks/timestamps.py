"""Timestamps: a status whose time is missing, and times that cannot be.

Detect: a row in a mapped status without the timestamp that goes with it (running without start, done without
        finish); finished before started; waiting with a worker; times more than a minute in the future.
Repair: the missing time is filled with the updated time where that keeps enqueued ≤ started ≤ finished, else
        with now (or a later time of the job, where now lies after it), and marked as estimated.
Never:  writes over a time that is there, or mends an impossible combination: those are reported.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from psycopg import sql

from queuewarden.checks.facts import job_facts
from queuewarden.model import Rule
from queuewarden.queues.sqltext import cast, commas, every, some
from queuewarden.queues.terms import job, status_is, waiting
from queuewarden.queues.times import ahead, in_type_of, instant
from queuewarden.writes import Put

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg.sql import Composable

    from queuewarden.queues.target import Target

NAME = "timestamps"
FUTURE = timedelta(minutes=1)
"""Clocks of workers may run ahead a little; a minute is the design's choice."""


def rules(target: Target) -> tuple[Rule, ...]:
    """One rule for each status with a timestamp, then the impossible combinations."""
    return (*_missing(target), *_impossible(target))


def _missing(target: Target) -> Iterator[Rule]:
    fill = target.limits.timestamps_fill == "estimate"
    for number, (value, column) in enumerate(target.mapping.timestamps):
        put = Put({column: _estimate(target, column)}, estimated=frozenset({column}))
        yield Rule(
            code=f"missing_{column}_{value}",
            event="timestamps.filled",
            table="jobs",
            where=every(
                [
                    status_is(target, f"stamped_{number}", (value,)),
                    sql.SQL("{} IS NULL").format(job(column)),
                ]
            ),
            write=put if fill else None,
            facts=job_facts(target, target.mapping.jobs.updated_at),
            reason=f"{value} without {column}",
        )


def _estimate(target: Target, column: str) -> Composable:
    """The best guess, as timestamptz arithmetic, in the column's own type."""
    jobs = target.mapping.jobs
    life = (jobs.enqueued_at, jobs.started_at, jobs.finished_at)
    place = life.index(column) if column in life else len(life) - 1
    earlier, later = (
        [instant(target, target.jobs, "j", name) for name in part if name is not None]
        for part in (life[:place], life[place + 1 :])
    )
    guess: Composable = sql.SQL("least({})").format(commas([sql.SQL("statement_timestamp()"), *later]))
    if jobs.updated_at is not None and jobs.updated_at != column:
        updated = instant(target, target.jobs, "j", jobs.updated_at)
        fits = every(
            [
                sql.SQL("{} <= {}").format(updated, guess),
                *(sql.SQL("{} >= coalesce({}, '-infinity')").format(updated, time) for time in earlier),
            ]
        )
        guess = sql.SQL("CASE WHEN {} THEN {} ELSE {} END").format(fits, updated, guess)
    return cast(
        in_type_of(target, target.jobs, column, sql.SQL("({})").format(guess)),
        target.jobs.columns[column].type,
    )


def _impossible(target: Target) -> Iterator[Rule]:
    jobs = target.mapping.jobs
    if jobs.started_at is not None and jobs.finished_at is not None:
        finished: Composable = job(jobs.finished_at)
        started: Composable = job(jobs.started_at)
        columns = target.jobs.columns
        if columns[jobs.finished_at].family != columns[jobs.started_at].family:
            finished = instant(target, target.jobs, "j", jobs.finished_at)
            started = instant(target, target.jobs, "j", jobs.started_at)
        yield _reported(target, "finished_before_started", sql.SQL("{} < {}").format(finished, started))
    if jobs.worker is not None:
        yield _reported(
            target,
            "waiting_with_worker",
            every([waiting(target), sql.SQL("{} IS NOT NULL").format(job(jobs.worker))]),
        )
    times = [name for name in (jobs.started_at, jobs.finished_at, jobs.heartbeat) if name is not None]
    if times:
        future = [
            sql.SQL("{} > {}").format(job(name), ahead(target, target.jobs, name, FUTURE, "future"))
            for name in times
        ]
        yield _reported(target, "in_the_future", some(future))


def _reported(target: Target, code: str, where: Composable) -> Rule:
    return Rule(
        code=code,
        event="timestamps.impossible",
        table="jobs",
        where=where,
        write=None,
        facts=job_facts(target),
        reason=code.replace("_", " "),
    )
