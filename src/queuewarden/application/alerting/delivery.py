"""One channel's attempts: sends a message until it is taken, and knows how the channel is."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

import structlog
import tenacity

from queuewarden.application.alerting.messages import kind
from queuewarden.application.jitter import jittered
from queuewarden.errors import ChannelError, UnavailableError

if TYPE_CHECKING:
    from queuewarden.adapters.notify.courier import Kind
    from queuewarden.engine.alerting.notices import Message
    from queuewarden.settings.configuration import ChannelConfig

ATTEMPTS = 10
"""Attempts at one message; with the waits between them, they take about a quarter of an hour."""

LONGEST_WAIT = 240.0
"""Seconds between two attempts, at most."""

STALE = 3600.0
"""Seconds after which a message is no news any more."""

INCIDENTS = ("pagerduty://",)
"""URLs of receivers that open incidents."""


class Sender(Protocol):
    """What sends; see `adapters.notify.courier.Courier`."""

    async def send(
        self,
        url: str,
        *,
        title: str,
        body: str,
        kind: Kind,
        key: str | None,
        timeout: float,  # noqa: ASYNC109 -- as there
    ) -> None:
        """Send one message; raises ChannelError where it was not taken."""


@dataclass(frozen=True, slots=True)
class ChannelState:
    """How a channel is.

    Attributes:
        since: since when it fails; None while it does not.
        reason: why it fails.
        sent: messages that were taken.
        failed: messages that were given up after all attempts.
        dropped: messages that were too old, or for which there was no room.
        swallowed: notices that the hourly cap held back.
        queued: messages that wait, the one under way included.
    """

    name: str
    since: datetime | None = None
    reason: str | None = None
    sent: int = 0
    failed: int = 0
    dropped: int = 0
    swallowed: int = 0
    queued: int = 0

    @property
    def ok(self) -> bool:
        """Whether it does not fail, as far as is known."""
        return self.since is None


class Delivery:
    """Delivers to one channel.

    Attributes:
        state: how the channel is, what is queued excepted.
        last: the daemon stops: one attempt at each message, and no waiting.
    """

    def __init__(self, config: ChannelConfig, send: Sender) -> None:
        self.config = config
        self.state = ChannelState(config.name)
        self.last = False
        self._send = send
        self._hurried = asyncio.Event()
        self._spared = 0
        self._log = structlog.get_logger()

    @property
    def one_by_one(self) -> bool:
        """Whether the receiver opens an incident for each alert, so that a message must hold but one."""
        with contextlib.suppress(UnavailableError):  # the attempt tells
            return self.config.url.read().strip().lower().startswith(INCIDENTS)
        return False

    def hurry(self) -> None:
        """Make the next attempt at once."""
        self._hurried.set()

    async def deliver(self, message: Message, at: float) -> None:
        """Try until it is taken, hopeless or no news any more.

        Args:
            message: what to send.
            at: when it was queued, a monotonic moment.
        """
        self._hurried.clear()
        self._spared = 0

        def stale() -> bool:
            return time.monotonic() - at > STALE

        if stale():
            self.drop(message, "too old")
            return
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(_may_pass),
            stop=lambda attempt: attempt.attempt_number - self._spared >= ATTEMPTS or self.last or stale(),
            wait=_backoff,
            sleep=self._wait,
            reraise=True,
        )
        try:
            await retrying(self._attempt, message)
        except (ChannelError, UnavailableError) as error:
            self.count(failed=1)
            self._lost(message, str(error))

    def drop(self, message: Message, why: str) -> None:
        """Give a message up without an attempt."""
        self.count(dropped=1)
        self._lost(message, why)

    def count(self, **more: int) -> None:
        """Count what happened to messages, or notices."""
        counts = {name: getattr(self.state, name) + number for name, number in more.items()}
        self.state = replace(self.state, **counts)

    async def _attempt(self, message: Message) -> None:
        config = self.config
        try:
            await self._send.send(
                config.url.read().strip(),
                title=message.title,
                body=message.body,
                kind=kind(message),
                key=message.notices[0].alert.id if len(message.notices) == 1 else None,
                timeout=config.timeout.total_seconds(),
            )
        except (ChannelError, UnavailableError) as error:
            self._fails(str(error))
            raise
        self.count(sent=1)
        self._log.debug("alert.sent", channel=config.name, title=message.title)
        if not self.state.ok:
            self.state = replace(self.state, since=None, reason=None)
            self._log.info("channel.recovered", channel=config.name)

    def _fails(self, reason: str) -> None:
        if self.state.ok:
            self.state = replace(self.state, since=datetime.now(UTC))
            self._log.warning("channel.failed", channel=self.config.name, reason=reason)
        self.state = replace(self.state, reason=reason)

    def _lost(self, message: Message, why: str) -> None:
        self._log.warning("alert.lost", channel=self.config.name, title=message.title, reason=why)

    async def _wait(self, seconds: float) -> None:
        """Sleep until the next attempt, unless it is due at once: that one then costs none of the others."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hurried.wait()
                self._spared += 1
        self._hurried.clear()


def _may_pass(error: BaseException) -> bool:
    """Whether another attempt may go better."""
    return isinstance(error, UnavailableError) or (isinstance(error, ChannelError) and not error.permanent)


def _backoff(attempt: tenacity.RetryCallState) -> float:
    wait = tenacity.wait_exponential(multiplier=2.0, max=LONGEST_WAIT)(attempt)
    return jittered(wait, 0.75, 1.25)
