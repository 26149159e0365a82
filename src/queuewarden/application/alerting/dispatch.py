"""The dispatch: which channel is told of what, and how each of them is."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from queuewarden.application.alerting.channel import Channel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from queuewarden.application.alerting.delivery import ChannelState, Sender
    from queuewarden.engine.alerting.notices import AlertNotice
    from queuewarden.settings.configuration import ChannelConfig

LAST_WITHIN = 1.0
"""Seconds that a daemon that stops still sends."""

FAILING = "channel_failing"
"""The default rule about a channel that cannot be reached: that channel itself is not told."""


KNOWN = 10_000
"""Alerts of which it is remembered who was told."""

_ANSWERS = frozenset({"resolved", "acknowledged"})


class Dispatch:
    """Hands notices to channels; each has a queue and a task of its own, so that none holds up another.

    Args:
        channels: whom to tell. The tasks begin with the first notice.
        send: what sends, such as `Courier`.
    """

    def __init__(self, channels: Sequence[ChannelConfig], send: Sender) -> None:
        self._send = send
        self._channels = {config.name: Channel(config, send) for config in channels}
        self._told: dict[str, dict[str, bool]] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._closed = False

    def put(self, notices: Sequence[AlertNotice], wall: Callable[[float], datetime]) -> None:
        """Have people told; never waits.

        Args:
            notices: those of one moment.
            wall: makes a monotonic moment a person's time.
        """
        if self._closed:
            return
        for name, channel in self._channels.items():
            channel.put([notice for notice in notices if self._takes(name, channel.config, notice)], wall)
        for notice in notices:
            if notice.change == "resolved":
                self._told.pop(notice.alert.id, None)
        while len(self._told) > KNOWN:
            del self._told[next(iter(self._told))]

    def states(self) -> dict[str, ChannelState]:
        """How each channel is, by its name."""
        return {name: channel.state() for name, channel in self._channels.items()}

    def reconfigure(self, channels: Sequence[ChannelConfig]) -> None:
        """Take new channels. What waits for one that stays is kept, and tried at once."""
        named = {config.name: config for config in channels}
        gone = [self._channels.pop(name) for name in list(self._channels) if name not in named]
        for channel in gone:
            task = asyncio.create_task(channel.close())
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)
        for name, config in named.items():
            known = self._channels.get(name)
            if known is None:
                self._channels[name] = Channel(config, self._send)
            else:
                known.reconfigure(config)

    def _takes(self, name: str, config: ChannelConfig, notice: AlertNotice) -> bool:
        """Whether a channel is told: of an end where it was told of the alert, whatever has changed since."""
        told = self._told.setdefault(notice.alert.id, {})
        if notice.change in _ANSWERS and name in told:
            return told[name]
        taken = takes(config, notice)
        told[name] = told.get(name, False) or taken
        return taken

    async def close(self) -> None:
        """Send what is queued, as far as that takes no longer than a second; then end."""
        self._closed = True
        channels = list(self._channels.values())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_WITHIN):
                await asyncio.gather(*(channel.drain() for channel in channels))
        await asyncio.gather(*(channel.close() for channel in channels), *self._ending)


def takes(config: ChannelConfig, notice: AlertNotice) -> bool:
    """Whether a channel is told of this.

    What ends goes wherever it was told of. What is about the daemon itself, and no environment, goes to all.
    """
    alert = notice.alert
    if notice.channels and config.name not in notice.channels:
        return False
    if config.environments and alert.about.environment and alert.about.environment not in config.environments:
        return False
    if alert.rule == FAILING and alert.about.subject == config.name:
        return False
    if notice.change == "escalated":
        return "escalated" in config.severities
    return alert.severity in config.severities or (alert.escalated and "escalated" in config.severities)
