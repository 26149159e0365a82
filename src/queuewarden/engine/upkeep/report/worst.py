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


def of_environment(hours: Mapping[int, Readings], repaired: Mapping[int, int]) -> Iterator[WorstHour]:
    """Hours in which the environment was down, or much was repaired in it."""
    for at, readings in hours.items():
        if (down := readings.sums.get("down", 0.0)) > 0:
            yield WorstHour("down", at, down)
    for at, rows in repaired.items():
        yield WorstHour("repaired", at, rows)


def of_queue(queue: str, hours: Mapping[int, Readings]) -> Iterator[WorstHour]:
    """Hours in which many jobs of a queue failed, or waited."""
    for at, readings in hours.items():
        if (failed := readings.sums.get("failed", 0.0)) > 0:
            yield WorstHour("failed", at, failed, queue)
        waiting = readings.gauges.get("waiting")
        if waiting is not None and waiting.most > 0:
            yield WorstHour("waiting", at, waiting.most, queue)


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
