"""What a report tells, as values. What is unknown is None, never 0; moments are seconds since 1970."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from queuewarden.engine.reading.patterns import Pattern

Period = Literal["day", "week", "month"]

DAYS: Mapping[Period, int] = {"day": 1, "week": 7, "month": 30}

BIN: Mapping[Period, int] = {"day": 3600, "week": 3 * 3600, "month": 12 * 3600}
"""Seconds of a chart's step; of a few days, hours are drawn."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What a report is about.

    Attributes:
        since, until: whole hours, and the five minutes that ended last.
        size_limit: the bytes that a table may have; None: nobody set any.
    """

    environment: str
    period: Period
    since: int
    until: int
    size_limit: int | None = None

    @property
    def seconds(self) -> int:
        """How long it is."""
        return self.until - self.since


@dataclass(frozen=True, slots=True)
class Availability:
    """Seconds in which sweeps succeeded, in which they failed, and of which nothing is known."""

    up: float
    down: float
    unknown: float

    @property
    def share(self) -> float | None:
        """The share of the known time in which they succeeded."""
        known = self.up + self.down
        return self.up / known if known > 0 else None

    @property
    def known(self) -> float:
        """The share of the time of which something is known."""
        whole = self.up + self.down + self.unknown
        return (self.up + self.down) / whole if whole > 0 else 0.0


@dataclass(slots=True)
class Step:
    """One step of a chart.

    Attributes:
        done, failed: jobs, as far as they were counted; ``done_per_hour`` is of the time in which they were.
        repaired: rows of all queues; None in the step of one queue.
        waiting: on average.
    """

    at: int
    up: float = 0.0
    down: float = 0.0
    done: int | None = None
    failed: int | None = None
    repaired: int | None = None
    waiting: float | None = None
    done_per_hour: float | None = None
    failed_per_hour: float | None = None


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Limits in force, in seconds; None: there is none."""

    stuck_after: float
    stuck_after_alive: float | None
    dead_after: float
    oldest_waiting: float


@dataclass(frozen=True, slots=True)
class QueueFigures:
    """One queue over the period.

    Attributes:
        table: as schema.name; empty where the queue is known from samples alone.
        counted: the share of the time in which ended jobs were counted.
        done, failed, arrived: jobs; a count of less than the whole time is what was counted.
        per_hour: jobs that ended, an hour of the time in which they were counted.
        failure_rate: failed among ended.
        timed: jobs that are done whose run time is known.
        p50, p95, p99: run times in seconds.
        beyond: jobs that are done and ran for longer than STUCK_AFTER.
        waiting, waiting_most: jobs that waited, on average and at most; `oldest_most` seconds.
        backlog: how many more wait at the end than at the beginning.
        repaired: rows, as the ledger has it; None where it cannot be read.
        errors: checks that ended in an error.
        lacks: why figures are missing, in words.
    """

    queue: str
    table: str = ""
    counted: float = 0.0
    done: int | None = None
    failed: int | None = None
    arrived: int | None = None
    per_hour: float | None = None
    arrived_per_hour: float | None = None
    failure_rate: float | None = None
    timed: int = 0
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    beyond: int | None = None
    waiting: float | None = None
    waiting_most: float | None = None
    oldest_most: float | None = None
    backlog: float | None = None
    workers: float | None = None
    repaired: int | None = None
    errors: int = 0
    thresholds: Thresholds | None = None
    lacks: tuple[str, ...] = ()
    steps: tuple[Step, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Repairs:
    """What was repaired, and why: as the ledger has it."""

    queue: str
    check: str
    event: str
    reason: str
    rows: int


@dataclass(frozen=True, slots=True)
class WorstHour:
    """An hour that stands out.

    Attributes:
        kind: in what.
        queue: empty where it is about the environment.
    """

    kind: Literal["down", "failed", "repaired", "waiting"]
    at: int
    value: float
    queue: str = ""


@dataclass(frozen=True, slots=True)
class Growth:
    """How one measure of a table grows, and when it reaches a limit, by a straight line through its days.

    Attributes:
        measure: bytes with indexes (``size``), or the highest key (``key``).
        per_month: by how much; `low` and `high` bound it with 90 % confidence.
        limit, limit_is: where it may not go, or what is worth knowing, in words.
        months: until then; None where that is unknown, or never.
        months_low, months_high: the same with 90 % confidence; None: maybe never.
        unknown: why nothing is told, in words; empty where something is.
        points: days since 1970 and what was measured.
    """

    queue: str
    table: str
    measure: Literal["size", "key"]
    now: float | None
    per_month: float | None = None
    low: float | None = None
    high: float | None = None
    limit: float | None = None
    limit_is: str = ""
    months: float | None = None
    months_low: float | None = None
    months_high: float | None = None
    unknown: str = ""
    points: tuple[tuple[float, float], ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What to do, and why.

    Attributes:
        queue: empty where it is about the environment.
    """

    kind: str
    queue: str
    text: str
    reason: str


@dataclass(frozen=True, slots=True)
class Totals:
    """Over all queues; None where it is known of none."""

    done: int | None
    failed: int | None
    arrived: int | None
    repaired: int | None
    taken_back: int | None


@dataclass(frozen=True, slots=True)
class Report:
    """What a period came to.

    Attributes:
        notes: what could not be read, or is not known, in words.
    """

    frame: Frame
    availability: Availability
    totals: Totals
    steps: tuple[Step, ...]
    queues: tuple[QueueFigures, ...]
    repairs: tuple[Repairs, ...]
    errors: tuple[Pattern, ...]
    worst: tuple[WorstHour, ...]
    growth: tuple[Growth, ...]
    recommendations: tuple[Recommendation, ...]
    notes: tuple[str, ...]


def span(period: Period) -> timedelta:
    """How long a period is, at least: a report begins at a whole hour."""
    return timedelta(days=DAYS[period])
