"""One channel: what is sent there becomes messages, which wait in a queue of their own."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextvars import Context
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

import structlog

from queuewarden.application.alerting.delivery import Delivery
from queuewarden.application.alerting.messages import compose
from queuewarden.engine.alerting.caps import Cap, admit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from queuewarden.application.alerting.delivery import ChannelState, Sender
    from queuewarden.engine.alerting.notices import AlertNotice, Message
    from queuewarden.settings.configuration import ChannelConfig

GROUP_WITHIN = 2.0
"""Seconds within which what happens becomes one message; what is critical does not wait."""

QUEUE = 100
"""Messages that wait for one channel."""

HELD = 10_000
"""Alerts of which it is remembered that their beginning was held back."""

END_WITHIN = 0.5
"""Seconds that the attempt under way has to end."""

AFTER_MISTAKE = 1.0
"""Seconds of rest after a mistake of our own, which might come again at once."""

_AT_ONCE = frozenset({"fired", "escalated"})


class Channel:
    """Tells one channel, one message after the other; the task that does so begins with the first."""

    def __init__(self, config: ChannelConfig, send: Sender) -> None:
        self._delivery = Delivery(config, send)
        self._cap = Cap(config.hourly)
        self._held: dict[str, None] = {}
        self._group: list[AlertNotice] = []
        self._wall: Callable[[float], datetime] = datetime.fromtimestamp
        self._flushing: asyncio.TimerHandle | None = None
        self._queue: deque[tuple[Message, float]] = deque()
        self._busy = False
        self._come = asyncio.Event()
        self._empty = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._log = structlog.get_logger()

    @property
    def config(self) -> ChannelConfig:
        """Its configuration."""
        return self._delivery.config

    def put(self, notices: Sequence[AlertNotice], wall: Callable[[float], datetime]) -> None:
        """Have these told, as far as the cap admits them; never waits."""
        self._wall = wall
        urgent = False
        for notice in notices:
            severity = notice.alert.severity
            if notice.change == "resolved" and notice.alert.id in self._held:
                del self._held[notice.alert.id]  # nobody there has heard of it
                continue
            self._cap, admitted = admit(self._cap, severity, notice.change, time.monotonic())
            if admitted:
                self._held.pop(notice.alert.id, None)
                self._group.append(notice)
                urgent |= severity == "critical" and notice.change in _AT_ONCE
            else:
                self._hold(notice)
        if urgent:
            self._flush()
        elif self._group and self._flushing is None:
            self._flushing = asyncio.get_running_loop().call_later(GROUP_WITHIN, self._flush)

    def state(self) -> ChannelState:
        """How it is."""
        return replace(self._delivery.state, queued=len(self._queue) + self._busy)

    def reconfigure(self, config: ChannelConfig) -> None:
        """Take a new configuration, and try at once what waits for another attempt."""
        self._delivery.config = config
        self._delivery.hurry()
        self._cap = replace(self._cap, hourly=config.hourly)

    async def drain(self) -> None:
        """Try each message that is queued once more; returns when none is left."""
        self._delivery.last = True
        self._delivery.hurry()
        if self._group:
            self._flush()
        while self._queue or self._busy:
            self._empty.clear()
            await self._empty.wait()

    async def close(self) -> None:
        """End; what is still queued is not sent."""
        if self._flushing is not None:
            self._flushing.cancel()
        if unsent := self.state().queued:
            self._log.warning("alerts.unsent", channel=self.config.name, count=unsent)
        self._queue.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=END_WITHIN)

    def _hold(self, notice: AlertNotice) -> None:
        self._delivery.count(swallowed=1)
        if notice.change == "fired":
            self._held[notice.alert.id] = None
            if len(self._held) > HELD:
                del self._held[next(iter(self._held))]

    def _flush(self) -> None:
        """Queue what has gathered, as one message where the receiver takes several alerts in one."""
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        notices, self._group = self._group, []
        self._cap, swallowed = self._cap.taken()
        for part in [[notice] for notice in notices] if self._delivery.one_by_one else [notices]:
            self._enqueue(part, swallowed)
            swallowed = 0

    def _enqueue(self, notices: Sequence[AlertNotice], swallowed: int) -> None:
        try:
            message = compose(notices, self._wall, swallowed)
        except Exception:  # noqa: BLE001 -- a mistake in a text must not reach whoever put it
            self._mistaken()
            return
        self._queue.append((message, time.monotonic()))
        if len(self._queue) > QUEUE:
            self._make_room()
        self._come.set()
        if self._task is None:
            # The context of whoever puts the first notice is not that of all the others.
            self._task = asyncio.create_task(
                self._run(), name=f"channel {self.config.name}", context=Context()
            )

    def _make_room(self) -> None:
        """Drop the oldest message that is not critical, or else the oldest."""
        quiet = (at for at, (message, _) in enumerate(self._queue) if message.severity != "critical")
        at = next(quiet, 0)
        message, _ = self._queue[at]
        del self._queue[at]
        self._delivery.drop(message, f"more than {QUEUE} messages wait")

    async def _run(self) -> None:
        while True:
            try:
                await self._step()
            except Exception:  # noqa: BLE001 -- a mistake of ours costs a message, not the channel
                self._mistaken()
                await asyncio.sleep(AFTER_MISTAKE)

    async def _step(self) -> None:
        """Wait for a message, and send it."""
        await self._come.wait()
        self._busy = True
        try:
            await self._delivery.deliver(*self._queue.popleft())
        finally:
            self._busy = False
            if not self._queue:
                self._come.clear()
                self._empty.set()

    def _mistaken(self) -> None:
        self._log.exception("channel.mistake", channel=self.config.name)
        self._delivery.count(failed=1)
