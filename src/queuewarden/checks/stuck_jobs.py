"""Stuck jobs: marked running for longer than a job of this queue may.

Detect: running for longer than ``stuck_after`` since the later of start and job heartbeat; under a live
        worker for longer than ``stuck_after_alive``. Without a start time: since the later of job heartbeat
        and update, else since this daemon first saw it so.
Repair: back to waiting, worker and start cleared, the reason noted; to failed once spent.
Never:  goes by the creation time, touches a job that somebody holds locked, or one that finished meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from psycopg import sql

from queuewarden.checks.facts import evidence, job_facts
from queuewarden.queues.moves import release
from queuewarden.queues.signs import sign_of_life
from queuewarden.queues.sqltext import INTERVAL, TRUE, Value, commas, every, negate
from queuewarden.queues.starts import last_start
from queuewarden.queues.terms import alive, among, expired, job, no_owner, own_limits, running
from queuewarden.queues.times import instant

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import timedelta

    from psycopg.sql import Composable

    from queuewarden.model import Rule
    from queuewarden.queues.target import Target

NAME = "stuck_jobs"
REASON = "stuck"


@dataclass(frozen=True, slots=True)
class _Arm:
    """Jobs that one limit applies to."""

    code: str
    limit: timedelta
    name: str
    where: Composable = field(default_factory=lambda: TRUE)
    with_worker: bool = False
    absent: Composable | None = None
    alive: bool = False

    def evidence(self, target: Target) -> dict[str, Composable]:
        """Why its jobs are taken for dead; nothing where they are not."""
        return {} if self.alive else evidence(target, with_worker=self.with_worker)


def rules(target: Target) -> tuple[Rule, ...]:
    """The rules for one queue: for each limit, jobs with a start time, without, and with no time at all."""
    return tuple(rule for arm in _arms(target) for rule in (*_timed(target, arm), *_untimed(target, arm)))


def _arms(target: Target) -> Iterator[_Arm]:
    limits, shown = target.limits, sign_of_life(target)
    live_limit = None if target.spare_live else limits.stuck_after_alive
    without_sign = TRUE if shown is None else negate(shown)
    if live_limit == limits.stuck_after:
        yield _Arm("stuck", limits.stuck_after, "stuck_after", alive=True)
    elif target.mapping.workers is None and shown is not None:
        yield _Arm("stuck", limits.stuck_after, "stuck_after", where=without_sign)
        if live_limit is not None:
            yield _Arm("stuck_alive", live_limit, "stuck_after_alive", where=shown, alive=True)
    elif target.mapping.workers is None:
        # No liveness to tell by: with the threshold brake on, any of these jobs may be a live worker's.
        if not target.spare_live:
            yield _Arm("stuck", limits.stuck_after, "stuck_after")
    elif target.workers is None and target.fleet is None:
        return  # the workers register elsewhere, and nobody knows just now who is alive
    elif target.fleet is not None:
        lives = among(target, "fleet_live", target.fleet.live)
        yield _Arm("stuck", limits.stuck_after, "stuck_after", where=every([negate(lives), without_sign]))
        if live_limit is not None:
            yield _Arm("stuck_alive", live_limit, "stuck_after_alive", where=lives, alive=True)
    else:
        silent = every([negate(alive(target)), without_sign])
        yield _Arm("stuck", limits.stuck_after, "stuck_after", where=silent, with_worker=True)
        yield _Arm(
            "stuck_no_worker", limits.stuck_after, "stuck_after", where=without_sign, absent=no_owner(target)
        )
        if live_limit is not None:
            yield _Arm(
                "stuck_alive",
                live_limit,
                "stuck_after_alive",
                where=alive(target),
                with_worker=True,
                alive=True,
            )


def _timed(target: Target, arm: _Arm) -> tuple[Rule, ...]:
    started = target.mapping.jobs.started_at
    if started is None:
        return ()
    return release(
        target,
        code=arm.code,
        where=every([running(target), expired(target, arm.limit, arm.name), arm.where]),
        reason=REASON,
        with_worker=arm.with_worker,
        absent=arm.absent,
        order=(started,),
        facts=job_facts(target) | arm.evidence(target),
    )


def _untimed(target: Target, arm: _Arm) -> tuple[Rule, ...]:
    jobs = target.mapping.jobs
    unstarted = TRUE if jobs.started_at is None else sql.SQL("{} IS NULL").format(job(jobs.started_at))
    columns = [column for column in (jobs.heartbeat, jobs.updated_at) if column is not None]
    fallback = [instant(target, target.jobs, "j", column) for column in columns]
    if (start := last_start(target)) is not None:
        fallback.append(start)
    since = sql.SQL("greatest({})").format(commas(fallback))
    found: tuple[Rule, ...] = ()
    if fallback:
        found = release(
            target,
            code=f"{arm.code}_no_start",
            where=every(
                [
                    running(target),
                    unstarted,
                    sql.SQL("{} < statement_timestamp() - {}").format(
                        since, Value(arm.name, arm.limit, INTERVAL)
                    ),
                    own_limits(target, since, since, TRUE),
                    arm.where,
                ]
            ),
            reason=REASON,
            with_worker=arm.with_worker,
            absent=arm.absent,
            facts=job_facts(target, next(iter(columns), None)) | arm.evidence(target),
        )
    timeless = [sql.SQL("{} IS NULL").format(time) for time in fallback]
    return found + release(
        target,
        code=f"{arm.code}_no_time",
        where=every([running(target), unstarted, *timeless, arm.where]),
        reason=REASON,
        with_worker=arm.with_worker,
        absent=arm.absent,
        patience=arm.limit,
        facts=arm.evidence(target),
    )
