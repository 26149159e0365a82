"""The guard of one environment: connects, sweeps, sleeps; whatever fails there ends there."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

import psycopg
import structlog
import tenacity

from queuewarden.adapters.db.connect import longest
from queuewarden.adapters.db.reasons import reason
from queuewarden.application.catalog import Catalog
from queuewarden.application.claim import Claim
from queuewarden.application.jitter import jittered
from queuewarden.application.liveness import Liveness
from queuewarden.application.narrator import Narrator
from queuewarden.application.opening import open_session
from queuewarden.application.status import EnvironmentStatus
from queuewarden.application.upkeep.caretaker import Caretaker
from queuewarden.engine.primary import require_primary
from queuewarden.engine.sweep import Sweeper
from queuewarden.errors import QueuewardenError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from queuewarden.adapters.db.session import Session
    from queuewarden.application.audience import Audience
    from queuewarden.queues.target import Target
    from queuewarden.settings.configuration import EnvironmentConfig

SLACK = 5.0
"""Seconds that a step may overrun before the environment counts as hung: Python's own work between steps."""

FASTEST_CAP = 5.0
"""Reconnecting backs off to at most the larger of the interval and this, in seconds."""


class Guard:
    """Guards one environment for as long as `run` runs.

    Args:
        config: the environment.
        others: all environments by name, for workers that register elsewhere.
        audience: told of each sweep and each change of the status.
        holder: names this run of the daemon, in the lease and the ledger.
        watched: somebody wants to know how jobs end, too.

    Attributes:
        catalog: its queues.
        caretaker: does upkeep beside it.
    """

    def __init__(
        self,
        config: EnvironmentConfig,
        others: Mapping[str, EnvironmentConfig],
        audience: Audience,
        holder: str,
        *,
        watched: bool = False,
    ) -> None:
        self.config = config
        self.status = EnvironmentStatus(config.name)
        self.first_contact = asyncio.Event()
        self.due = time.monotonic() + SLACK
        self._audience = audience
        self._narrator = Narrator(config.name)
        self._sweeper = Sweeper(config.name, watched=watched)
        self._liveness = Liveness(config.name, others, self.announce)
        self._claim = Claim(holder, self._lease_gained)
        self.caretaker = Caretaker(self, self._claim, holder)
        self._session: Session | None = None
        self.catalog = Catalog()
        self._queues_due: dict[str, float] = {}
        self._status_due = 0.0
        self._pending: tuple[EnvironmentConfig, Mapping[str, EnvironmentConfig]] | None = None
        self._woken = asyncio.Event()
        self._ending = False
        self._again = False

    def announce(self, seconds: float) -> None:
        """The next sign of life comes within so many seconds: what the watchdog's supervisor goes by."""
        self.due = time.monotonic() + seconds + SLACK

    async def run(self) -> None:
        """Sweep at once, then every interval; for ever. What fails is tried again, less and less often."""
        structlog.contextvars.bind_contextvars(environment=self.config.name)
        self.caretaker.start()
        retrying = tenacity.AsyncRetrying(
            wait=self._backoff, before_sleep=self._failed, sleep=self._wait, reraise=True
        )
        while True:
            begun = time.monotonic()
            await retrying(self._once)
            self._audience.changed(self)
            interval = self.config.limits.interval.total_seconds()
            await self._wait(min(self._queues_due.values(), default=begun + interval) - time.monotonic())

    @property
    def connections(self) -> int:
        """Connections to databases that it has open."""
        others = (self._liveness, self._claim, self.caretaker)
        return int(self._session is not None) + sum(one.connections for one in others)

    @property
    def targets(self) -> list[Target]:
        """The queues that can be guarded; none while the database is down."""
        return self.catalog.targets

    def reconfigure(
        self, config: EnvironmentConfig, others: Mapping[str, EnvironmentConfig], *, watched: bool
    ) -> None:
        """Take a new configuration before the next sweep, which comes at once.

        What is known of outages, grace, brakes and jobs stays.
        """
        self._pending = (config, others)
        self._sweeper.watched = watched
        self._woken.set()

    def shut(self) -> None:
        """Make whatever waits on a database fail at once: to be called before `run` is cancelled.

        A cancel alone would ask the server to cancel, and wait for its answer.
        """
        self._ending = True
        if self._session is not None:
            self._session.shut()
        self._liveness.shut()
        self.caretaker.shut()

    async def close(self) -> None:
        """Close the connections; give the lease up."""
        await self.caretaker.close()
        await self._disconnect()
        await self._liveness.close()
        await self._claim.close()

    async def _once(self) -> None:
        """One sweep.

        An error on a connection that was in use before may be that connection's own (ended while it was
        idle, one query cancelled), so that the sweep is made again at once, on a fresh one.
        """
        used_before = self._session is not None
        try:
            await self._pass()
        except psycopg.Error as error:
            if not used_before or self._ending:
                raise
            self._narrator.log.debug("sweep.again", reason=reason(error))
            await self._disconnect()
            await self._pass()

    async def _pass(self) -> None:
        await self._take_pending()
        session = await self._connected()
        if not self.catalog.fresh:
            await self._read_catalog(session)
        await self._sweep(session)

    async def _take_pending(self) -> None:
        if self._pending is None:
            return
        (self.config, others), self._pending = self._pending, None
        await self._disconnect()
        await self._liveness.close()
        self._liveness = Liveness(self.config.name, others, self.announce)
        self._status_due = min(self._status_due, time.monotonic() + self._status_every)
        self._queues_due.clear()
        self.caretaker.wake()

    async def _connected(self) -> Session:
        if self._session is not None and self._session.usable:
            return self._session
        await self._disconnect()
        self.announce(longest(self.config.dsn.read(), self.config.limits.connect_timeout))
        self._session = await open_session(self.config, on_step=self.announce)
        return self._session

    async def _disconnect(self) -> None:
        """Close the connection; another one may lead to another database, so the catalog is read anew."""
        self.catalog.forget()
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _read_catalog(self, session: Session) -> None:
        await require_primary(session)
        await self._claim.look(session, self.config)
        hints = await self.catalog.read(session, self.config)
        if self.config.discover:
            self._narrator.hinted(list(hints))
        resolutions = self.catalog.resolutions
        self._sweeper.keep(resolutions)
        self._queues_due = {name: due for name, due in self._queues_due.items() if name in resolutions}
        for name, resolution in resolutions.items():
            self._narrator.drifted(name, resolution.faults)

    async def _sweep(self, session: Session) -> None:
        begun, self._again = time.monotonic(), False
        targets = [one for one in self.targets if self._queues_due.get(one.queue, 0.0) <= begun]
        fleets = await self._liveness.fleets(session, targets)
        self.announce(self._claim.longest(self.config))
        standing = await self._claim.standing(session)
        try:
            report = await self._sweeper.sweep(
                session,
                targets,
                standing=standing,
                remind_after=self.config.limits.remind_after,
                extra=self.catalog.drifts(self.config.name) + self._claim.anomalies(self.config.name),
                confirm=self._liveness.confirm,
                fleets=fleets,
            )
        finally:
            if self._sweeper.interrupted is not None:
                self._narrator.tell(self._sweeper.interrupted)
                self._audience.interrupted(self, self._sweeper.interrupted)
        for target in targets:
            interval = 0.0 if self._again else target.limits.interval.total_seconds()
            self._queues_due[target.queue] = begun + jittered(interval, 0.95, 1.0)
        self.first_contact.set()
        if self.status.turn("up"):
            self._narrator.log.info("environment.up")
        self._narrator.tell(report)
        self.status.take(report, self.catalog.resolutions)
        self.status.brakes = tuple(self._sweeper.board.on.values())
        self.status.anomalies = self._sweeper.raised.active
        self.status.lease = self._claim.status()
        self._audience.swept(self, report)
        await self._audience.keep(self, session, self._claim.schema)
        await self._claim.keep_house(session, targets, self.config.limits.ledger_keep)
        errors = {one.error or "" for queue in report.queues for one in queue.outcomes}
        if any(error.startswith("42") or error == "22P02" for error in errors):
            self.catalog.forget()
        if self._claim.outdated(report.server):
            self.catalog.forget()
            self.sweep_at_once()

    def _lease_gained(self) -> None:
        """What was only observed may now be repaired."""
        self.caretaker.wake()
        if self._claim.observed:
            self.sweep_at_once()

    def sweep_at_once(self) -> None:
        """Do not wait for the interval to pass; amid a sweep: sweep once more behind it."""
        self._again = True
        self._queues_due.clear()
        self._woken.set()

    async def _failed(self, attempt: tenacity.RetryCallState) -> None:
        """The environment is down, for a reason that is told once."""
        if self._ending:
            return
        await self._disconnect()
        error = attempt.outcome.exception() if attempt.outcome is not None else None
        if isinstance(error, QueuewardenError | psycopg.Error):
            self._sweeper.grace.outage = True
            why = reason(error)
        else:
            # A mistake of ours: it must not end the other environments.
            why = f"internal error: {type(error).__name__}"
            if why != self.status.reason:
                self._narrator.log.error("guard.failed", exc_info=error)
        self.first_contact.set()
        self.status.counts = {}
        if self.status.turn("down", why):
            self._narrator.log.error("environment.down", reason=why)
        self._audience.failed(self, error)

    def _backoff(self, attempt: tenacity.RetryCallState) -> float:
        cap = max(self.config.limits.interval.total_seconds(), FASTEST_CAP)
        wait = tenacity.wait_exponential(multiplier=0.5, max=cap)(attempt)
        return jittered(wait, 0.8, 1.0)

    async def _wait(self, seconds: float) -> None:
        """Sleep, telling the status whenever that is due, unless woken by a new configuration."""
        self.announce(max(seconds, 0.0))
        end = time.monotonic() + seconds
        self._tell_status()
        while (now := time.monotonic()) < end and not self._woken.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), min(end, self._status_due) - now)
            self._tell_status()
        self._woken.clear()

    @property
    def _status_every(self) -> float:
        return self.config.limits.status_every.total_seconds()

    def _tell_status(self) -> None:
        if time.monotonic() < self._status_due or self._ending:
            return
        self._status_due = time.monotonic() + self._status_every
        self._narrator.status(self.status)
