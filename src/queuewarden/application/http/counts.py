"""Counts of the HTTP API: what metrics and alerts read of it."""

from __future__ import annotations

import time
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field

SLOT = 10.0
"""Seconds of one slot of what happened lately."""

SLOTS = 31
"""Slots that are kept: five minutes, and the one that has only begun."""

REFUSED = frozenset({401, 403, 429})
"""Answers to those who may not, or not so often."""


@dataclass(slots=True)
class _Slot:
    begun: float
    answers: int = 0
    errors: int = 0
    refused: int = 0


@dataclass(slots=True)
class Counts:
    """Since the daemon started.

    Attributes:
        answers: by route (as its template, ``other`` where there is none) and class, such as ``2xx``.
        seconds: time spent, by route.
        refused: by status.
    """

    answers: Counter[tuple[str, str]] = field(default_factory=Counter)
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    refused: Counter[int] = field(default_factory=Counter)
    _slots: deque[_Slot] = field(default_factory=lambda: deque(maxlen=SLOTS))

    def take(self, route: str, status: int, seconds: float) -> None:
        """Count an answer."""
        self.answers[route, f"{status // 100}xx"] += 1
        self.seconds[route] += seconds
        slot = self._slot()
        slot.answers += 1
        slot.errors += status >= 500  # noqa: PLR2004 -- where a server's errors begin
        if status in REFUSED:
            self.refused[status] += 1
            slot.refused += 1

    def error_share(self, least: int = 20) -> float | None:
        """The share of errors (5xx) in the last five minutes; None where there were fewer answers."""
        slots = self._since(300.0)
        answers = sum(slot.answers for slot in slots)
        return sum(slot.errors for slot in slots) / answers if answers >= least else None

    def refused_lately(self) -> int:
        """Requests of the last minute that were refused."""
        return sum(slot.refused for slot in self._since(60.0))

    def _slot(self) -> _Slot:
        now = time.monotonic()
        if not self._slots or now - self._slots[-1].begun >= SLOT:
            self._slots.append(_Slot(now))
        return self._slots[-1]

    def _since(self, seconds: float) -> list[_Slot]:
        from_ = time.monotonic() - seconds
        return [slot for slot in self._slots if slot.begun >= from_]
