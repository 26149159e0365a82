"""What a report recommends, and what each was concluded from. Pure; what is unknown recommends nothing."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from queuewarden.engine.upkeep.report.values import Recommendation
from queuewarden.engine.upkeep.report.wording import number, percent, size, span

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from queuewarden.engine.upkeep.report.values import (
        Availability,
        Frame,
        Growth,
        QueueFigures,
        Repairs,
        Thresholds,
    )

AVAILABLE = 0.999
KNOWN = 0.95
FAILING = 0.10
FEW = 20
"""Jobs below which a share tells nothing."""

MANY = 100
"""Jobs below which a percentile tells nothing."""

CLOSE = 0.8
"""A percentile of so much of a limit is close to it."""

FAR = 20.0
"""A limit of so many times a percentile is far from it."""

AHEAD = 6.0
"""Months within which the end of something is near."""

SMALL = 2**30
"""Bytes that a table may reach without anybody minding, where nobody set a limit."""

DAILY = 10.0
"""Repairs of one kind a day that point at a cause."""

TAKEN_BACK = 0.05

HOUR = 3600


def advise(
    frame: Frame,
    availability: Availability,
    queues: Sequence[QueueFigures],
    repairs: Sequence[Repairs],
    taken_back: int,
    growth: Sequence[Growth],
) -> list[Recommendation]:
    """Everything that is recommended: about the database, its queues, repairs, and what is to come."""
    return [
        *_availability(availability),
        *(one for queue in queues for one in _queue(queue)),
        *_repairs(frame, repairs, taken_back),
        *(one for each in growth for one in _growth(each, set_=frame.size_limit is not None)),
    ]


def _availability(found: Availability) -> Iterator[Recommendation]:
    if found.share is not None and found.share < AVAILABLE:
        yield Recommendation(
            "availability",
            "",
            "look at why the database was not reached: `queuewarden diagnose`, and the log of the daemon",
            f"sweeps failed for {span(found.down)}, {percent(1 - found.share)} of the time that is known",
        )
    if found.known < KNOWN:
        yield Recommendation(
            "unknown",
            "",
            "let one daemon run all the time, with the lease, so that reports know of all of it",
            f"nothing is known of {span(found.unknown)}, {percent(1 - found.known)} of the period",
        )


def _queue(one: QueueFigures) -> Iterator[Recommendation]:
    ended = (one.done or 0) + (one.failed or 0)
    if one.failure_rate is not None and one.failure_rate > FAILING and ended >= FEW:
        yield Recommendation(
            "failures",
            one.queue,
            "read the error patterns below, the most frequent first; `queuewarden retry` puts jobs back",
            f"{percent(one.failure_rate)} of the jobs that ended failed: {number(one.failed)}",
        )
    came, went = one.arrived_per_hour, one.per_hour
    grown = one.backlog or 0  # jobs may also end otherwise: cancelled, or deleted
    if came is not None and went is not None and came - went >= 1 and came > went * 1.1 and grown >= 1:
        yield Recommendation(
            "falling_behind",
            one.queue,
            "start more workers, or make jobs shorter",
            f"{number(came)} jobs come an hour and {number(went)} end,"
            f" and {number(grown)} more wait than at first",
        )
    if one.thresholds is not None and one.p99 is not None and one.timed >= MANY:
        yield from _limits(one, one.p99, one.thresholds)
    if one.errors:
        yield Recommendation(
            "checks",
            one.queue,
            "see what the checks met: `queuewarden diagnose`",
            f"{number(one.errors)} checks ended in an error",
        )


def _limits(one: QueueFigures, p99: float, limits: Thresholds) -> Iterator[Recommendation]:
    stuck = limits.stuck_after
    if p99 > CLOSE * stuck:
        yield Recommendation(
            "stuck_after_short",
            one.queue,
            f"set STUCK_AFTER to {_minutes(3 * p99)} or more: a job that only runs long is not stuck",
            f"1 % of jobs run for longer than {span(p99)}, and STUCK_AFTER is {span(stuck)}",
        )
    elif p99 * FAR < stuck and stuck >= HOUR:
        yield Recommendation(
            "stuck_after_long",
            one.queue,
            f"a STUCK_AFTER of {_minutes(max(5 * p99, 180))} would free stuck jobs much sooner",
            f"99 % of jobs end within {span(p99)}, and STUCK_AFTER is {span(stuck)}",
        )


def _repairs(frame: Frame, repairs: Sequence[Repairs], taken_back: int) -> Iterator[Recommendation]:
    days = frame.seconds / (24 * HOUR)
    rows: Counter[tuple[str, str]] = Counter()
    for one in repairs:
        rows[one.queue, one.check] += one.rows
    for (queue, check), count in rows.most_common():
        if (text := _CAUSES.get(check)) is not None and count >= DAILY * max(days, 1.0):
            reason = f"{number(count)} rows were repaired by {check}, {number(count / days)} a day"
            yield Recommendation("repairs", queue, text, reason)
    if taken_back >= TAKEN_BACK * max(1, rows.total()) and taken_back:
        yield Recommendation(
            "taken_back",
            "",
            "look at what was taken back: `queuewarden history`; is a limit too short, or a mapping wrong?",
            f"{number(taken_back)} of {number(rows.total())} repairs were undone by hand",
        )


def _growth(one: Growth, *, set_: bool) -> Iterator[Recommendation]:
    if one.months is None or one.months > AHEAD or one.now is None or one.limit is None or not one.table:
        return
    within = f"within about {one.months:.1f} months"
    if one.measure == "key":
        yield Recommendation(
            "key",
            one.queue,
            f"make the key of {one.table} a bigint before it runs out",
            f"its highest key is {number(one.now)} of {number(one.limit)}, and reaches that {within}",
        )
    elif set_ or one.limit > SMALL:
        yield Recommendation(
            "growth",
            one.queue,
            f"delete finished jobs that nobody needs any more from {one.table}: see UPKEEP__PRUNE",
            f"it has {size(one.now)} and reaches {size(one.limit)} ({one.limit_is}) {within}",
        )


_CAUSES = {
    "dead_workers": "find out why workers end without handing back their jobs: memory, deployments, kills",
    "stuck_jobs": "find out where jobs hang: a call without a timeout is the usual cause",
    "positions": "find out who numbers positions differently: see POSITIONS__ORDER_BY",
    "orphans": "find out who deletes what jobs still need",
    "timestamps": "have the application write each time together with the status",
    "lanes": "find out why a lane has several running jobs at once",
}


def _minutes(seconds: float) -> str:
    return f"{max(1, -int(-seconds // 60))}m"
