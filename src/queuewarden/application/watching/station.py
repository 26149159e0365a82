"""The station: what the daemon shows of itself to whoever watches it: HTTP, metrics, alerts."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ParamSpec

import structlog

from queuewarden.application.alerting.alarm import Alarm
from queuewarden.application.alerting.own_readings import OwnReadings
from queuewarden.application.alerting.telling import Telling
from queuewarden.application.upkeep.sampling import Sampler, interval
from queuewarden.application.watching.bulletin import Bulletin
from queuewarden.application.watching.checkups import Checkups
from queuewarden.application.watching.serving import Serving
from queuewarden.application.watching.trends import Trends
from queuewarden.redact import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from queuewarden.adapters.db.session import Session
    from queuewarden.application.guard import Guard
    from queuewarden.application.watching.metering import Meter
    from queuewarden.application.watching.trends import Repair
    from queuewarden.engine.ledger.schema import Schema
    from queuewarden.engine.report import SweepReport
    from queuewarden.engine.upkeep.health.signs import Health
    from queuewarden.settings.configuration import Configuration

P = ParamSpec("P")


@dataclass(slots=True)
class Station:
    """One daemon's. It is the audience of all its guards.

    Attributes:
        guards: by the name of their environment; those of a reload come and go.
        on_change: called whenever the status of a guard has changed.
        trends: by environment.
        health: what the last look at each environment's database found.
        samplers: by environment.
        ready: the daemon has had its first answer from each environment, or waited long enough.
        own: what it knows of itself.
        meter: None while nobody can ask for metrics.
    """

    configuration: Configuration
    guards: Mapping[str, Guard]
    on_change: Callable[[], None] = lambda: None
    bulletin: Bulletin = field(default_factory=Bulletin)
    trends: dict[str, Trends] = field(default_factory=dict)
    health: dict[str, Health] = field(default_factory=dict)
    samplers: dict[str, Sampler] = field(default_factory=dict)
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    ready: bool = False
    own: OwnReadings = field(default_factory=OwnReadings)
    meter: Meter | None = None
    alarm: Alarm = field(init=False)
    telling: Telling = field(init=False)
    serving: Serving = field(init=False)
    checkups: Checkups = field(init=False)
    _deciding: asyncio.Task[None] | None = None
    _log: structlog.stdlib.BoundLogger = field(default_factory=structlog.get_logger)

    def __post_init__(self) -> None:
        self.telling = Telling(self.own)
        self.serving = Serving(self)
        self.checkups = Checkups(self._examined)
        self.alarm = Alarm(self.configuration, self.guards, self.bulletin, self.own, self.telling.put)
        if self.configuration.http is not None:
            self._metered()

    def start(self) -> None:
        """Begin to tell; needs a running event loop."""
        self.telling.reconfigure(self.configuration)
        self.serving.reconfigure(self.configuration.http)
        self._deciding = asyncio.create_task(self.alarm.run(), name="alarm")

    def reconfigure(self, configuration: Configuration) -> None:
        """Take a new configuration; what is known stays, but for environments that are gone."""
        self.configuration = configuration
        names = {one.name for one in configuration.environments}
        known: tuple[dict[str, Any], ...] = (self.trends, self.health, self.samplers)
        for one in known:
            for gone in one.keys() - names:
                del one[gone]
        self._safely(self.alarm.reconfigure, configuration)
        self._safely(self.telling.reconfigure, configuration)
        self._safely(self.serving.reconfigure, configuration.http)

    async def close(self) -> None:
        """End within two seconds."""
        if self._deciding is not None:
            self._deciding.cancel()
        await asyncio.gather(self.telling.close(), self.serving.close(), self.checkups.close())

    def swept(self, guard: Guard, report: SweepReport) -> None:
        """See `Audience`."""
        self._safely(self._take, guard, report)
        self._safely(self._sampler(guard).swept, report, interval(guard.config))
        if (meter := self._metered()) is not None:
            self._safely(meter.swept, guard, report)
        if self.configuration.alerting:
            self._safely(self.alarm.swept, guard, report)
            self._safely(self.checkups.swept, guard)
        self._safely(self.telling.swept, guard, report, self.guards)
        self.changed(guard)

    def interrupted(self, guard: Guard, report: SweepReport) -> None:
        """See `Audience`."""
        self._safely(self._take, guard, report)
        if (meter := self._metered()) is not None:
            self._safely(meter.interrupted, guard, report)

    def failed(self, guard: Guard, error: BaseException | None) -> None:
        """See `Audience`."""
        self._safely(self._sampler(guard).failed, interval(guard.config))
        if (meter := self._metered()) is not None:
            self._safely(meter.failed, guard, error)
        if self.configuration.alerting:
            self._safely(self.alarm.failed, guard)
        self._safely(self.telling.failed, guard)
        self.changed(guard)

    def changed(self, guard: Guard) -> None:
        """See `Audience`."""
        self._safely(self.on_change)
        self._safely(self._show, guard)
        if (meter := self._metered()) is not None:
            self._safely(meter.changed, guard)

    async def keep(self, guard: Guard, session: Session, schema: Schema) -> None:
        """See `Audience`."""
        try:
            if self.configuration.alerting:
                await self.alarm.keep(guard, session, schema)
            lease = guard.status.lease
            ours = lease is not None and bool(lease["ours"])
            await self._sampler(guard).keep(session, schema, guard.targets, ours=ours)
        except Exception:  # noqa: BLE001 -- as in _safely
            self._log.exception("station.failed")

    def _examined(self, guard: Guard, health: Health) -> None:
        """A checkup ended, during which the environment may have gone, or been configured anew."""
        if self.guards.get(guard.config.name) is not guard or not self.configuration.alerting:
            return
        self.health[guard.config.name] = health
        self._safely(self.alarm.examined, guard, health)
        if (meter := self._metered()) is not None:
            self._safely(meter.examined, guard, health)

    def exposition(self) -> bytes:
        """The metrics, as Prometheus reads them: of type `metering.CONTENT_TYPE`."""
        return (self._metered() or self._meter()).exposition()

    def _metered(self) -> Meter | None:
        """The meter, made when HTTP is switched on: its library is not imported before."""
        if self.configuration.http is None:
            self.meter = None
        elif self.meter is None:
            try:
                self.meter = self._meter()
            except Exception:  # noqa: BLE001 -- as in _safely
                self._log.exception("station.failed")
        return self.meter

    def _meter(self) -> Meter:
        from queuewarden.application.watching.metering import Meter

        return Meter(self)

    def _sampler(self, guard: Guard) -> Sampler:
        return self.samplers.setdefault(guard.config.name, Sampler(guard.config.name))

    def _safely(self, tell: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        """Whoever watches must not touch a sweep by mistakes of its own."""
        try:
            tell(*args, **kwargs)
        except Exception:  # noqa: BLE001 -- see above
            self._log.exception("station.failed")

    def _take(self, guard: Guard, report: SweepReport) -> None:
        name = guard.config.name
        trends = self.trends.setdefault(name, Trends())
        self._tell(name, trends.take(report, guard.status.counts))

    def _show(self, guard: Guard) -> None:
        if self.bulletin.listeners:
            told = {"environment": guard.config.name} | guard.status.document()
            self.bulletin.tell("environment", redact(told, names=False))

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
                "at": repair.at.isoformat(),
            }
            self.bulletin.tell("repair", told)
