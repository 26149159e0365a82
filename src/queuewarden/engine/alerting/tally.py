"""The tally of one environment: what its sweeps tell, as the readings that alert rules are about. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from queuewarden.engine.alerting.notices import About, Observation
from queuewarden.engine.alerting.queue_tally import CHECK_READINGS, OBSERVE, SHORT, QueueTally
from queuewarden.engine.alerting.readings import ANOMALIES
from queuewarden.engine.alerting.windows import Window
from queuewarden.engine.upkeep.sight import READINGS as UPKEEP

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from queuewarden.engine.report import SweepReport
    from queuewarden.engine.upkeep.health.signs import Health
    from queuewarden.engine.upkeep.sight import Sight
    from queuewarden.model import Anomaly, BrakeChange

MINUTE = 60.0

LEAST_CHECKS = 20
"""Checks below which the share of failed ones says nothing."""

ALWAYS = frozenset({"environment_down", "connection_failures", "sweep_age_seconds"})
"""Readings that are known whether the database answers or not."""

SWEPT = frozenset({"database_errors", "sweep_seconds", "probe_seconds", "lease_free", "brake", *ANOMALIES})
"""Readings that each sweep makes known as a whole."""

LOAD = frozenset({"connections_used", "cache_hits"})

OLD = 1800.0
"""Seconds after which what a look at the database's health found is unknown again."""


