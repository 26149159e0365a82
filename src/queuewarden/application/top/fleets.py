"""Workers that register in another environment: wanted by its guests, looked up by whoever watches it.

So no environment waits for another, and none has a second connection; what is known is one look older.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psycopg

from queuewarden.engine.fleet import MOST, named_workers, read_fleet
from queuewarden.engine.observe import Muster

if TYPE_CHECKING:
    from collections.abc import Mapping

    from queuewarden.adapters.db.session import Session
    from queuewarden.queues.target import Fleet, Target


@dataclass(slots=True)
class Fleets:
    """Those that register in one environment."""

    _wanted: dict[tuple[str, str], tuple[Target, tuple[str, ...]]] = field(default_factory=dict)
    _found: dict[tuple[str, str], Fleet | None] = field(default_factory=dict)

    def forget(self) -> None:
        """The environment is down: nothing is known of them."""
        self._found.clear()

    async def look(self, session: Session) -> None:
        """Look up what is wanted.

        Raises:
            psycopg.OperationalError, UnavailableError: the connection is lost or the deadline struck.
        """
        for key, (target, names) in list(self._wanted.items()):
            try:
                self._found[key] = await read_fleet(session, target, names)
            except psycopg.Error:
                if not session.usable:
                    raise
                self._found[key] = None

    def want(self, target: Target, names: tuple[str, ...]) -> Muster | None:
        """Have those that a queue's jobs name looked up from now on; what the last look showed."""
        key = target.environment, target.queue
        self._wanted[key] = target, names
        fleet = self._found.get(key)
        return None if fleet is None else Muster(live=fleet.beating, silent=len(fleet.dead))


async def abroad(session: Session, target: Target, homes: Mapping[str, Fleets]) -> Muster | None:
    """The workers of a queue that register in another environment, where that is watched, too.

    Raises:
        psycopg.OperationalError, UnavailableError: the connection is lost or the deadline struck.
    """
    mapped = target.mapping.workers
    if mapped is None or mapped.registered_in is None or target.workers is not None:
        return None
    home = homes.get(mapped.registered_in)
    names = await named_workers(session, target) if home is not None else None
    if home is None or names is None or len(names) == MOST:
        return None
    return home.want(target, names)
