"""How tables grow, and until when they may. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from queuewarden.engine.upkeep.report.forecast import LEAST, MONTH, line, until
from queuewarden.engine.upkeep.report.values import Growth

if TYPE_CHECKING:
    from collections.abc import Sequence

    from queuewarden.engine.upkeep.samples import Sample

DAY = 86_400

WINDOW = 90
"""Days that a forecast goes by, the latest ones: what was before is another story."""

DOUBLED = 2.0
"""Where nobody set a limit to the size, the time until it has doubled is told."""


def growth(
    queue: str,
    table: str,
    days: Sequence[Sample],
    *,
    size_limit: int | None = None,
    key_limit: int | None = None,
) -> list[Growth]:
    """The growth of one table, from samples of whole days."""
    sizes = _points(days, "size")
    size = sizes[-1][1] if sizes else None
    found = []
    if size is not None:
        set_ = size_limit is not None
        limit = float(size_limit) if size_limit is not None else size * DOUBLED
        found.append(_of(queue, table, "size", sizes, limit, "the limit" if set_ else "twice its size"))
    if key_limit is not None and (keys := _points(days, "key")):
        found.append(_of(queue, table, "key", keys, float(key_limit), "the highest key of its type"))
    return found


def _of(
    queue: str,
    table: str,
    measure: Literal["size", "key"],
    points: Sequence[tuple[float, float]],
    limit: float,
    limit_is: str,
) -> Growth:
    now = points[-1][1]
    found = line(points)
    if found is None:
        days = len(points)
        unknown = f"only {days} {'day is' if days == 1 else 'days are'} known; it takes {LEAST}"
        return Growth(
            queue, table, measure, now, limit=limit, limit_is=limit_is, unknown=unknown, points=tuple(points)
        )
    reached = until(now, limit, found)
    return Growth(
        queue,
        table,
        measure,
        now,
        found.slope * MONTH,
        found.low * MONTH,
        found.high * MONTH,
        limit,
        limit_is,
        reached.months,
        reached.low,
        reached.high,
        points=tuple(points),
    )


def _points(days: Sequence[Sample], name: str) -> list[tuple[float, float]]:
    found = [
        (one.at / DAY, gauge.most if name == "key" else gauge.mean)
        for one in days
        if (gauge := one.readings.gauges.get(name)) is not None
    ]
    return [point for point in found if point[0] > found[-1][0] - WINDOW]
