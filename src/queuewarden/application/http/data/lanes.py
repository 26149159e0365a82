"""Looking for a lane that a request names, in every queue that has lanes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from queuewarden.application.http.data.parameters import clean
from queuewarden.application.http.problems import Problem
from queuewarden.application.sweeping import laned
from queuewarden.engine.lookup import find_lane
from queuewarden.settings.names import nearest

if TYPE_CHECKING:
    from queuewarden.adapters.db.session import Session
    from queuewarden.engine.lanes import Lane
    from queuewarden.queues.target import Target

SHOWN = 20
"""Lanes that are named where an unknown one was asked for."""


@dataclass(slots=True)
class LaneSearch:
    """One request's search.

    Attributes:
        name: None where all lanes are meant.
        found: some queue has it.
        others: names of lanes of queues that do not have it.
    """

    name: str | None
    found: bool = False
    others: set[str] = field(default_factory=set)
    _known: dict[tuple[str, str], tuple[bool, Lane | None]] = field(default_factory=dict)

    async def of(self, session: Session, target: Target) -> tuple[bool, Lane | None]:
        """Whether anything in a queue is meant, and the lane; None: all of it.

        Raises:
            psycopg.Error: as the server reports it.
        """
        if self.name is None:
            return True, None
        place = target.environment, target.queue
        if place not in self._known:
            self._known[place] = await self._look(session, target, self.name)
        return self._known[place]

    async def _look(self, session: Session, target: Target, name: str) -> tuple[bool, Lane | None]:
        if not laned([target]):
            return False, None
        lane, there = await find_lane(session, target, name)
        if lane is None:
            self.others |= set(there)
            return False, None
        self.found = True
        return True, lane

    def require(self) -> None:
        """Return unless a lane was asked for that no queue has.

        Raises:
            Problem: names the nearest.
        """
        if self.name is None or self.found:
            return
        shown = sorted(str(clean(name)) for name in self.others)[:SHOWN]
        raise Problem(404, f"lane: no lane of this name; {nearest(str(clean(self.name)), shown)}")
