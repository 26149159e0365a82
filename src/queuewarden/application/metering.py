"""The meter: what guards report and the daemon knows of itself, as the text that Prometheus reads."""

from __future__ import annotations

import asyncio
import platform
import time
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from prometheus_client import ProcessCollector

from queuewarden import __version__
from queuewarden.adapters.metrics.exposition import CONTENT_TYPE, Part, merged, part
from queuewarden.adapters.metrics.families import OF_DAEMON, OF_ENVIRONMENT
from queuewarden.adapters.metrics.instruments import Instruments
from queuewarden.application import measures
from queuewarden.engine.alerting.rules import SEVERITIES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from queuewarden.adapters.metrics.instruments import Labels
    from queuewarden.application.dispatch_delivery import ChannelState
    from queuewarden.application.guard import Guard
    from queuewarden.application.http.counts import Counts
    from queuewarden.application.station import Station
    from queuewarden.engine.report import SweepReport

__all__ = ["CONTENT_TYPE", "Meter"]

SOON = 0.05
"""Seconds until what has changed is rendered, so that whoever asks need not wait for it."""

DUTY = 20
"""Rendering that took a millisecond goes on after twenty: at most 5 % of the time."""

REFUSED = (401, 403, 429)
"""Answers of the API that are counted by themselves."""

AT_ONCE = 3
"""Environments that are rendered while somebody waits; of others the text is a few seconds old at most."""


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
        self._merged: bytes | None = None
        self._stale: dict[str, _Entry] = {}
        self._rendering: asyncio.TimerHandle | None = None
        self._process = ProcessCollector("queuewarden", registry=None)

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

    def changed(self, guard: Guard) -> None:
        """What is known of an environment has changed."""
        entry = self._entry(guard)
        measures.show(entry.instruments, guard.status, guard.connections)
        self._show_up(entry, guard)
        self._stale[guard.config.name] = entry
        if self._rendering is None:
            self._rendering = asyncio.get_running_loop().call_later(SOON, self._render_next)

    def exposition(self) -> bytes:
        """All of it, as it is now."""
        guards = self._station.guards
        for gone in self._entries.keys() - guards.keys():
            self._stale.pop(gone, None)
            del self._entries[gone]
            self._merged = None
        for guard in guards.values():
            entry = self._entry(guard)
            if self._show_up(entry, guard) or entry.part is None:
                self._render(guard.config.name, entry)
        for name, entry in list(self._stale.items())[:AT_ONCE]:
            self._render(name, entry)
        if self._merged is None:
            self._merged = merged(entry.part or {} for entry in self._entries.values())
        return self._merged + merged([part(self._own()), part(self._process)])

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
        if self._stale:
            pause = (time.thread_time() - begun) * DUTY
            self._rendering = asyncio.get_running_loop().call_later(pause, self._render_next)

    def _render(self, name: str, entry: _Entry) -> None:
        self._stale.pop(name, None)
        entry.part = part(entry.instruments)
        self._merged = None

    def _own(self) -> Instruments:
        """The daemon's own numbers, which others count."""
        own, station = Instruments(OF_DAEMON), self._station
        own.set("build_info", {(__version__, platform.python_version()): 1})
        own.set("config_reload_successful", {(): not station.own.config_rejected})
        known = product(("", *station.guards), SEVERITIES)
        alerts: dict[Labels, float | None] = dict.fromkeys(known, 0)
        for alert in station.alarm.alerts():
            about = alert.about.environment, alert.severity
            alerts[about] = (alerts.get(about) or 0) + 1
        own.set("alerts", alerts)
        if station.own.dispatch is not None:
            _show_channels(own, station.own.dispatch.states())
        if station.own.http is not None:
            _show_http(own, station.own.http)
        return own


def _show_channels(own: Instruments, channels: Mapping[str, ChannelState]) -> None:
    own.set("notices_queued", {(name,): state.queued for name, state in channels.items()})
    own.set("channel_failing", {(name,): not state.ok for name, state in channels.items()})
    for name, state in channels.items():
        own.count("notices_total", (name, "sent"), state.sent)
        own.count("notices_total", (name, "failed"), state.failed)
        own.count("notices_total", (name, "dropped"), state.dropped)
        own.count("notices_total", (name, "swallowed"), state.swallowed)


def _show_http(own: Instruments, http: Counts) -> None:
    for labels, answers in http.answers.items():
        own.count("http_requests_total", labels, answers)
    for route, seconds in http.seconds.items():
        own.count("http_request_seconds_total", (route,), seconds)
    for status in REFUSED:
        own.count("http_refused_total", (str(status),), http.refused[status])
