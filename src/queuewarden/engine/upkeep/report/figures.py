"""The figures of one queue, and of the environment, from samples. Pure."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, TypeVar

from queuewarden.engine.upkeep.report.values import BIN, Availability, QueueFigures, Step
from queuewarden.engine.upkeep.samples import LENGTH, above, merged, percentile, start

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from queuewarden.engine.upkeep.report.values import Frame, Thresholds
    from queuewarden.engine.upkeep.samples import Gauge, Readings, Sample

N = TypeVar("N", int, float)

HOUR = 3600


def availability(frame: Frame, samples: Iterable[Sample]) -> Availability:
    """How the time of the period is divided; holes in the samples are unknown."""
    up = down = 0.0
    for one in samples:
        length = LENGTH[one.span]
        down_ = min(one.readings.sums.get("down", 0.0), length)
        down += down_
        up += min(one.readings.sums.get("up", 0.0), length - down_)
    return Availability(up, down, max(0.0, frame.seconds - up - down))


def steps(frame: Frame, samples: Iterable[Sample]) -> tuple[Step, ...]:
    """The steps of a chart, each of the whole period, in order."""
    length = BIN[frame.period]
    parts: defaultdict[int, list[Readings]] = defaultdict(list)
    for one in samples:
        parts[_bin(one.at, frame)].append(one.readings)
    found = []
    for at in range(_bin(frame.since, frame), frame.until, length):
        whole = merged(parts.get(at, ()))
        waiting = whole.gauges.get("waiting")
        found.append(
            Step(
                at,
                whole.sums.get("up", 0.0),
                whole.sums.get("down", 0.0),
                _whole(whole, "done"),
                _whole(whole, "failed"),
                waiting=waiting.mean if waiting is not None else None,
                done_per_hour=_rate(whole.sums.get("done"), whole.sums.get("looked_done", 0.0)),
                failed_per_hour=_rate(whole.sums.get("failed"), whole.sums.get("looked_failed", 0.0)),
            )
        )
    return tuple(found)


def together(several: Sequence[tuple[Step, ...]]) -> dict[int, Step]:
    """Steps of several queues as one, by their beginning: jobs add up, and so do those that wait."""
    whole: dict[int, Step] = {}
    for one in (step for steps_ in several for step in steps_):
        held = whole.setdefault(one.at, Step(one.at))
        held.done = _plus(held.done, one.done)
        held.failed = _plus(held.failed, one.failed)
        held.waiting = _plus(held.waiting, one.waiting)
        held.done_per_hour = _plus(held.done_per_hour, one.done_per_hour)
        held.failed_per_hour = _plus(held.failed_per_hour, one.failed_per_hour)
    return whole


def hours(samples: Iterable[Sample]) -> dict[int, Readings]:
    """Readings by the hour."""
    parts: defaultdict[int, list[Readings]] = defaultdict(list)
    for one in samples:
        parts[start(one.at, "1h")].append(one.readings)
    return {at: merged(several) for at, several in parts.items()}


def figures(
    frame: Frame,
    queue: str,
    samples: Sequence[Sample],
    *,
    table: str = "",
    thresholds: Thresholds | None = None,
    repaired: int | None = None,
    lacks: Sequence[str] = (),
) -> QueueFigures:
    """One queue over the period."""
    whole = merged(one.readings for one in samples)
    sums, gauges, times = whole.sums, whole.gauges, whole.times
    done, failed, arrived = (_whole(whole, name) for name in ("done", "failed", "arrived"))
    well, badly, came = (
        _rate(sums.get(name), sums.get(f"looked_{name}", 0.0)) for name in ("done", "failed", "arrived")
    )
    looked = [sums[name] for name in ("looked_done", "looked_failed") if name in sums]
    ended = well + (badly or 0.0) if well is not None else None
    waiting, oldest, workers = (gauges.get(name) for name in ("waiting", "oldest", "workers"))
    return QueueFigures(
        queue,
        table,
        counted=min(1.0, min(looked, default=0.0) / frame.seconds) if frame.seconds > 0 else 0.0,
        done=done,
        failed=failed,
        arrived=arrived,
        per_hour=ended,
        arrived_per_hour=came,
        failure_rate=badly / ended if well is not None and badly is not None and ended else None,
        timed=sum(times.values()),
        p50=percentile(times, 0.5),
        p95=percentile(times, 0.95),
        p99=percentile(times, 0.99),
        beyond=above(times, thresholds.stuck_after) if thresholds is not None and times else None,
        waiting=waiting.mean if waiting is not None else None,
        waiting_most=waiting.most if waiting is not None else None,
        oldest_most=oldest.most if oldest is not None else None,
        backlog=_backlog(samples),
        workers=workers.mean if workers is not None else None,
        repaired=repaired,
        errors=_whole(whole, "errors") or 0,
        thresholds=thresholds,
        lacks=tuple(lacks),
        steps=steps(frame, samples),
    )


def _backlog(samples: Sequence[Sample]) -> float | None:
    """How many more waited in the last sixth of the samples than in the first."""
    known = [gauge for one in samples if (gauge := one.readings.gauges.get("waiting")) is not None]
    part = math.ceil(len(known) / 6)
    if len(known) < 2:  # noqa: PLR2004 -- a beginning and an end
        return None
    return _mean(known[-part:]) - _mean(known[:part])


def _mean(gauges: Sequence[Gauge]) -> float:
    return sum(one.total for one in gauges) / sum(one.n for one in gauges)


def _bin(at: int, frame: Frame) -> int:
    """When the step began that a moment lies in; steps begin with the period."""
    length = BIN[frame.period]
    return frame.since + (at - frame.since) // length * length


def _whole(readings: Readings, name: str) -> int | None:
    value = readings.sums.get(name)
    return round(value) if value is not None else None


def _rate(number: float | None, seconds: float) -> float | None:
    return number / seconds * HOUR if number is not None and seconds > 0 else None


def _plus(one: N | None, other: N | None) -> N | None:
    if one is None or other is None:
        return other if one is None else one
    return one + other
