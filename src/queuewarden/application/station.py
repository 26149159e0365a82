"""The station: what the daemon shows of itself to whoever watches it: HTTP, metrics, alerts."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from queuewarden.application.bulletin import Bulletin
from queuewarden.application.trends import Trends

if TYPE_CHECKING:
    from collections.abc import Mapping

    from queuewarden.application.alarm import Alarm
    from queuewarden.application.guard import Guard
    from queuewarden.engine.report import SweepReport
    from queuewarden.settings.configuration import Configuration


@dataclass(slots=True)
class Station:
    """One daemon's.

    Attributes:
        guards: by the name of their environment; those of a reload come and go.
        trends: by environment.
        ready: the daemon has had its first answer from each environment, or waited long enough.
    """

    configuration: Configuration
    guards: Mapping[str, Guard]
    alarm: Alarm
    bulletin: Bulletin = field(default_factory=Bulletin)
    trends: dict[str, Trends] = field(default_factory=dict)
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    ready: bool = False

    def swept(self, guard: Guard, report: SweepReport) -> None:
        """An environment was swept."""
        name = guard.config.name
        trends = self.trends.setdefault(name, Trends())
        for repair in trends.take(report, guard.status.counts):
            told = {
                "environment": name,
                "queue": repair.queue,
                "check": repair.check,
                "event": repair.event,
                "reason": repair.reason,
                "count": repair.count,
                "sweep": repair.sweep,
                "at": repair.at,
            }
            self.bulletin.tell("repair", told)
        self.changed(guard)

    def failed(self, guard: Guard, error: BaseException | None) -> None:
        """A sweep of an environment failed."""

    def changed(self, guard: Guard) -> None:
        """What is known of an environment has changed."""
        if self.bulletin.listeners:
            told = {"environment": guard.config.name} | guard.status.document()
            self.bulletin.tell("environment", told)
