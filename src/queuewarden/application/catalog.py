"""The queues of an environment as they were last held against its database's catalog."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from queuewarden.application.resolving import resolve_all
from queuewarden.engine.alerting.anomalies import drift

if TYPE_CHECKING:
    from collections.abc import Mapping

    from queuewarden.adapters.db.session import Session
    from queuewarden.engine.resolve import Resolution
    from queuewarden.model import Anomaly
    from queuewarden.queues.target import Target
    from queuewarden.settings.configuration import EnvironmentConfig

RESOLVE_EVERY = 300.0
"""Seconds between two looks at the catalog; an error about a table or column brings the next one forward."""


@dataclass(slots=True)
class Catalog:
    """What is known of them.

    Attributes:
        resolutions: by queue; none while the database is down.
        queues: all that there were when the catalog was read last, whether they fit it or not.
    """

    resolutions: Mapping[str, Resolution] = field(default_factory=dict)
    queues: frozenset[str] = frozenset()
    _until: float = 0.0

    @property
    def fresh(self) -> bool:
        """It need not be read anew."""
        return time.monotonic() < self._until

    @property
    def targets(self) -> list[Target]:
        """The queues that can be guarded."""
        return [one.target for one in self.resolutions.values() if one.target is not None]

    def forget(self) -> None:
        """Another connection may lead to another database."""
        self.resolutions, self._until = {}, 0.0

    async def read(self, session: Session, config: EnvironmentConfig) -> tuple[str, ...]:
        """Read it anew; what to set so that tables that were recognised are guarded.

        Raises:
            psycopg.OperationalError, UnavailableError: the connection is lost or the deadline struck.
        """
        resolved = await resolve_all(session, config)
        self.resolutions, self.queues = resolved.queues, frozenset(resolved.queues)
        self._until = time.monotonic() + RESOLVE_EVERY if resolved.complete else 0.0
        return resolved.hints

    def drifts(self, environment: str) -> list[Anomaly]:
        """An anomaly for each queue that does not fit."""
        return [drift(environment, name, one.faults) for name, one in self.resolutions.items() if one.faults]
