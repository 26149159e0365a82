"""A straight line through what was measured each day, and what it says of the months to come. Pure.

Ordinary least squares; the bounds are those of the slope, with 90 % confidence, by Student's distribution.
Days hang together more than chance would have it, so that the true uncertainty is rather larger.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

LEAST = 7
"""Days below which nothing is told."""

MONTH = 365.25 / 12
"""Days."""

FURTHEST = 120.0
"""Months beyond which a straight line tells nothing."""

_Z = 1.6448536269514722
"""The 95 % quantile of the normal distribution: 90 % lie between it and its opposite."""

Point = tuple[float, float]


class Line(NamedTuple):
    """A slope (a day), and its bounds."""

    slope: float
    low: float
    high: float


class Until(NamedTuple):
    """Months until a limit; None where there is no telling, or never."""

    months: float | None
    low: float | None
    high: float | None


def line(points: Sequence[Point]) -> Line | None:
    """The line through points (day, value) of different days; None where they are too few."""
    n = len(points)
    if n < LEAST:
        return None
    mean_x, mean_y = (math.fsum(point[axis] for point in points) / n for axis in (0, 1))
    spread = math.fsum((x - mean_x) ** 2 for x, _ in points)
    if spread <= 0:
        return None
    slope = math.fsum((x - mean_x) * (y - mean_y) for x, y in points) / spread
    rest = math.fsum((y - mean_y - slope * (x - mean_x)) ** 2 for x, y in points)
    off = quantile(n - 2) * math.sqrt(rest / (n - 2) / spread)
    return Line(slope, slope - off, slope + off)


def until(now: float, limit: float, found: Line) -> Until:
    """When a line reaches a limit from where it is now."""
    gap = limit - now
    if gap <= 0:
        return Until(0.0, 0.0, 0.0)
    months, low, high = (_reached(gap, slope) for slope in (found.slope, found.high, found.low))
    # A slope that may as well be none says when it is not before, and nothing else.
    return Until(months if found.low > 0 else None, low, high)


def quantile(freedom: int) -> float:
    """The 95 % quantile of Student's distribution, within 0.2 % from five degrees of freedom on.

    By its expansion in the degrees of freedom (Abramowitz and Stegun, Handbook of Mathematical Functions,
    26.7.5).
    """
    z, v = _Z, float(freedom)
    terms = (
        (z**3 + z) / 4 / v,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96 / v**2,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384 / v**3,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160 / v**4,
    )
    return z + math.fsum(terms)


def _reached(gap: float, slope: float) -> float | None:
    """Months until then; None beyond `FURTHEST`."""
    if slope <= 0 or gap / MONTH >= slope * FURTHEST:
        return None
    return gap / slope / MONTH
