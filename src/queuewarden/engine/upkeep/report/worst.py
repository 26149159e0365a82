"""The hours that stand out in a period. Pure."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

from queuewarden.engine.upkeep.report.values import WorstHour

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from queuewarden.engine.upkeep.samples import Readings

EACH = 3
"""Hours that are told of each kind."""

KINDS = ("down", "failed", "repaired", "waiting")

TWICE = 2.0
"""What is less than so many times the average does not stand out."""


def of_environment(
    hours: Mapping[int, Readings], repaired: Mapping[int, int], count: int
) -> Iterator[WorstHour]:
    """Hours in which the environment was down, or much was repaired in it; `count` is how many there are."""
    for at, readings in hours.items():
        if (down := readings.sums.get("down", 0.0)) > 0:
            yield WorstHour("down", at, down)
    usual = TWICE * sum(repaired.values()) / max(1, count)
    for at, rows in repaired.items():
        if rows >= usual:
            yield WorstHour("repaired", at, rows)


def of_queue(queue: str, hours: Mapping[int, Readings]) -> Iterator[WorstHour]:
    """Hours in which many jobs of a queue failed, or waited."""
    failed = {at: number for at, one in hours.items() if (number := one.sums.get("failed")) is not None}
    usual = TWICE * sum(failed.values()) / max(1, len(failed))
    for at, number in failed.items():
        if 0 < number >= usual:
            yield WorstHour("failed", at, number, queue)
    waiting = {at: gauge for at, one in hours.items() if (gauge := one.gauges.get("waiting")) is not None}
    usual = TWICE * sum(gauge.mean for gauge in waiting.values()) / max(1, len(waiting))
    for at, gauge in waiting.items():
        if 0 < gauge.most >= usual:
            yield WorstHour("waiting", at, gauge.most, queue)


def worst(found: Iterable[WorstHour]) -> list[WorstHour]:
    """The worst of each kind; of those that are alike the earliest."""
    kinds: dict[str, list[WorstHour]] = {kind: [] for kind in KINDS}
    for one in found:
        kinds[one.kind].append(one)
    return [
        one
        for several in kinds.values()
        for one in heapq.nsmallest(EACH, several, key=lambda hour: (-hour.value, hour.at, hour.queue))
    ]
