"""Watching environments, each in a task of its own: none waits for another."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from queuewarden.application.top.fleets import Fleets
from queuewarden.application.top.gathering import Watcher

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Sequence
    from datetime import timedelta

    from queuewarden.application.top.view import View
    from queuewarden.settings.configuration import EnvironmentConfig

SHARE = 4
"""An environment is left alone for so many times as long as its last look took."""

_SHUT_WITHIN = 1.0
_END_WITHIN = 3.0


class Watch:
    """A watch.

    Args:
        places: the environments.
        queues: only these queues; None: all.
        every: time between two looks.

    Attributes:
        changed: set after each look.
        failed: set by an error that nobody expected; the end of the watch raises it.
        running: cleared while nothing shall be looked at.
    """

    def __init__(
        self, places: Sequence[EnvironmentConfig], queues: Collection[str] | None, every: timedelta
    ) -> None:
        self.every = every
        self.changed = asyncio.Event()
        self.failed = asyncio.Event()
        self.running = asyncio.Event()
        self.running.set()
        self._ended = False
        homes = {config.name: Fleets() for config in places}
        self._watchers = [Watcher(config, queues, homes) for config in places]

    @property
    def views(self) -> list[View]:
        """What is known of all environments."""
        return [watcher.view for watcher in self._watchers]

    async def once(self) -> None:
        """Look at all of them once; ends when the last has answered, or been given up."""
        tasks = [asyncio.create_task(watcher.look()) for watcher in self._watchers]
        try:
            await asyncio.wait(tasks)
        finally:
            await self._end(tasks)

    @asynccontextmanager
    async def live(self) -> AsyncIterator[None]:
        """Look at them again and again for the length of the block."""
        tasks = [asyncio.create_task(self._watch(watcher)) for watcher in self._watchers]
        try:
            yield
        finally:
            await self._end(tasks)

    async def _watch(self, watcher: Watcher) -> None:
        try:
            while True:
                await self.running.wait()
                begun = time.monotonic()
                await watcher.look()
                self.changed.set()
                if self._ended:
                    return
                took = time.monotonic() - begun
                await asyncio.sleep(max(self.every.total_seconds(), took * SHARE))
        except Exception:  # told to whoever ends the watch
            self.failed.set()
            raise

    async def _end(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        """Whoever ends the watch must not wait for a frozen server.

        Cancelling a task that waits for an answer would ask that server to cancel, and wait: its socket is
        shut instead.
        """
        self._ended = True
        for watcher, task in zip(self._watchers, tasks, strict=True):
            if not watcher.shut():
                task.cancel()
        _, left = await asyncio.wait(tasks, timeout=_SHUT_WITHIN)
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=_END_WITHIN)
        for watcher in self._watchers:
            await watcher.close()
        for task in tasks:
            if task.done() and not task.cancelled():
                task.result()
