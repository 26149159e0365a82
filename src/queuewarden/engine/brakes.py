"""Brakes: reasons not to judge or repair just now. Pure: what was seen goes in, what holds comes out.

Times are the database's own; only a span between two looks is compared with the daemon's monotonic clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from queuewarden.model import ServerState

JUMP = timedelta(seconds=5)
"""How far the database's clock and ours may drift apart between two looks before it counts as a jump.
Clocks that are disciplined slew by less than 0.1 %; the rest allows for a slow round trip."""

MASS_DEATH = 5
"""So many workers, and more than half of those known, are a mass death."""

WHOLE_FLEET = 2
"""So many workers are one if they are all there are."""


@dataclass(slots=True)
class Grace:
    """After an outage every heartbeat and start time looks old while the workers merely reconnect.

    Attributes:
        until: when judging may begin again, by the database's clock.
        why: what happened.
    """

    until: datetime | None = None
    why: str = ""
    outage: bool = False
    _last: ServerState | None = None
    _seen_at: float = 0.0

    def observe(self, server: ServerState, monotonic: float, dead_after: timedelta) -> None:
        """Take in one look at the server.

        Args:
            server: what it says of itself.
            monotonic: our own clock at the same moment, in seconds.
            dead_after: how long a worker may be silent.
        """
        self._extend(server.started_at + dead_after, "server started", server.now)
        last = self._last
        if last is not None:
            if (server.timeline, server.system) != (last.timeline, last.system):
                self._extend(server.now + dead_after, "failover", server.now)
            passed = timedelta(seconds=monotonic - self._seen_at)
            if abs((server.now - last.now) - passed) > JUMP:
                self._extend(server.now + dead_after, "clock jump", server.now)
        if self.outage:
            self._extend(server.now + dead_after, "outage", server.now)
            self.outage = False
        self._last, self._seen_at = server, monotonic

    def wait(self, now: datetime, span: timedelta, why: str) -> None:
        """Hold for a while from now on."""
        self._extend(now + span, why, now)

    def holds(self, now: datetime) -> bool:
        """Whether judging must wait."""
        return self.until is not None and now < self.until

    def _extend(self, until: datetime, why: str, now: datetime) -> None:
        if until > now and (self.until is None or until > self.until):
            self.until, self.why = until, why


@dataclass(slots=True)
class Episode:
    """A mass brake: holds once for one ``dead_after``, then acts, until the condition is over."""

    until: datetime | None = None

    def update(self, *, on: bool, now: datetime, span: timedelta) -> bool:
        """Whether to hold now.

        Args:
            on: the condition is met.
            now: the database's clock.
            span: how long to hold.
        """
        if not on:
            self.until = None
            return False
        if self.until is None:
            self.until = now + span
        return now < self.until


@dataclass(slots=True)
class Deaths:
    """Workers that died within the last ``dead_after``."""

    marked: list[tuple[datetime, int]] = field(default_factory=list)

    def note(self, count: int, now: datetime) -> None:
        """Remember workers that were just marked offline."""
        if count:
            self.marked.append((now, count))

    def massive(self, silent: int, live: int, now: datetime, window: timedelta) -> bool:
        """Whether those that would die now, and those that just did, are too many to believe.

        Args:
            silent: workers that would be marked, or whose jobs would be released, now.
            live: workers that beat.
            now: the database's clock.
            window: the sliding window, ``dead_after``.
        """
        self.marked[:] = [(time, count) for time, count in self.marked if now - time < window]
        dying = silent + sum(count for _, count in self.marked)
        if not silent:
            return False
        known = dying + live
        return (dying >= MASS_DEATH and dying * 2 > known) or (dying >= WHOLE_FLEET and live == 0)


@dataclass(slots=True)
class Threshold:
    """Whether the limit for live workers is too close to how long jobs really run.

    Attributes:
        advised: the limit that would do, where the present one does not.
    """

    advised: timedelta | None = None
    _premature_at: timedelta | None = None

    def judge(self, limit: timedelta | None, sample: int, p95: timedelta | None) -> None:
        """Take in the run times of the last day.

        Args:
            limit: the limit that applies to live workers; None where they are spared anyway.
            sample: how many jobs finished.
            p95: the 95th percentile of their run times.
        """
        advised = None
        if limit is not None:
            if sample >= MIN_SAMPLE and p95 is not None and p95 * 2 > limit:
                advised = p95 * 2
            if self._premature_at is not None and limit <= self._premature_at:
                advised = max(advised or timedelta(0), self._premature_at * 2)
        self.advised = advised

    def note_premature(self, limit: timedelta) -> None:
        """A job that was reset under this limit was finished by its former worker."""
        self._premature_at = max(limit, self._premature_at or limit)


MIN_SAMPLE = 20
"""Jobs finished in the last day, below which run times say nothing."""