@dataclass(slots=True)
class Tally:
    """One environment's.

    Args:
        environment: its name.
    """

    environment: str
    _queues: dict[str, QueueTally] = field(default_factory=dict)
    _report: SweepReport | None = None
    _anomalies: tuple[Anomaly, ...] = ()
    _brakes: tuple[BrakeChange, ...] = ()
    _lease: Mapping[str, object] | None = None
    _critical: frozenset[str] = frozenset()
    _failed: Window = field(default_factory=lambda: Window(MINUTE))
    _checks: Window = field(default_factory=lambda: Window(SHORT))
    _failed_checks: Window = field(default_factory=lambda: Window(SHORT))
    _good: float | None = None
    _health: tuple[float, Health] | None = None
    _upkeep: Sight | None = None

    def swept(
        self,
        report: SweepReport,
        anomalies: Sequence[Anomaly],
        brakes: Sequence[BrakeChange],
        lease: Mapping[str, object] | None,
        critical: Collection[str],
        now: float,
    ) -> None:
        """A sweep ended.

        Args:
            report: what it did; a queue whose interval has not passed is not in it and stays as it was.
            anomalies: those that are raised.
            brakes: those that hold.
            lease: who has it, as the status document says it; None where there is no lease.
            critical: queues whose failures are told at once.
            now: a monotonic moment.
        """
        self._good, self._report, self._lease = now, report, lease
        self._anomalies, self._brakes, self._critical = tuple(anomalies), tuple(brakes), frozenset(critical)
        for queue in report.queues:
            self._queues.setdefault(queue.queue, QueueTally()).take(queue, now)
            failed = {outcome.check for outcome in queue.outcomes if outcome.error}
            self._checks.add(len({OBSERVE} | queue.looked | failed), now)
            self._failed_checks.add(len(failed), now)

        drifted = {anomaly.queue for anomaly in anomalies if anomaly.kind == "drift"}
        for name in drifted - {queue.queue for queue in report.queues}:
            if name in self._queues:
                self._queues[name].lose(now)

    def upkept(self, sight: Sight | None) -> None:
        """What is known of the tasks of upkeep; None: nothing."""
        self._upkeep = sight

    def examined(self, health: Health, now: float) -> None:
        """Somebody looked at the database's health."""
        self._health = now, health

    def failed(self, now: float) -> None:
        """Connecting, or a sweep, failed."""
        self._born(now)
        self._failed.add(1, now)

    def observation(
        self, now: float, *, down: bool, queues: Collection[str], interval: float = 0.0
    ) -> Observation:
        """What is known now.

        Args:
            now: a monotonic moment.
            down: the database cannot be used: little but that is known.
            queues: all that there are, whether they can be swept or not.
            interval: seconds from one sweep to the next.
        """
        here = About(self.environment)
        readings: dict[str, dict[About, float]] = {
            "environment_down": {here: float(down)},
            "connection_failures": {here: float(self._failed.total(now))},
            "sweep_age_seconds": {here: max(0.0, now - self._born(now) - interval)},
        }
        if down or self._report is None:
            return Observation(self.environment, readings, ALWAYS)
        self._queues = {name: known for name, known in self._queues.items() if name in queues}
        absent: set[tuple[str, About]] = set()
        for metric, about, value in self._of_queues(now):
            if value is None:
                absent.add((metric, about))
            else:
                readings.setdefault(metric, {})[about] = value
        self._of_environment(here, readings, now)
        settled = ALWAYS | SWEPT
        if self._queues.keys() >= set(queues) and all(known.whole(now) for known in self._queues.values()):
            settled |= frozenset(CHECK_READINGS)
        if self._report.load is not None:
            settled |= LOAD
        settled |= self._of_health(readings, absent, queues, now)
        if self._upkeep is not None:
            readings |= self._upkeep.readings(self.environment, now)
            settled |= UPKEEP
        return Observation(
            self.environment, readings, settled, queues=frozenset(queues), absent=frozenset(absent)
        )

    def _born(self, now: float) -> float:
        """When the last sweep ended well; before the first, when this tally was begun."""
        if self._good is None:
            self._good = now
        return self._good

    def _of_queues(self, now: float) -> Iterator[tuple[str, About, float | None]]:
        for name, known in self._queues.items():
            for metric, subject, value in known.readings(now):
                yield metric, About(self.environment, name, subject), value
            failures = float(known.failures.total(now)) if name in self._critical else None
            yield "critical_failures", About(self.environment, name), failures

    def _of_health(
        self,
        readings: dict[str, dict[About, float]],
        absent: set[tuple[str, About]],
        queues: Collection[str],
        now: float,
    ) -> frozenset[str]:
        """What the last look at the database's health told; of which readings that was all."""
        if self._health is None or now - self._health[0] >= OLD:
            return frozenset()
        health = self._health[1]
        for (metric, queue, subject), value in health.readings.items():
            about = About(self.environment, queue, subject)
            if value is None:
                absent.add((metric, about))
            elif not queue or queue in queues:
                readings.setdefault(metric, {})[about] = value
        return health.settled

    def _of_environment(self, here: About, readings: dict[str, dict[About, float]], now: float) -> None:
        report = self._report
        if report is None:
            return
        checks = self._checks.total(now)
        if checks >= LEAST_CHECKS:
            readings["database_errors"] = {here: self._failed_checks.total(now) / checks}
        readings["sweep_seconds"] = {here: report.seconds}
        readings["probe_seconds"] = {here: report.probe_seconds}
        if report.load is not None:
            if report.load.most > 0:
                readings["connections_used"] = {here: report.load.used / report.load.most}
            if report.load.cache_hits is not None:
                readings["cache_hits"] = {here: report.load.cache_hits}
        if self._lease is not None:
            readings["lease_free"] = {here: float(self._lease["holder"] is None)}
        for brake in self._brakes:
            about = About(self.environment, brake.queue or "", brake.kind)
            readings.setdefault("brake", {})[about] = 1.0
        for anomaly in self._anomalies:
            if anomaly.kind in ANOMALIES:
                about = About(self.environment, anomaly.queue or "", anomaly.subject)
                readings.setdefault(anomaly.kind, {})[about] = _size(anomaly)


def _size(anomaly: Anomaly) -> float:
    """How much of it there is; 1 where that is not a number."""
    fact = ANOMALIES[anomaly.kind]
    size = anomaly.facts.get(fact, 1) if fact is not None else 1
    return max(1.0, float(size)) if isinstance(size, int | float) else 1.0
