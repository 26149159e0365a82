"""Sliding windows: what happened lately. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

MOST = 10_000
"""Events that one window holds; the oldest go first."""


@dataclass(slots=True)
class Window:
    """Counts of events of the last so many seconds."""

    seconds: float
    _events: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=MOST))

    def add(self, count: int, now: float) -> None:
        """So many happened just now."""
        if count:
            self._events.append((now, count))

    def total(self, now: float) -> int:
        """How many happened within the window."""
        while self._events and now - self._events[0][0] >= self.seconds:
            self._events.popleft()
        return sum(count for _, count in self._events)
