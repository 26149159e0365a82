"""The bulletin: what happens, for whoever listens just now; a slow listener is told to look anew."""

from __future__ import annotations

import asyncio
import json
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

BACKLOG = 64
"""Events that wait for one listener; one that is further behind has lost them all and must look anew."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened; `data` is JSON already, so that it is encoded once for all listeners."""

    kind: str
    data: str


RESYNC = Event("resync", "{}")


@dataclass(eq=False, slots=True)
class Listener:
    """One listener's place; see `Bulletin.listen`."""

    _events: list[Event] = field(default_factory=list)
    _come: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, event: Event) -> None:
        """Leave an event for it; never waits."""
        if len(self._events) >= BACKLOG:
            self._events = [RESYNC]
        elif self._events[-1:] != [RESYNC]:
            self._events.append(event)
        self._come.set()

    async def next(self, within: float) -> list[Event]:
        """All that came since the last call; waits so many seconds for something to come."""
        try:
            await asyncio.wait_for(self._come.wait(), within)
        except TimeoutError:
            return []
        self._come.clear()
        events, self._events = self._events, []
        return events


@dataclass(slots=True)
class Bulletin:
    """Hands events to its listeners."""

    listeners: set[Listener] = field(default_factory=set)

    def tell(self, kind: str, data: Any) -> None:
        """Tell all listeners; costs nothing where there are none."""
        if not self.listeners:
            return
        event = Event(kind, json.dumps(data, separators=(",", ":"), default=str))
        for listener in self.listeners:
            listener.put(event)

    @contextmanager
    def listen(self) -> Iterator[Listener]:
        """A place among the listeners, for the length of the block."""
        listener = Listener()
        self.listeners.add(listener)
        try:
            yield listener
        finally:
            self.listeners.discard(listener)
