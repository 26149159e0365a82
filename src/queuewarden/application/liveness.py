"""Asking another environment's database about workers that register there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

from queuewarden.adapters.db.connect import connect
from queuewarden.adapters.db.session import Session
from queuewarden.engine.fleet import named_workers, read_fleet
from queuewarden.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from queuewarden.queues.target import Fleet, Target
    from queuewarden.settings.configuration import EnvironmentConfig


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

    async def fleets(self, session: Session, targets: Sequence[Target]) -> dict[str, Fleet | None]:
        """For each queue whose workers register elsewhere, their liveness; None where it is unknown."""
        found = {}
        for target in targets:
            if self._home(target) is not None:
                found[target.queue] = await self._fleet(target, await named_workers(session, target))
        return found

    async def confirm(self, target: Target, workers: Collection[str]) -> bool:
        """Look again just before a commit: none of these workers beats now."""
        if self._home(target) is None:
            return True
        fleet = await self._fleet(target, workers)
        return fleet is not None and not fleet.live

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

    async def _fleet(self, target: Target, names: Collection[str]) -> Fleet | None:
        home = self._home(target)
        if home is None:
            return None
        try:
            session = await self._session(self._others[home])
            return await read_fleet(session, target, names)
        except (UnavailableError, psycopg.Error):
            broken = self._sessions.pop(home, None)
            if broken is not None:
                await broken.close()
            return None

    async def _session(self, config: EnvironmentConfig) -> Session:
        known = self._sessions.get(config.name)
        if known is not None and known.usable:
            return known
        limits = config.limits
        connection = await connect(
            config.dsn.read(),
            application_name=f"queuewarden/{self._environment}",
            connect_timeout=limits.connect_timeout,
            statement_timeout=limits.statement_timeout,
        )
        session = Session(
            connection,
            statement_timeout=limits.statement_timeout,
            lock_timeout=limits.lock_timeout,
            on_step=self._on_step,
        )
        self._sessions[config.name] = session
        return session
