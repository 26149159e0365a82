"""One environment as the alarm sees it: its tally, its alerts, and what of them its ledger holds."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import psycopg
import structlog

from queuewarden.adapters.db.reasons import reason
from queuewarden.engine.alerting.decide import HISTORY, AlertState, Policy, acknowledge, decide
from queuewarden.engine.alerting.notices import AlertNotice, Observation
from queuewarden.engine.alerting.succession import handed_over, restore
from queuewarden.engine.alerting.tally import Tally
from queuewarden.engine.ledger import alert_book
from queuewarden.errors import QueuewardenError

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

    from queuewarden.adapters.db.session import Session
    from queuewarden.application.alerting.suppressions import Suppressions
    from queuewarden.application.guard import Guard
    from queuewarden.engine.alerting.notices import Alert
    from queuewarden.engine.ledger.schema import Schema
    from queuewarden.engine.report import SweepReport


FREE_FOR = 60.0
"""Seconds for which nobody is known to have the lease until this daemon announces, lest nobody does."""


@dataclass(slots=True)
class Watched:
    """One environment.

    Attributes:
        known: the ledger has told what fired before, or there is none, or it cannot be asked: until then
            nothing is decided, lest it be announced twice.
        standby: another daemon has the lease, or is about to take it: it is the one that announces.
        over: alerts whose end was told when the environment was taken away, which the ledger does not know.
        maintenance: until which monotonic moment a maintenance window holds, and why.
    """

    name: str
    state: AlertState = field(default_factory=AlertState)
    known: bool = False
    standby: bool = False
    over: frozenset[str] = frozenset()
    maintenance: tuple[float, str] | None = None
    tally: Tally = field(init=False)
    _free_since: float | None = None
    _remembered: bool = False
    _kept: frozenset[str] = frozenset()
    _unsaved: deque[Alert] = field(default_factory=lambda: deque(maxlen=HISTORY))
    _acked: dict[str, str] = field(default_factory=dict)
    _unkept: str | None = None

    def __post_init__(self) -> None:
        self.tally = Tally(self.name)

    def swept(self, guard: Guard, report: SweepReport) -> None:
        """Take in a sweep."""
        now = time.monotonic()
        status = guard.status
        critical = {target.queue for target in guard.targets if target.limits.critical}
        self.tally.swept(report, status.anomalies, status.brakes, status.lease, critical, now)
        was_standby, self.standby = self.standby, self._stands_by(status.lease, now)
        if self.standby and not was_standby:
            self.state = handed_over(self.state, self._kept)
        if was_standby and not self.standby:
            self._remembered = False  # whoever had the lease has announced what the ledger says
        if not self._remembered:
            self.known = False  # an outage came first, in which the ledger could not be asked
        ends = [
            (now + (brake.until - report.server.now).total_seconds(), brake.why)
            for brake in status.brakes
            if brake.kind == "maintenance" and brake.until is not None
        ]
        self.maintenance = max(ends, default=None)

    def _stands_by(self, lease: Mapping[str, Any] | None, now: float) -> bool:
        """Whether it is for another daemon to announce."""
        if lease is None or lease["ours"] or lease["holder"] is not None:
            self._free_since = None
            return lease is not None and not lease["ours"]
        if self._free_since is None:
            self._free_since = now
        return now - self._free_since < FREE_FOR

    def failed(self) -> None:
        """A sweep failed."""
        self.known = True
        self.tally.failed(time.monotonic())

    def observation(self, guard: Guard, now: float) -> Observation:
        """What is known now."""
        down = guard.status.state == "down"
        interval = guard.config.limits.interval.total_seconds()
        self.tally.upkept(guard.caretaker.sight)
        seen = self.tally.observation(now, down=down, queues=guard.catalog.queues, interval=interval)
        if self.maintenance is not None and now < self.maintenance[0]:
            return replace(seen, maintenance=self.maintenance[1])
        return seen

    def decide(self, guard: Guard, policy: Policy) -> list[AlertNotice]:
        """What is to be told now."""
        if not self.known or guard.status.state == "starting":
            return []
        now = time.monotonic()
        # Where the database is down, nobody can tell whether the holder of the lease is there to announce it.
        standby = self.standby and guard.status.state == "up"
        self.state, notices = decide(
            self.state, self.observation(guard, now), now, replace(policy, standby=standby)
        )
        over = (alert for alert in self.state.ended if alert.resolved == now)
        self._unsaved.extend(alert for alert in over if alert.announced or not standby)
        return notices

    async def keep(
        self, session: Session, schema: Schema, suppressions: Suppressions, names: Container[str]
    ) -> list[AlertNotice]:
        """Bring alerts and suppressions together with the ledger; what people answered there.

        Whatever fails is told once: alerts are then kept in memory. Those of environments that are not among
        ``names`` are over.
        """
        if not schema.alerts:
            self.known = True
            self._tell(schema.unkept)
            return []
        now = time.monotonic()
        try:
            await suppressions.write(session, self.name, now)
            found, holding = await alert_book.look(session, now)
            mine = [alert for alert in found if alert.about.environment == self.name]
            suppressions.take(self.name, holding)
            if not self._remembered:
                self._remember(mine, await alert_book.ended(session, now, self.name), now)
            self._kept = frozenset(alert.id for alert in mine)
            notices = self._answered(mine, now)
            if self.standby:
                await self._hand_on(session, now)
            else:
                await self._save(session, mine, now)
                notices += await _leave(session, found, names, now)
        except (psycopg.Error, QueuewardenError) as error:
            self._tell(reason(error))
            return []
        finally:
            self.known = True
        self._tell(None)
        return notices

    def acknowledge(self, name: str, by: str) -> AlertNotice:
        """See `decide.acknowledge`.

        Raises:
            LookupError: no alert of this id fires.
        """
        self.state, notice = acknowledge(self.state, name, by, time.monotonic())
        if self.standby:
            self._acked[name] = by
        return notice

    def ended(self) -> list[AlertNotice]:
        """The end of all that fires, since nobody watches this environment any more."""
        nothing = Observation(self.name, {}, frozenset())
        self.state, notices = decide(
            self.state, nothing, time.monotonic(), Policy(rules=(), standby=self.standby)
        )
        return notices

    def _remember(self, firing: Sequence[Alert], ended: Sequence[Alert], now: float) -> None:
        here = {alert.id: alert for alert in self.state.alerts}
        firing = [replace(one, announced=False) if one.id in self.over else one for one in firing]
        there = {alert.id: alert for alert in firing}
        both = [_merged(alert, there.get(name)) for name, alert in here.items()]
        before = [alert for name, alert in there.items() if name not in here]
        told = {rule: lives.told for rule, lives in self.state.lives.items()}
        self.state = restore([*reversed(ended), *self._unsaved, *before, *both], now, told)
        if self.standby:
            self.state = handed_over(self.state, there)
        self._remembered, self.over = True, frozenset()

    def _answered(self, alerts: Sequence[Alert], now: float) -> list[AlertNotice]:
        """Alerts of which somebody took note by a command."""
        open_ = {alert.id for alert in self.state.alerts if alert.acked_by is None}
        notices = []
        for alert in alerts:
            if alert.acked_by is not None and alert.id in open_:
                self.state, notice = acknowledge(self.state, alert.id, alert.acked_by, now)
                notices.append(notice)
        return notices

    async def _hand_on(self, session: Session, now: float) -> None:
        """Have the daemon that announces know of what people acknowledged here."""
        firing = {alert.id for alert in self.state.alerts}
        for name, by in list(self._acked.items()):
            if name in firing:
                await alert_book.acknowledge(session, name, by, now)
            del self._acked[name]

    async def _save(self, session: Session, kept: Sequence[Alert], now: float) -> None:
        """Write what the ledger does not have so; it may have been emptied, or made anew."""
        there = {alert.id: alert for alert in kept}
        firing = {alert.id: alert for alert in self.state.alerts}
        ended = list(self._unsaved)
        over = {alert.id for alert in ended}
        known = firing.keys() | over
        gone = [replace(alert, resolved=now) for name, alert in there.items() if name not in known]
        changed = [
            alert for name, alert in firing.items() if name in over or _differs(there.get(name), alert)
        ]
        await alert_book.save(session, [*ended, *gone, *changed], now)
        written = set(map(id, ended))  # others may have ended meanwhile
        self._unsaved = deque((one for one in self._unsaved if id(one) not in written), HISTORY)
        self._kept = frozenset(firing)

    def _tell(self, why: str | None) -> None:
        if why is not None and why != self._unkept:
            log = structlog.get_logger().bind(environment=self.name)
            log.warning("alerts.unkept", reason=why, hint="alerts are kept in memory until this is mended")
        self._unkept = why


async def _leave(
    session: Session, found: Sequence[Alert], names: Container[str], now: float
) -> list[AlertNotice]:
    """End what fires in an environment that is called otherwise now, or that nobody guards any more."""
    over = [replace(alert, resolved=now) for alert in found if alert.about.environment not in names]
    await alert_book.save(session, over, now)
    return [AlertNotice("resolved", alert) for alert in over if alert.announced]


def _merged(here: Alert, there: Alert | None) -> Alert:
    """An alert that fires here, with what another daemon, or this one before a restart, has told of it."""
    if there is None:
        return here
    return replace(
        here,
        since=min(here.since, there.since),
        announced=here.announced or there.announced,
        escalated=here.escalated or there.escalated,
        acked_by=here.acked_by or there.acked_by,
        told=there.told,
    )


def _differs(before: Alert | None, after: Alert) -> bool:
    """Whether it is worth writing: a value that moves is not."""
    if before is None:
        return True
    return (before.announced, before.escalated, before.acked_by, before.severity) != (
        after.announced,
        after.escalated,
        after.acked_by,
        after.severity,
    )
