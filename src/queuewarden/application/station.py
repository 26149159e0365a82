"""The station: what the daemon shows of itself to whoever watches it: HTTP, metrics, alerts."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from queuewarden.application.bulletin import Bulletin
from queuewarden.application.trends import Trends

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from queuewarden.application.alarm import Alarm
    from queuewarden.application.guard import Guard
    from queuewarden.application.metering import Meter
    from queuewarden.application.trends import Repair
    from queuewarden.engine.report import SweepReport
    from queuewarden.settings.configuration import Configuration


@dataclass(slots=True)
class Station:
    """One daemon's.

    Attributes:
        guards: by the name of their environment; those of a reload come and go.
        trends: by environment.
        ready: the daemon has had its first answer from each environment, or waited long enough.
        config_rejected: the last reload was refused.
        meter: None while nobody can ask for metrics.
    """

    configuration: Configuration
    guards: Mapping[str, Guard]
    alarm: Alarm
    bulletin: Bulletin = field(default_factory=Bulletin)
    trends: dict[str, Trends] = field(default_factory=dict)
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    ready: bool = False
    config_rejected: bool = False
    meter: Meter | None = None

    def __post_init__(self) -> None:
        if self.configuration.http is not None:
            self._metered()

    def swept(self, guard: Guard, report: SweepReport) -> None:
        """An environment was swept."""
        name = guard.config.name
        trends = self.trends.setdefault(name, Trends())
        self._tell(name, trends.take(report, guard.status.counts))
        if (meter := self._metered()) is not None:
            meter.swept(guard, report)
        self.changed(guard)

    def interrupted(self, guard: Guard, report: SweepReport) -> None:
        """A sweep was cut short: what it repaired is repaired."""
        name = guard.config.name
        trends = self.trends.setdefault(name, Trends())
        self._tell(name, trends.take(report, guard.status.counts))
        if (meter := self._metered()) is not None:
            meter.interrupted(guard, report)

    def failed(self, guard: Guard, error: BaseException | None) -> None:
        """A sweep of an environment failed."""
        if (meter := self._metered()) is not None:
            meter.failed(guard, error)

    def changed(self, guard: Guard) -> None:
        """What is known of an environment has changed."""
        if self.bulletin.listeners:
            told = {"environment": guard.config.name} | guard.status.document()
            self.bulletin.tell("environment", told)
        if (meter := self._metered()) is not None:
            meter.changed(guard)

    def exposition(self) -> bytes:
        """The metrics, as Prometheus reads them: of type `metering.CONTENT_TYPE`."""
        return (self._metered() or self._meter()).exposition()

    def _metered(self) -> Meter | None:
        """The meter, made when HTTP is switched on: its library is not imported before."""
        if self.configuration.http is None:
            self.meter = None
        elif self.meter is None:
            self.meter = self._meter()
        return self.meter

    def _meter(self) -> Meter:
        from queuewarden.application.metering import Meter

        return Meter(self)

    def _tell(self, environment: str, repairs: Iterable[Repair]) -> None:
        """Tell listeners of repairs."""
        for repair in repairs:
            told = {
                "environment": environment,
                "queue": repair.queue,
                "check": repair.check,
                "event": repair.event,
                "reason": repair.reason,
                "count": repair.count,
                "sweep": repair.sweep,
                "at": repair.at,
            }
            self.bulletin.tell("repair", told)
