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
Clocks that are disciplined slew by less than 0.1 %."""

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
    _span: tuple[float, float] = (0.0, 0.0)

    def observe(self, server: ServerState, asked: float, answered: float, dead_after: timedelta) -> None:
        """Take in one look at the server.

        Args:
            server: what it says of itself.
            asked: our own clock before the look, in seconds.
            answered: our own clock after it.
            dead_after: how long a worker may be silent.
        """
        self._extend(server.started_at + dead_after, "server started", server.now)
        last = self._last
        if last is not None:
            if (server.timeline, server.system) != (last.timeline, last.system):
                self._extend(server.now + dead_after, "failover", server.now)
            # Between the two moments at which the server looked at its clock lies at least, and at most:
            least = timedelta(seconds=asked - self._span[1])
            most = timedelta(seconds=answered - self._span[0])
            if not least - JUMP <= server.now - last.now <= most + JUMP:
                # A time that was reckoned by the clock before the jump means nothing any more.
                self.until = None
                self._extend(server.now + dead_after, "clock jump", server.now)
        if self.outage:
            self._extend(server.now + dead_after, "outage", server.now)
            self.outage = False
        self._last, self._span = server, (asked, answered)

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
        # No hold lasts longer than its span, even where the clock went back.
        self.until = now + span if self.until is None else min(self.until, now + span)
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
        """Whether those that would die now, with those that just did, are too many to believe.

        Args:
            silent: workers that would be marked, or whose jobs would be released, now.
            live: workers that beat.
            now: the database's clock.
            window: the sliding window, ``dead_after``.
        """
        self.marked[:] = [(time, count) for time, count in self.marked if abs(now - time) < window]
        dying = silent + sum(count for _, count in self.marked)
        known = dying + live
        return (dying >= MASS_DEATH and dying * 2 > known) or (dying >= WHOLE_FLEET and live == 0)


MIN_SAMPLE = 20
"""Jobs finished in the last day, below which run times say nothing."""


@dataclass(slots=True)
class Threshold:
    """Whether the limit for live workers is too close to how long jobs really run."""

    _p95: timedelta | None = None
    _needed: timedelta | None = None

    def note_run_times(self, sample: int, p95: timedelta | None) -> None:
        """Take in the run times of the last day: how many jobs finished, and their 95th percentile."""
        self._p95 = p95 if sample >= MIN_SAMPLE else None

    def note_premature(self, limit: timedelta, ran: timedelta | None) -> None:
        """A job that was reset under this limit was finished by its former worker.

        Args:
            limit: the limit that applied.
            ran: how long it ran, and so the limit that would have avoided the reset; None where that is
                unknown: twice the limit, then.
        """
        needed = ran if ran is not None and ran > limit else limit * 2
        self._needed = max(needed, self._needed or needed)

    def advised(self, limit: timedelta | None) -> timedelta | None:
        """The limit that would do, where this one does not.

        Args:
            limit: the limit that applies to live workers; None where they are spared anyway.
        """
        if limit is None:
            return None
        found = []
        if self._p95 is not None and self._p95 * 2 > limit:
            found.append(self._p95 * 2)
        if self._needed is not None and limit < self._needed:
            found.append(self._needed)
        return max(found, default=None)
