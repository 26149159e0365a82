"""The alarm: decides which alerts fire, has people told, and keeps what they answered."""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING

import structlog

from queuewarden.application.alerting.document import described
from queuewarden.application.alerting.own_readings import SETTLED
from queuewarden.application.alerting.suppressions import Suppressions
from queuewarden.application.alerting.watched import Watched
from queuewarden.engine.alerting.decide import AlertState, Policy, acknowledge, decide
from queuewarden.engine.alerting.notices import Observation, Suppression
from queuewarden.redact import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from queuewarden.adapters.db.session import Session
    from queuewarden.application.alerting.own_readings import OwnReadings
    from queuewarden.application.guard import Guard
    from queuewarden.application.watching.bulletin import Bulletin
    from queuewarden.engine.alerting.notices import Alert, AlertNotice
    from queuewarden.engine.ledger.schema import Schema
    from queuewarden.engine.report import SweepReport
    from queuewarden.engine.upkeep.health.signs import Health
    from queuewarden.settings.configuration import Configuration

TICK = 5.0
"""Seconds between two decisions about an environment of which nothing new is known: time passes, too."""

HISTORY = 500
"""Ended alerts that are told of."""


class Alarm:
    """The alerts of one daemon.

    Times in alerts and suppressions are monotonic seconds; `document.wall` makes them a person's.

    Args:
        configuration: the rules.
        guards: by the name of their environment; those of a reload come and go.
        bulletin: where each notice is told.
        own: the daemon's readings of itself.
        tell: hands notices on to people; None where there is no channel.
    """

    def __init__(
        self,
        configuration: Configuration,
        guards: Mapping[str, Guard],
        bulletin: Bulletin,
        own: OwnReadings,
        tell: Callable[[Sequence[AlertNotice]], None] | None = None,
    ) -> None:
        self.tell = tell
        self._configuration = configuration
        self._guards = guards
        self._bulletin = bulletin
        self._own = own
        self._watched: dict[str, Watched] = {}
        self._gone: dict[str, frozenset[str]] = {}
        self._state = AlertState()
        self._suppressions = Suppressions()
        self._log = structlog.get_logger()

    def reconfigure(self, configuration: Configuration) -> None:
        """Take new rules; what fires by rules, or in environments, that are gone ends.

        Where nobody can hear or see alerts any more, all are forgotten: what they went by grows old.
        """
        self._configuration = configuration
        if not configuration.alerting:
            self._watched, self._state = {}, AlertState()
        names = {one.name for one in configuration.environments}
        for name in self._watched.keys() - names:
            notices = self._watched[name].ended()
            self._gone[name] = frozenset(notice.alert.id for notice in notices)
            self._announce(notices)
        self._watched = {name: one for name, one in self._watched.items() if name in names}
        self._suppressions.forget(names)

    def swept(self, guard: Guard, report: SweepReport) -> None:
        """An environment was swept."""
        if not self._guarded(guard):
            return
        watched = self._of(guard)
        watched.swept(guard, report)
        self._decide(watched, guard)

    def examined(self, guard: Guard, health: Health) -> None:
        """Somebody looked at the health of an environment's database."""
        if self._guarded(guard):
            watched = self._of(guard)
            watched.tally.examined(health, time.monotonic())
            self._decide(watched, guard)

    def failed(self, guard: Guard) -> None:
        """A sweep of an environment failed."""
        if not self._guarded(guard):
            return
        watched = self._of(guard)
        watched.failed()
        self._decide(watched, guard)

    async def keep(self, guard: Guard, session: Session, schema: Schema) -> None:
        """Bring an environment's alerts together with its ledger; never raises what a database does."""
        if not self._guarded(guard):
            return
        watched = self._of(guard)
        notices = await watched.keep(session, schema, self._suppressions, self._guards)
        self._announce([one for one in notices if one.alert.about.environment not in self._gone])
        self._decide(watched, guard)

    async def run(self) -> None:
        """Decide anew now and then, for ever: holding times and escalations end by themselves."""
        while True:
            await asyncio.sleep(TICK)
            for name in [*self._guards, ""] if self._configuration.alerting else ():
                try:
                    self._decide_about(name)
                except Exception:  # noqa: BLE001 -- a mistake of ours must not end the alarm, nor stay unseen
                    self._log.exception("alarm.failed")
                await asyncio.sleep(0)  # sweeps and answers do not wait for a hundred environments

    def decide(self) -> None:
        """Decide about all environments, and about the daemon itself."""
        for name in [*self._guards, ""]:
            self._decide_about(name)

    def _decide_about(self, name: str) -> None:
        """Decide about one environment, or, without a name, about the daemon."""
        if name:
            if name in self._guards and name in self._watched:
                self._decide(self._watched[name], self._guards[name])
            return
        now = time.monotonic()
        readings = self._own.readings()
        seen = Observation("", readings, frozenset(readings) | SETTLED)
        self._state, notices = decide(self._state, seen, now, self._policy(None))
        self._announce(notices)

    def alerts(self) -> list[Alert]:
        """Those that fire, the loudest first, muted ones included."""
        states = [self._state, *(one.state for one in self._watched.values())]
        return sorted((alert for state in states for alert in state.alerts), key=_loudness)

    def history(self) -> list[Alert]:
        """Those that ended, the latest first; the last 500."""
        states = [self._state, *(one.state for one in self._watched.values())]
        ended = [alert for state in states for alert in state.ended]
        return sorted(ended, key=lambda alert: alert.resolved or 0.0, reverse=True)[:HISTORY]

    def suppressions(self) -> list[Suppression]:
        """Those that hold."""
        return self._suppressions.holding(time.monotonic())

    def acknowledge(self, id: str, by: str) -> Alert:  # noqa: A002 -- as everybody calls it
        """Take note of an alert that fires: it is neither reminded nor escalated any more.

        Raises:
            LookupError: no alert of this id fires.
        """
        for watched in self._watched.values():
            if any(alert.id == id for alert in watched.state.alerts):
                notice = watched.acknowledge(id, by)
                break
        else:
            self._state, notice = acknowledge(self._state, id, by, time.monotonic())
        self._announce([notice])
        return notice.alert

    def suppress(self, wanted: Suppression) -> Suppression:
        """Keep alerts from being announced for a while; the same with its id."""
        found = self._suppressions.set(wanted)
        self.decide()
        return found

    def lift(self, id: str, by: str) -> Suppression:  # noqa: A002 -- as above
        """End a suppression.

        Raises:
            LookupError: none of this id holds.
        """
        found = self._suppressions.lift(id, by, time.monotonic())
        self.decide()
        return found

    def _guarded(self, guard: Guard) -> bool:
        """Whether its environment is still guarded by it: one that is ending has nothing to tell any more."""
        return self._guards.get(guard.config.name) is guard

    def _of(self, guard: Guard) -> Watched:
        name = guard.config.name
        if name not in self._watched:
            self._watched[name] = Watched(name, over=self._gone.pop(name, frozenset()))
        return self._watched[name]

    def _decide(self, watched: Watched, guard: Guard) -> None:
        self._announce(watched.decide(guard, self._policy(guard)))

    def _policy(self, guard: Guard | None) -> Policy:
        suppressions = self._suppressions.holding(time.monotonic())
        rules = self._configuration.rules
        if guard is None:
            return Policy(rules, tuple(suppressions))
        config = guard.config
        suppressions += [
            Suppression("", math.inf, "ALERTS=false", "configuration", environment=config.name, queue=queue)
            for queue, limits in config.queue_limits.items()
            if not limits.alerts
        ]
        return Policy(
            rules,
            tuple(suppressions),
            config.limits.remind_after.total_seconds(),
            silent=not config.limits.alerts,
        )

    def _announce(self, notices: Sequence[AlertNotice]) -> None:
        for notice in notices:
            document = {"change": notice.change, **described(notice.alert)}
            self._bulletin.tell("alert", redact(document, names=False))
            log = self._log.bind(rule=notice.alert.rule, severity=notice.alert.severity, id=notice.alert.id)
            about = {word: value for word, value in notice.alert.about._asdict().items() if value}
            loud = notice.change in ("fired", "escalated") and notice.alert.severity != "info"
            tell = log.warning if loud else log.info
            tell(f"alert.{notice.change}", **about, summary=notice.alert.summary)
        # Whoever was told of an alert is told who takes care of it; of two daemons, by the one that told.
        told = [one for one in notices if one.change != "acknowledged" or one.alert.announced]
        if told and self.tell is not None:
            self.tell(told)


def _loudness(alert: Alert) -> tuple[int, float]:
    return ("critical", "warning", "info").index(alert.severity), alert.since
