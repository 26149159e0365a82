"""The guard of one environment: connects, sweeps, sleeps; whatever fails there ends there."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
import structlog
import tenacity

from queuewarden.adapters.db.connect import connect, longest
from queuewarden.adapters.db.reasons import reason
from queuewarden.adapters.db.session import Session
from queuewarden.application.discovery import discovered
from queuewarden.application.liveness import Liveness
from queuewarden.application.narrator import Narrator
from queuewarden.application.status import EnvironmentStatus
from queuewarden.engine.resolve import resolve
from queuewarden.engine.sweep import Sweeper
from queuewarden.errors import QueuewardenError, UnavailableError
from queuewarden.model import Anomaly

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from queuewarden.engine.resolve import Resolution
    from queuewarden.settings.configuration import EnvironmentConfig

SLACK = 5.0
"""Seconds that a step may overrun before the environment counts as hung: Python's own work between steps."""

RESOLVE_EVERY = 300.0
"""Seconds between two looks at the catalog; an error about a table or column brings the next one forward."""

FASTEST_CAP = 5.0
"""Reconnecting backs off to at most the larger of the interval and this, in seconds."""

_JITTER = random.Random()  # noqa: S311 -- spreads load, keeps no secret


@dataclass(slots=True)
class _Resolved:
    resolutions: dict[str, Resolution]
    at: float


