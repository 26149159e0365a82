"""Samples: what sweeps knew of an environment and its queues, in spans of five minutes, an hour and a day.

A span is made of finer ones by adding up, so that nothing is lost but the order of events. What is unknown is
absent, never 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Span = Literal["5m", "1h", "1d"]

LENGTH: Mapping[Span, int] = {"5m": 300, "1h": 3600, "1d": 86_400}
"""Seconds; each span begins at a multiple of its length since 1970, days hence in UTC."""

KEEP: Mapping[Span, timedelta] = {
    "5m": timedelta(days=2),
    "1h": timedelta(days=60),
    "1d": timedelta(days=730),
}
"""How long samples are kept: of one queue about 2700 at most."""

SUMS = frozenset(
    {
        "up", "down", "sweeps", "failed_sweeps",
        "looked_done", "done", "looked_failed", "failed", "looked_arrived", "arrived",
        "mended", "errors",
    }
)  # fmt: skip
"""Readings that add up.

Of an environment: seconds ``up`` and ``down``, ``sweeps`` and ``failed_sweeps``. Of a queue: jobs that ended
``done`` or ``failed`` and that ``arrived``, and the seconds in which they were counted (``looked_done`` …);
rows ``mended``, checks that ended in ``errors``."""

GAUGES = frozenset(
    {
        "sweep_seconds", "latency", "connections",
        "waiting", "running", "failed_jobs", "oldest", "workers", "silent",
        "size", "rows", "key",
    }
)  # fmt: skip
"""Readings of a moment: seconds, bytes or a number; ``key`` is the highest key of the table."""

FINEST = 4
"""Slots of run times to a doubling: a percentile is off by 9 % at most."""

SHORTEST, LONGEST = -40, 104
"""The slots of a millisecond or less, and of two years or more."""


class Gauge(NamedTuple):
    """Readings of several moments: how many, their total, and the highest."""

    n: int
    total: float
    most: float

    @property
    def mean(self) -> float:
        """The average."""
        return self.total / self.n

    def and_(self, other: Gauge) -> Gauge:
        """Both together."""
        return Gauge(self.n + other.n, self.total + other.total, max(self.most, other.most))


@dataclass(slots=True)
class Readings:
    """The readings of one environment (queue ``""``) or queue in one span.

    Attributes:
        n: sweeps that they are of; of two samples of the same span that of more sweeps knows more.
        times: how many jobs that are done ran for about how long, by `slot`.
    """

    n: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    gauges: dict[str, Gauge] = field(default_factory=dict)
    times: dict[int, int] = field(default_factory=dict)

    def add(self, name: str, value: float) -> None:
        """Add to a sum."""
        self.sums[name] = self.sums.get(name, 0) + value

    def note(self, name: str, value: float | None) -> None:
        """Note the reading of a moment, if it is known."""
        if value is not None:
            one = Gauge(1, value, value)
            known = self.gauges.get(name)
            self.gauges[name] = one if known is None else known.and_(one)

    def count(self, slot: int, jobs: int) -> None:
        """Count jobs that ran for so long."""
        self.times[slot] = self.times.get(slot, 0) + jobs

    def take(self, other: Readings) -> None:
        """Add the readings of another span."""
        self.n += other.n
        for name, value in other.sums.items():
            self.add(name, value)
        for name, gauge in other.gauges.items():
            known = self.gauges.get(name)
            self.gauges[name] = gauge if known is None else known.and_(gauge)
        for slot, jobs in other.times.items():
            self.count(slot, jobs)

    def document(self) -> dict[str, Any]:
        """As the ledger keeps it; what is empty is left out."""
        parts = {
            "sums": {name: _short(value) for name, value in sorted(self.sums.items())},
            "gauges": {
                name: [one.n, _short(one.total), _short(one.most)]
                for name, one in sorted(self.gauges.items())
            },
            "times": {str(slot): jobs for slot, jobs in sorted(self.times.items())},
        }
        return {"n": self.n, **{name: part for name, part in parts.items() if part}}


@dataclass(frozen=True, slots=True)
class Sample:
    """Readings of one span.

    Attributes:
        at: when it began, in seconds since 1970.
    """

    queue: str
    at: int
    span: Span
    readings: Readings


def readings(document: Any) -> Readings:
    """From what the ledger holds; what nobody here would have written there is passed over."""
    parts = document if isinstance(document, dict) else {}
    found = Readings(n=max(0, int(_number(parts.get("n")) or 0)))
    for name, value in _items(parts.get("sums")):
        number = _number(value)
        if name in SUMS and number is not None and number >= 0:
            found.sums[name] = number
    for name, value in _items(parts.get("gauges")):
        numbers = [_number(one) for one in value] if isinstance(value, list) else []
        if name in GAUGES and len(numbers) == len(Gauge._fields) and None not in numbers:
            n, total, most = (one or 0.0 for one in numbers)
            if n >= 1:
                found.gauges[name] = Gauge(int(n), total, most)
    for name, value in _items(parts.get("times")):
        jobs = _number(value)
        if name.removeprefix("-").isdecimal() and jobs is not None and jobs >= 1:
            found.count(min(max(int(name[:9]), SHORTEST), LONGEST), int(jobs))
    return found


def merged(several: Iterable[Readings]) -> Readings:
    """All of them together."""
    whole = Readings()
    for one in several:
        whole.take(one)
    return whole


def start(moment: float, span: Span) -> int:
    """When the span that a moment lies in began."""
    return math.floor(moment / LENGTH[span]) * LENGTH[span]


def slot(seconds: float) -> int:
    """The slot of a run time."""
    return min(max(math.floor(FINEST * math.log2(max(seconds, 0.001))), SHORTEST), LONGEST)


def percentile(times: Mapping[int, int], share: float) -> float | None:
    """The run time in seconds that so large a share of jobs did not exceed; None where there is none.

    It is the middle of its slot.
    """
    wanted, passed = share * sum(times.values()), 0
    for place, jobs in sorted(times.items()):
        passed += jobs
        if passed >= wanted:
            return float(2 ** ((place + 0.5) / FINEST))
    return None


def above(times: Mapping[int, int], seconds: float) -> int:
    """How many jobs ran for longer, for certain: those of the slot of the limit itself are left out."""
    return sum(jobs for place, jobs in times.items() if place > slot(seconds))


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e300:  # noqa: PLR2004
        return None
    return float(value) if math.isfinite(value) else None


def _items(value: Any) -> Iterable[tuple[str, Any]]:
    return value.items() if isinstance(value, dict) else ()


def _short(value: float) -> float | int:
    """As few digits as matter: a million samples are kept."""
    return int(value) if value == int(value) else round(value, 4)
