"""Trends: counts of each queue over the last hours, what its checks found last, what was repaired just now.

Rows are kept without their columns: twenty jobs with large payloads of each queue would be many megabytes.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from queuewarden.engine.report import QueueReport, SweepReport
    from queuewarden.model import Counts, Finding, Outcome

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


@dataclass(slots=True)
class Row:
    """A faulty row, or one that was mended; as it was found it may hold secrets.

    Attributes:
        facts: what the check knows of it; ``lane`` is among them where the check is about lanes.
        document: without secrets; None until somebody asked, since telling what is one takes time.
    """

    key: tuple[str, ...]
    label: str
    mended: bool
    facts: Mapping[str, str | None]
    document: dict[str, Any] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Found:
    """What one rule found when its check looked last; `rows` holds at most 20 of them."""

    at: datetime
    check: str
    code: str
    event: str
    reason: str
    found: int
    mended: int
    skipped: int
    set_aside: int
    seconds: float
    held: str | None
    error: str | None
    failure: str | None
    rows: tuple[Row, ...]

    @property
    def left(self) -> int:
        """Rows that are still at fault."""
        return max(self.found - self.mended, 0)


@dataclass(frozen=True, slots=True)
class Repair:
    """What one rule changed in one sweep; `rows` holds at most 20 of them."""

    at: datetime
    sweep: str
    queue: str
    check: str
    event: str
    reason: str
    count: int
    rows: tuple[Row, ...]


@dataclass(slots=True)
class Trends:
    """The trends of one environment.

    Attributes:
        points: by queue.
        found: by queue and check, of the last time that the check looked.
        repairs: the latest last.
    """

    points: dict[str, deque[Point]] = field(default_factory=dict)
    found: dict[str, dict[str, tuple[Found, ...]]] = field(default_factory=dict)
    repairs: deque[Repair] = field(default_factory=lambda: deque(maxlen=REPAIRS))

    def take(self, report: SweepReport, queues: Container[str]) -> list[Repair]:
        """Take in a sweep; what it repaired."""
        now = datetime.now(UTC)
        self.points = {name: points for name, points in self.points.items() if name in queues}
        self.found = {name: found for name, found in self.found.items() if name in queues}
        for queue in report.queues:
            self._find(now, queue)
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
                _rows(outcome),
            )
            for queue in report.queues
            for outcome in queue.outcomes
            if outcome.mended
        ]
        self.repairs.extend(repairs)
        return repairs

    def _find(self, now: datetime, queue: QueueReport) -> None:
        checks = self.found.setdefault(queue.queue, {})
        looked = dict.fromkeys([*queue.looked, *(outcome.check for outcome in queue.outcomes)])
        for check in looked:
            checks[check] = tuple(_found(now, one) for one in queue.outcomes if one.check == check)

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


def _found(now: datetime, outcome: Outcome) -> Found:
    return Found(
        now,
        outcome.check,
        outcome.code,
        outcome.event,
        outcome.reason,
        outcome.found,
        outcome.mended,
        outcome.skipped,
        outcome.set_aside,
        outcome.seconds,
        outcome.held,
        outcome.error,
        outcome.failure,
        _rows(outcome),
    )


def _rows(outcome: Outcome) -> tuple[Row, ...]:
    return tuple(_row(finding) for finding in outcome.sample)


def _row(finding: Finding) -> Row:
    return Row(finding.key, finding.label, finding.after is not None, finding.facts)
