"""Instruments: the numbers behind a set of metrics, cheap to keep; they become samples when asked for."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from queuewarden.adapters.metrics.families import PREFIX

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from prometheus_client import Metric

    from queuewarden.adapters.metrics.families import Family

Labels = tuple[str, ...]


class Instruments(Collector):
    """The numbers of one environment, or of the daemon.

    A metric without any number is absent. Labels are given as their values, in the order of the family's.

    Args:
        families: what there is.
        fixed: values of the first labels, the same for all.
    """

    def __init__(self, families: Sequence[Family], fixed: Labels = ()) -> None:
        self._families = {family.name: family for family in families}
        self._fixed = fixed
        self._values: dict[str, dict[Labels, float]] = {}
        self._spreads: dict[str, dict[Labels, list[float]]] = {}

    def count(self, name: str, labels: Labels = (), amount: float = 1) -> None:
        """Add to a counter; adding 0 makes it known."""
        values = self._values.setdefault(name, {})
        values[labels] = values.get(labels, 0) + amount

    def set(self, name: str, values: Mapping[Labels, float | None]) -> None:
        """All values of a gauge; those that are None are unknown, and so absent."""
        self._values[name] = {labels: value for labels, value in values.items() if value is not None}

    def update(self, name: str, values: Mapping[Labels, float]) -> None:
        """Some values of a gauge; the others stay."""
        self._values.setdefault(name, {}).update(values)

    def observe(self, name: str, value: float, labels: Labels = ()) -> None:
        """Take one duration into a histogram."""
        bounds = self._families[name].buckets
        spread = self._spreads.setdefault(name, {}).setdefault(labels, [0.0] * (len(bounds) + 2))
        spread[bisect_left(bounds, value)] += 1
        spread[-1] += value

    def keep(self, label: str, known: Collection[str]) -> None:
        """Forget whatever has another value of a label: what it speaks of is gone."""
        stores: tuple[dict[str, dict[Labels, float]] | dict[str, dict[Labels, list[float]]], ...]
        stores = (self._values, self._spreads)
        for store in stores:
            for name, values in store.items():
                family = self._families[name]
                if label not in family.labels:
                    continue
                place = family.labels.index(label) - len(self._fixed)
                for labels in [one for one in values if one[place] and one[place] not in known]:
                    del values[labels]

    def collect(self) -> Iterator[Metric]:
        """The metrics that have a number."""
        for name, family in self._families.items():
            full = PREFIX + name
            if values := self._values.get(name):
                kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
                metric = kind(full, family.meaning, labels=family.labels)
                for labels, value in values.items():
                    metric.add_metric((*self._fixed, *labels), value)
                yield metric
            elif spreads := self._spreads.get(name):
                bounds = [*map(str, map(float, family.buckets)), "+Inf"]
                spread = HistogramMetricFamily(full, family.meaning, labels=family.labels)
                for labels, (*counts, total) in spreads.items():
                    buckets = list(zip(bounds, accumulate(counts), strict=True))
                    spread.add_metric((*self._fixed, *labels), buckets, total)
                yield spread
