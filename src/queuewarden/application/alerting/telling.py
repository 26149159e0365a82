"""Telling: the channels and the pings of one daemon, made when they are configured and not before."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from queuewarden.application.alerting.document import wall
from queuewarden.errors import ChannelError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from queuewarden.adapters.notify.courier import Courier
    from queuewarden.adapters.notify.ping import Pinger
    from queuewarden.application.alerting.own_readings import OwnReadings
    from queuewarden.application.guard import Guard
    from queuewarden.engine.alerting.notices import AlertNotice
    from queuewarden.engine.report import SweepReport
    from queuewarden.settings.configuration import ChannelConfig, Configuration
    from queuewarden.settings.secret import SecretSource

ALL = "all"
"""The name of the ping that stands for all environments."""


class Telling:
    """Tells people, and whoever watches the watcher.

    Args:
        own: is told of the dispatch, once there is one.
    """

    def __init__(self, own: OwnReadings) -> None:
        self._own = own
        self._courier: Courier | None = None
        self._pinger: Pinger | None = None
        self._ping: SecretSource | None = None
        self._look: asyncio.Task[None] | None = None
        self._good: set[str] = set()
        self._unreadable: set[str] = set()
        self._log = structlog.get_logger()

    def reconfigure(self, configuration: Configuration) -> None:
        """Take new channels and a new ping."""
        self._ping = configuration.ping
        if self._own.dispatch is not None:
            self._own.dispatch.reconfigure(configuration.channels)
        elif configuration.channels:
            from queuewarden.adapters.notify.courier import Courier
            from queuewarden.application.alerting.dispatch import Dispatch

            self._courier = Courier()
            self._own.dispatch = Dispatch(configuration.channels, self._courier)
        if self._look is not None:
            self._look.cancel()
        if configuration.channels:
            self._look = asyncio.create_task(self._check(configuration.channels), name="channels")

    def put(self, notices: Sequence[AlertNotice]) -> None:
        """Have people told; never waits."""
        if self._own.dispatch is not None:
            self._own.dispatch.put(notices, wall)

    def swept(self, guard: Guard, report: SweepReport, environments: Collection[str]) -> None:
        """Ping after a good sweep: one in which no check failed."""
        name = guard.config.name
        if any(outcome.error is not None for queue in report.queues for outcome in queue.outcomes):
            self._good.discard(name)
            return
        if guard.config.ping is not None:
            self._call(name, guard.config.ping)
        self._good.add(name)
        if self._ping is not None and self._good >= set(environments):
            self._good.clear()
            self._call(ALL, self._ping)

    def failed(self, guard: Guard) -> None:
        """A sweep failed: the round is not a good one until there is another."""
        self._good.discard(guard.config.name)

    async def close(self) -> None:
        """Send what can be sent within a second; end."""
        if self._look is not None:
            self._look.cancel()
        if self._own.dispatch is not None:
            await self._own.dispatch.close()
        if self._courier is not None:
            await self._courier.close()

    async def _check(self, channels: Sequence[ChannelConfig]) -> None:
        """A URL that nobody understands is told now, and not when the first alert cannot be sent."""
        for channel in channels:
            try:
                url = channel.url.read()
                if self._courier is not None:
                    await self._courier.check(url)
            except (ChannelError, UnavailableError) as error:
                hint = f"`queuewarden alerts test {channel.name}` tries it again"
                self._log.error("channel.rejected", channel=channel.name, reason=str(error), hint=hint)

    def _call(self, name: str, source: SecretSource) -> None:
        try:
            url = source.read().strip()
        except UnavailableError as error:
            if name not in self._unreadable:
                self._unreadable.add(name)
                self._log.warning("ping.failed", ping=name, reason=str(error))
            return
        self._unreadable.discard(name)
        if self._pinger is None:
            from queuewarden.adapters.notify.ping import Pinger

            self._pinger = Pinger(self._told)
        self._pinger.ping(name, url)

    def _told(self, name: str, why: str | None) -> None:
        if why is None:
            self._log.info("ping.recovered", ping=name)
        else:
            self._log.warning("ping.failed", ping=name, reason=why)