class Guard:
    """Guards one environment for as long as `run` runs.

    Args:
        config: the environment.
        others: all environments by name, for workers that register elsewhere.
        on_change: called whenever the status has changed.
    """

    def __init__(
        self,
        config: EnvironmentConfig,
        others: Mapping[str, EnvironmentConfig],
        on_change: Callable[[], None],
    ) -> None:
        self.config = config
        self.status = EnvironmentStatus(config.name)
        self.first_contact = asyncio.Event()
        self.due = time.monotonic() + SLACK
        self._on_change = on_change
        self._narrator = Narrator(config.name)
        self._sweeper = Sweeper(config.name)
        self._liveness = Liveness(config.name, others, self.announce)
        self._session: Session | None = None
        self._resolved: _Resolved | None = None
        self._status_due = 0.0
        self._woken = asyncio.Event()

    def announce(self, seconds: float) -> None:
        """The next sign of life comes within so many seconds: what the watchdog's supervisor goes by."""
        self.due = time.monotonic() + seconds + SLACK

    async def run(self) -> None:
        """Sweep at once, then every interval; for ever."""
        structlog.contextvars.bind_contextvars(environment=self.config.name)
        while True:
            begun = time.monotonic()
            await self._once()
            self._tell_status()
            self._on_change()
            await self._sleep(begun)

    def reconfigure(self, config: EnvironmentConfig, others: Mapping[str, EnvironmentConfig]) -> None:
        """Take a new configuration; what is known of outages, grace, brakes and jobs stays."""
        if config.dsn != self.config.dsn:
            self.shut()
        self.config = config
        self._liveness = Liveness(config.name, others, self.announce)
        self._resolved = None
        self._woken.set()

    def shut(self) -> None:
        """Make whatever waits on a database fail at once; before cancelling, since a cancel waits for it."""
        if self._session is not None:
            self._session.shut()
        self._liveness.shut()

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
        await self._liveness.close()

    async def _once(self) -> None:
        """One sweep, or one failure of this environment."""
        try:
            session = await self._connected()
            resolutions = await self._resolutions(session)
            await self._sweep(session, resolutions)
        except (QueuewardenError, psycopg.Error) as error:
            words = str(error) if isinstance(error, QueuewardenError) else reason(error)
            await self._down(words)
        except Exception as error:  # noqa: BLE001 -- a mistake of ours must not end the other environments
            structlog.get_logger().exception("guard.failed")
            await self._down(f"internal error: {type(error).__name__}")

    async def _connected(self) -> Session:
        if self._session is not None and self._session.usable:
            return self._session
        cap = max(self.config.limits.interval.total_seconds(), FASTEST_CAP)
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(UnavailableError),
            wait=tenacity.wait_exponential_jitter(initial=0.5, max=cap, jitter=cap / 10),
            before_sleep=self._failed_to_connect,
            sleep=self._wait,
        )
        return await retrying(self._connect)

    async def _connect(self) -> Session:
        limits = self.config.limits
        dsn = self.config.dsn.read()
        self.announce(longest(dsn, limits.connect_timeout))
        connection = await connect(
            dsn,
            application_name=f"queuewarden/{self.config.name}",
            connect_timeout=limits.connect_timeout,
            statement_timeout=limits.statement_timeout,
        )
        self._session = Session(
            connection,
            statement_timeout=limits.statement_timeout,
            lock_timeout=limits.lock_timeout,
            on_step=self.announce,
        )
        self._resolved = None
        return self._session

    async def _failed_to_connect(self, attempt: tenacity.RetryCallState) -> None:
        error = attempt.outcome.exception() if attempt.outcome is not None else None
        self._sweeper.grace.outage = True
        await self._down(str(error))
        self._tell_status()
        self._on_change()

    async def _resolutions(self, session: Session) -> dict[str, Resolution]:
        known = self._resolved
        if known is not None and time.monotonic() - known.at < RESOLVE_EVERY:
            return known.resolutions
        config = self.config
        queues = [(mapping, config.queue_limits[mapping.name]) for mapping in config.queues]
        if config.discover:
            queues, hints = await discovered(session, config)
            self._narrator.hinted(hints)
        resolutions = {
            mapping.name: await resolve(session, config.name, mapping, limits) for mapping, limits in queues
        }
        self._resolved = _Resolved(resolutions, time.monotonic())
        for name, resolution in resolutions.items():
            self._narrator.drifted(name, resolution.faults)
        return resolutions

    async def _sweep(self, session: Session, resolutions: dict[str, Resolution]) -> None:
        begun = time.monotonic()
        due = {}
        for name, resolution in resolutions.items():
            state = self._sweeper.state(name)
            if resolution.target is not None and state.due <= begun:
                due[name] = resolution.target
                # A little less than the interval, since the environment comes by with a jitter of its own.
                state.due = begun + resolution.target.limits.interval.total_seconds() * 0.9
        targets = list(due.values())
        report = await self._sweeper.sweep(
            session,
            targets,
            remind_after=self.config.limits.remind_after,
            extra=[_drift(self.config.name, name, one) for name, one in resolutions.items() if one.faults],
            confirm=self._liveness.confirm,
            fleets=await self._liveness.fleets(session, targets),
        )
        self._up()
        self._narrator.tell(report)
        self.status.take(report)
        self.status.brakes = tuple(self._sweeper.board.on.values())
        self.status.anomalies = self._sweeper.alerts.active
        if any((one.error or "").startswith("42") for queue in report.queues for one in queue.outcomes):
            self._resolved = None

    def _up(self) -> None:
        self.first_contact.set()
        if self.status.turn("up"):
            self._narrator.log.info("environment.up")

    async def _down(self, why: str) -> None:
        self.first_contact.set()
        self.status.counts = {}
        if self.status.turn("down", why):
            self._narrator.log.error("environment.down", reason=why)
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _tell_status(self) -> None:
        if time.monotonic() < self._status_due:
            return
        self._status_due = time.monotonic() + self.config.limits.status_every.total_seconds()
        log, status = self._narrator.log, self.status
        if status.state == "down":
            log.info("environment.status", up=False, since=status.since.isoformat(), reason=status.reason)
        else:
            log.info("environment.status", up=True, **status.totals())

    async def _sleep(self, begun: float) -> None:
        """Until the next sweep is due: an interval after the last one began, with a little jitter."""
        intervals = [limits.interval for limits in self.config.queue_limits.values()]
        interval = min(intervals, default=self.config.limits.interval).total_seconds()
        left = begun + interval * _JITTER.uniform(0.95, 1.0) - time.monotonic()
        await self._wait(max(left, 0.0))

    async def _wait(self, seconds: float) -> None:
        """Sleep, unless woken by a new configuration."""
        self.announce(seconds)
        self._woken.clear()
        try:
            await asyncio.wait_for(self._woken.wait(), seconds)
        except TimeoutError:
            return


def _drift(environment: str, queue: str, resolution: Resolution) -> Anomaly:
    return Anomaly("drift", environment, queue, "", {"faults": len(resolution.faults)}, resolution.faults[0])
