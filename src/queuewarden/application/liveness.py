"""Asking another environment's database about workers that register there."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import psycopg

from queuewarden.adapters.db.connect import longest
from queuewarden.application.opening import open_session
from queuewarden.engine.fleet import MOST, named_workers, read_fleet
from queuewarden.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from queuewarden.adapters.db.session import Session
    from queuewarden.queues.target import Fleet, Target
    from queuewarden.settings.configuration import EnvironmentConfig


CONFIRM_WITHIN = 1.0
"""Seconds for the look before a commit: our transaction is idle meanwhile, for which the server gives 2 s."""

SHARE = 4
"""A database where asking failed is left alone for so many times as long as that took."""


class Liveness:
    """Connections of one guard to the databases where its workers register.

    Args:
        environment: whose guard asks.
        others: all environments, by name.
        on_step: told before each use of a connection how many seconds it may take.
    """

    def __init__(
        self,
        environment: str,
        others: Mapping[str, EnvironmentConfig],
        on_step: Callable[[float], None] | None = None,
    ) -> None:
        self._environment = environment
        self._others = others
        self._on_step = on_step
        self._sessions: dict[str, Session] = {}
        self._shunned: dict[str, float] = {}

    async def fleets(self, session: Session, targets: Sequence[Target]) -> dict[str, Fleet | None]:
        """For each queue whose workers register elsewhere, their liveness; None where it is unknown.

        Raises:
            psycopg.OperationalError, UnavailableError: the environment's own connection is lost.
        """
        found: dict[str, Fleet | None] = {}
        for target in targets:
            if (home := self._home(target)) is not None:
                names = await named_workers(session, target)
                if names is None or len(names) == MOST:
                    found[target.queue] = None
                else:
                    found[target.queue] = await self._fleet(home, target, names, again=home in self._sessions)
        return found

    async def confirm(self, target: Target, workers: Collection[str]) -> bool:
        """Look again just before a commit: none of these workers beats now."""
        home = self._home(target)
        if home is None:
            return True
        session = self._sessions.get(home)
        if session is None or not session.usable:
            return False
        # The row locks that our transaction holds do not wait for a frozen server.
        timer = asyncio.get_running_loop().call_later(CONFIRM_WITHIN, session.shut)
        try:
            fleet = await self._fleet(home, target, workers)
        finally:
            timer.cancel()
        return fleet is not None and not fleet.live

    @property
    def connections(self) -> int:
        """Connections that it has open."""
        return len(self._sessions)

    def shut(self) -> None:
        """Make whoever waits on a connection fail at once."""
        for session in self._sessions.values():
            session.shut()

    async def close(self) -> None:
        """Close all connections."""
        for session in self._sessions.values():
            await session.close()
        self._sessions.clear()

    def _home(self, target: Target) -> str | None:
        workers = target.mapping.workers
        home = workers.registered_in if workers is not None else None
        return home if home != self._environment else None

    async def _fleet(
        self, home: str, target: Target, names: Collection[str], *, again: bool = False
    ) -> Fleet | None:
        """Liveness as that database tells it, None where it does not.

        Args:
            home: where the workers register.
            target: the queue.
            names: its workers.
            again: an error may be the connection's own, ended while it was idle: ask on a fresh one.
        """
        begun = time.monotonic()
        if begun < self._shunned.get(home, 0.0):
            return None
        try:
            session = await self._session(self._others[home])
            return await read_fleet(session, target, names)
        except (UnavailableError, psycopg.Error) as error:
            broken = self._sessions.pop(home, None)
            if broken is not None:
                await broken.close()
            if again and isinstance(error, psycopg.Error):
                return await self._fleet(home, target, names)
            ended = time.monotonic()
            self._shunned[home] = ended + (ended - begun) * SHARE
            return None

    async def _session(self, config: EnvironmentConfig) -> Session:
        known = self._sessions.get(config.name)
        if known is not None and known.usable:
            return known
        limits = config.limits
        if self._on_step is not None:
            self._on_step(longest(config.dsn.read(), limits.connect_timeout))
        # A database of another environment that hangs must not hold this one up for a whole deadline.
        self._sessions[config.name] = await open_session(
            config,
            by=self._environment,
            statement_timeout=min(limits.statement_timeout, limits.connect_timeout),
            on_step=self._on_step,
        )
        return self._sessions[config.name]
