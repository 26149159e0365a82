"""Trends: counts of each queue over the last hours, for small charts; and what was repaired just now."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container

    from queuewarden.engine.report import SweepReport
    from queuewarden.model import Counts, Finding

EVERY = 30.0
"""Seconds between two points of a queue's trend, at least."""

POINTS = 240
"""Points that are kept of each queue: two hours, where it is swept every 30 s."""

REPAIRS = 200
"""Repairs that are kept of each environment."""


@dataclass(frozen=True, slots=True)
class Point:
    """Counts of one queue at one moment; what is unknown is None."""

    at: datetime
    waiting: int | None
    running: int | None
    failed: int | None
    workers: int | None
    silent: int | None


@dataclass(frozen=True, slots=True)
class Repair:
    """What one rule changed in one sweep; `sample` holds at most 20 of the rows."""

    at: datetime
    sweep: str
    queue: str
    check: str
    event: str
    reason: str
    count: int
    sample: tuple[Finding, ...]


@dataclass(slots=True)
class Trends:
    """The trends of one environment."""

    points: dict[str, deque[Point]] = field(default_factory=dict)
    repairs: deque[Repair] = field(default_factory=lambda: deque(maxlen=REPAIRS))

    def take(self, report: SweepReport, queues: Container[str]) -> list[Repair]:
        """Take in a sweep; what it repaired."""
        now = datetime.now(UTC)
        self.points = {name: points for name, points in self.points.items() if name in queues}
        for queue in report.queues:
            if queue.counts is not None:
                self._point(now, queue.queue, queue.counts)
        repairs = [
            Repair(
                now,
                report.sweep,
                queue.queue,
                outcome.check,
                outcome.event,
                outcome.reason,
                outcome.mended,
                outcome.sample,
            )
            for queue in report.queues
            for outcome in queue.outcomes
            if outcome.mended
        ]
        self.repairs.extend(repairs)
        return repairs

    def _point(self, now: datetime, queue: str, counts: Counts) -> None:
        points = self.points.setdefault(queue, deque(maxlen=POINTS))
        # The last point is always the latest; those before it are as far apart as they should be.
        if len(points) > 1 and (now - points[-2].at).total_seconds() < EVERY:
            points.pop()
        points.append(
            Point(
                now, counts.waiting, counts.running, counts.failed, counts.live_workers, counts.silent_workers
            )
        )
