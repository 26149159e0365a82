"""A guard's claim to repair: the ledger's schema as it stands in the database, and the lease."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any

import psycopg
import structlog

from queuewarden.adapters.db.connect import longest
from queuewarden.adapters.db.reasons import reason
from queuewarden.application.keeper import Keeper
from queuewarden.engine.ledger import alert_book, retention
from queuewarden.engine.ledger.schema import Schema, read_schema
from queuewarden.engine.standing import Standing
from queuewarden.engine.upkeep import runs as upkeep_runs
from queuewarden.errors import BusyError
from queuewarden.model import Anomaly

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import timedelta

    from queuewarden.adapters.db.session import Session
    from queuewarden.model import ServerState
    from queuewarden.queues.target import Target
    from queuewarden.settings.configuration import EnvironmentConfig

HOUSE_EVERY = 3600.0
"""Seconds between two looks for what the ledger may forget."""

FIRST_HOUSE = 60.0
"""Seconds from the start to the first one: there is enough to do at first."""

SLACK = 2.0
"""Seconds that the keeper may take beyond connecting until its first answer."""


class Claim:
    """What one guard knows of its right to repair.

    Args:
        holder: names this run of the daemon.
        on_gain: called when the lease has become ours.

    Attributes:
        observed: the last sweep was held, since another daemon has the lease.
        schema: the ledger's, as it was read last.
    """

    def __init__(self, holder: str, on_gain: Callable[[], None]) -> None:
        self.observed = False
        self._holder = holder
        self._on_gain = on_gain
        self.schema = Schema()
        self._keeper: Keeper | None = None
        self._wait = 0.0
        self._house_due = time.monotonic() + FIRST_HOUSE
        self._log = structlog.get_logger()

    async def look(self, session: Session, config: EnvironmentConfig) -> None:
        """Read the schema anew; begin to keep the lease where it is usable, end where it is not.

        Raises:
            psycopg.Error: as the server reports it.
        """
        self.schema = await read_schema(session)
        keeper = self._keeper
        if keeper is not None and (not self.schema.usable or keeper.config != config):
            # The same database under another configuration: the lease stays ours.
            await keeper.close(release=keeper.config.dsn != config.dsn)
            self._keeper = None
        if self.schema.usable and self._keeper is None:
            self._wait = self.longest(config)
            self._keeper = Keeper(config, self._holder, self._on_gain)

    async def standing(self, session: Session) -> Standing:
        """By what right the next sweep repairs, on this connection; waits for the keeper's first answer."""
        if self._keeper is None:
            return Standing(self.schema, self._holder)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._keeper.answered.wait(), self._wait)
        with contextlib.suppress(psycopg.Error):  # the sweep will tell
            await self._keeper.hear(session)
        standing = self._keeper.standing(self.schema)
        self.observed = standing.stay is not None
        return standing

    def longest(self, config: EnvironmentConfig) -> float:
        """Seconds that `standing` may take at most."""
        return longest(config.dsn.read(), config.limits.connect_timeout) + SLACK

    def outdated(self, server: ServerState) -> bool:
        """The schema has been installed, upgraded or removed since it was read."""
        return server.ledger != self.schema.tables

    def anomalies(self, environment: str) -> list[Anomaly]:
        """Why the schema is there and cannot be used."""
        return [
            Anomaly("drift", environment, None, "ledger", {"faults": len(self.schema.faults)}, fault)
            for fault in self.schema.faults[:1]
        ]

    @property
    def held(self) -> bool:
        """The lease is ours, as far as can be told from here."""
        return self._keeper is not None and self._keeper.held

    @property
    def connections(self) -> int:
        """Connections that it has open."""
        return int(self._keeper is not None and self._keeper.connected)

    def status(self) -> dict[str, Any] | None:
        """For the status document; None where there is no lease."""
        keeper = self._keeper
        if keeper is None or not keeper.answered.is_set():
            return None
        epoch = keeper.known.epoch if keeper.known is not None else None
        return {"ours": keeper.held, "holder": keeper.holder, "epoch": epoch}

    async def keep_house(self, session: Session, targets: Sequence[Target], keep: timedelta | None) -> None:
        """Now and then, where the lease is ours: forget what is older than ``keep`` (None: nothing).

        Raises:
            psycopg.OperationalError, QueuewardenError: the connection was lost.
        """
        if self._keeper is None or not self._keeper.held or time.monotonic() < self._house_due:
            return
        self._house_due = time.monotonic() + HOUSE_EVERY
        try:
            for target in targets:
                await retention.tidy(session, target, "jobs")
                if target.workers is not None:
                    await retention.tidy(session, target, "workers")
            forgotten = await retention.forget(session, keep) if keep is not None else 0
            if keep is not None and self.schema.alerts:
                await alert_book.forget(session, keep)
            if keep is not None and self.schema.upkeep:
                await upkeep_runs.forget(session, keep)
        except (psycopg.Error, BusyError) as error:
            if not session.usable:
                raise
            self._log.debug("ledger.untidy", reason=reason(error))
        else:
            self._log.debug("ledger.forgotten", changes=forgotten)

    async def close(self) -> None:
        """Give the lease up."""
        if self._keeper is not None:
            await self._keeper.close()
            self._keeper = None
