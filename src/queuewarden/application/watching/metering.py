"""The meter: what guards report and the daemon knows of itself, as the text that Prometheus reads."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client import ProcessCollector

from queuewarden.adapters.metrics.exposition import CONTENT_TYPE, Part, merged, part
from queuewarden.adapters.metrics.families import OF_DAEMON, OF_ENVIRONMENT
from queuewarden.adapters.metrics.instruments import Instruments
from queuewarden.application.watching import health_measures, measures, own_measures, upkeep_measures

if TYPE_CHECKING:
    from queuewarden.adapters.metrics.instruments import Labels
    from queuewarden.application.guard import Guard
    from queuewarden.application.watching.station import Station
    from queuewarden.engine.report import SweepReport
    from queuewarden.engine.upkeep.health.signs import Health

__all__ = ["CONTENT_TYPE", "Meter"]

SOON = 0.05
"""Seconds until what has changed is rendered, so that whoever asks need not wait for it."""

DUTY = 20
"""Rendering that took a millisecond goes on after twenty: at most 5 % of the time."""

FEW = 10
"""So many environments are rendered while somebody waits; the text of more is made in the background, and is
a few seconds old at most."""

ASKED = 300.0
"""Seconds for which somebody who has asked is expected to ask again."""

FRESH = 1.0
"""Seconds for which counts of alerts are not counted anew."""


@dataclass(slots=True)
class _Entry:
    """One environment.

    Attributes:
        up: as it was shown last; None: unknown.
        part: as it was rendered last; None: not yet.
    """

    instruments: Instruments
    up: bool | None = None
    part: Part | None = None


class Meter:
    """The metrics of one daemon.

    Args:
        station: what it speaks of.
    """

    def __init__(self, station: Station) -> None:
        self._station = station
        self._entries: dict[str, _Entry] = {}
        self._merged = b""
        self._outdated = True
        self._asked = -ASKED
        self._stale: dict[str, _Entry] = {}
        self._rendering: asyncio.TimerHandle | None = None
        self._process = ProcessCollector("queuewarden", registry=None)
        self._alerts: tuple[dict[Labels, float | None], Part] = ({}, {})
        self._counted = -FRESH

    def swept(self, guard: Guard, report: SweepReport) -> None:
        """A sweep came to its end."""
        instruments = self._entry(guard).instruments
        measures.take(instruments, report)
        # Not the counts, which are gone while a database is down: its queues are not.
        instruments.keep("queue", guard.status.holds)

    def interrupted(self, guard: Guard, report: SweepReport) -> None:
        """A sweep was cut short; what it did is done."""
        measures.take_work(self._entry(guard).instruments, report)

    def failed(self, guard: Guard, error: BaseException | None) -> None:
        """A sweep, or connecting for it, failed."""
        measures.take_failure(self._entry(guard).instruments, error)

    def examined(self, guard: Guard, health: Health) -> None:
        """Somebody looked at the health of a database."""
        health_measures.show(self._entry(guard).instruments, health)
        self.changed(guard)

    def changed(self, guard: Guard) -> None:
        """What is known of an environment has changed."""
        entry = self._entry(guard)
        measures.show(entry.instruments, guard.status, guard.connections)
        upkeep_measures.show(entry.instruments, guard.caretaker.sight)
        self._show_up(entry, guard)
        self._stale[guard.config.name] = entry
        if self._rendering is None:
            self._rendering = asyncio.get_running_loop().call_later(SOON, self._render_next)

    def exposition(self) -> bytes:
        """All of it, as it is now, or was some seconds ago."""
        self._asked = time.monotonic()
        guards = self._station.guards
        at_once = len(guards) <= FEW
        for gone in self._entries.keys() - guards.keys():
            self._stale.pop(gone, None)
            del self._entries[gone]
            self._outdated = at_once = True
        for guard in guards.values():
            entry = self._entry(guard)
            if self._show_up(entry, guard) or entry.part is None:
                self._render(guard.config.name, entry)
                at_once = True
        if len(guards) <= FEW:
            for name, entry in list(self._stale.items()):
                self._render(name, entry)
        if at_once:
            self._merge()
        return self._merged + merged([self._alerting(), self._own(), part(self._process)])

    def _entry(self, guard: Guard) -> _Entry:
        name = guard.config.name
        entry = self._entries.get(name)
        if entry is None:
            entry = self._entries[name] = _Entry(Instruments(OF_ENVIRONMENT, (name,)))
            measures.begin(entry.instruments)
            measures.show(entry.instruments, guard.status, guard.connections)
        return entry

    def _show_up(self, entry: _Entry, guard: Guard) -> bool:
        """A guard that is behind the time that it announced hangs: whatever it said last is old."""
        state = guard.status.state
        up = None if state == "starting" else state == "up" and guard.due >= time.monotonic()
        if up == entry.up:
            return False
        entry.up = up
        entry.instruments.set("up", {(): up})
        return True

    def _render_next(self) -> None:
        """Render the one that has waited longest, and come back for the others."""
        self._rendering = None
        begun = time.thread_time()
        for name, entry in list(self._stale.items())[:1]:
            self._render(name, entry)
        if time.monotonic() - self._asked < ASKED:
            self._merge()
        if self._stale:
            pause = (time.thread_time() - begun) * DUTY
            self._rendering = asyncio.get_running_loop().call_later(pause, self._render_next)

    def _render(self, name: str, entry: _Entry) -> None:
        self._stale.pop(name, None)
        entry.part = part(entry.instruments)
        self._outdated = True

    def _merge(self) -> None:
        if self._outdated:
            self._merged = merged(entry.part or {} for entry in self._entries.values())
            self._outdated = False

    def _own(self) -> Part:
        own = Instruments(OF_DAEMON)
        own_measures.show(own, self._station.own)
        return part(own)

    def _alerting(self) -> Part:
        """Rendered only when some alert has come or gone: environments times severities are many."""
        now = time.monotonic()
        if now - self._counted < FRESH and len(self._entries) > FEW:
            return self._alerts[1]
        self._counted = now
        counts = own_measures.alert_counts(self._station.alarm.alerts(), self._station.guards)
        if counts != self._alerts[0]:
            own = Instruments(OF_DAEMON)
            own.set("alerts", counts)
            self._alerts = counts, part(own)
        return self._alerts[1]
