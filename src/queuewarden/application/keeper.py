"""The keeper of an environment's lease: renews it, takes it over, gives it up; on its own connection."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

import psycopg
import structlog

from queuewarden.adapters.db.reasons import reason
from queuewarden.application.jitter import jittered
from queuewarden.application.opening import open_session
from queuewarden.engine import lease
from queuewarden.engine.standing import Standing
from queuewarden.errors import QueuewardenError

if TYPE_CHECKING:
    from collections.abc import Callable

    from queuewarden.adapters.db.session import Session
    from queuewarden.engine.ledger.schema import Schema
    from queuewarden.settings.configuration import EnvironmentConfig

POLL = 1.0
"""Seconds between two looks of a daemon that does not have the lease: so soon it takes over."""

RELEASE_WITHIN = 1.0
"""Seconds for giving it up at the end, whatever the database does."""


class Keeper:
    """Keeps the lease for as long as `run` runs.

    Args:
        config: the environment.
        holder: names this run of this daemon.
        on_gain: called when the lease has become ours.
    """

    def __init__(self, config: EnvironmentConfig, holder: str, on_gain: Callable[[], None]) -> None:
        self.config = config
        self.answered = asyncio.Event()
        self.known: lease.Lease | None = None
        self._holder = holder
        self._on_gain = on_gain
        self._ttl = config.limits.lease_ttl
        self._held_until: float | None = None
        self._believed_until = 0.0
        self._session: Session | None = None
        self._unanswered: str | None = None
        self._log = structlog.get_logger().bind(environment=config.name)
        self._task = asyncio.create_task(self.run(), name=f"lease {config.name}")

    @property
    def held(self) -> bool:
        """It is ours, as far as can be told from here: the fence of each repair asks the database."""
        return self._held_until is not None and time.monotonic() < self._held_until

    @property
    def holder(self) -> str | None:
        """Who has it; None where nobody is known to."""
        if self.held:
            return self._holder
        return self.known.holder if self.known is not None and self.known.holder != self._holder else None

    async def hear(self, session: Session) -> None:
        """Where no answer has come for as long as a lease lasts, see on another connection who has it.

        Raises:
            psycopg.Error: as the server reports it.
        """
        if self.answered.is_set() and time.monotonic() >= self._believed_until:
            self.known = await lease.look(session)

    @property
    def connected(self) -> bool:
        """It has a connection."""
        return self._session is not None

    def standing(self, schema: Schema) -> Standing:
        """By what right a sweep repairs now."""
        if self.held and self.known is not None:
            return Standing(schema, self._holder, self.known.epoch)
        self._lose("it was not renewed in time")
        return Standing(schema, self._holder, stay="lease")

    async def run(self) -> None:
        """Renew every third of its time; where another daemon has it, look every second at most."""
        while True:
            begun = time.monotonic()
            try:
                session = await self._connected()
                self._take(await lease.claim(session, self._holder, self._ttl), begun)
            except (psycopg.Error, QueuewardenError) as error:
                self._miss(reason(error))
            except Exception as error:  # noqa: BLE001 -- see below
                # A mistake of ours must neither end the renewals nor stay unseen.
                why = f"internal error: {type(error).__name__}"
                if why != self._unanswered:
                    self._log.exception("guard.failed")
                self._miss(why)
                self._unanswered = why
            self.answered.set()
            pause = self._ttl.total_seconds() / 3
            if not self.held and self._unanswered is None:
                pause = min(pause, POLL)
            await asyncio.sleep(jittered(pause, 0.9, 1.0))

    async def close(self, *, release: bool = True) -> None:
        """End; give the lease up, so that another daemon takes over at once.

        Args:
            release: whether to; not where this daemon goes on with it.
        """
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        session, self._session = self._session, None
        if session is None:
            return
        if release and self._held_until is not None and session.usable:
            timer = asyncio.get_running_loop().call_later(RELEASE_WITHIN, session.shut)
            try:
                await lease.release(session, self._holder)
            except (psycopg.Error, QueuewardenError) as error:
                self._log.debug("lease.unreleased", reason=reason(error))
            finally:
                timer.cancel()
        self._held_until = None
        await session.close()

    def _take(self, seen: lease.Lease, begun: float) -> None:
        before, self.known = self.known, seen
        self._believed_until = begun + self._ttl.total_seconds()
        self._unanswered = None
        if seen.holder != self._holder:
            self._lose(f"{seen.holder} has it" if seen.holder else "it ran out")
            return
        new = self._held_until is None or before is None or before.epoch != seen.epoch
        self._held_until = begun + self._ttl.total_seconds()
        if new:
            self._log.info("lease.gained", epoch=seen.epoch)
            self._on_gain()

    def _miss(self, why: str) -> None:
        """It could not be asked for: it is ours for as long as it lasts; then nothing is repaired."""
        if self._held_until is not None and not self.held:
            self._lose(why)
        elif self._held_until is None and why != self._unanswered:
            self._log.warning("lease.unanswered", reason=why)
            self._unanswered = why
        if self._session is not None and not self._session.usable:
            self._session.shut()
            self._session = None

    def _lose(self, why: str) -> None:
        if self._held_until is not None:
            self._held_until = None
            self._log.warning("lease.lost", reason=why)

    async def _connected(self) -> Session:
        if self._session is not None and self._session.usable:
            return self._session
        if self._session is not None:
            await self._session.close()
            self._session = None
        # A database that hangs must not keep us from seeing that our time is over.
        brief = min(self.config.limits.statement_timeout, self._ttl / 3)
        self._session = await open_session(self.config, statement_timeout=brief)
        return self._session
