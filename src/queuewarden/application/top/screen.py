"""The screen: frames on the terminal's other page, until a key or a signal ends it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from dataclasses import replace
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live

from queuewarden.application.top.blocks import DETAILS
from queuewarden.application.top.drawing import Wish, frame
from queuewarden.application.top.keyboard import pressed
from queuewarden.application.top.view import ORDERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from queuewarden.application.top.keyboard import Key
    from queuewarden.application.top.watch import Watch

_FASTEST = 0.1
"""Seconds between two frames at least: a hundred environments would otherwise draw as many."""

_SLOWEST = 1.0
"""Seconds between two frames at most: times that are shown go on."""

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Screen:
    """Shows a watch."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._console = Console()
        self._wish = Wish()
        self._page = 1
        self._ended = False
        self._stopped = False

    async def show(self) -> None:
        """Draw until somebody ends it."""
        with self._signals():
            while not self._ended:
                try:
                    with pressed(self._take), self._live() as live:
                        await self._draw(live)
                except OSError:  # the terminal is gone
                    return
                if self._stopped:
                    # With our handler in place the signal would come back to us.
                    os.kill(os.getpid(), signal.SIGSTOP)
                    self._stopped = False

    async def _draw(self, live: Live) -> None:
        watch = self._watch
        while not (self._ended or self._stopped or watch.failed.is_set()):
            watch.changed.clear()
            width, height = self._console.size
            drawn = frame(watch.views, self._wish, watch.every, width, height)
            self._wish, self._page = drawn.wish, drawn.page
            live.update(Group(*drawn.lines), refresh=True)
            await asyncio.sleep(_FASTEST)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(watch.changed.wait(), _SLOWEST)
        self._ended = self._ended or watch.failed.is_set()

    def _live(self) -> Live:
        return Live(console=self._console, screen=True, auto_refresh=False)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        handlers = dict.fromkeys(_ENDING, self._end) | {
            signal.SIGWINCH: self._watch.changed.set,
            signal.SIGTSTP: self._stop,
        }
        for number, handler in handlers.items():
            loop.add_signal_handler(number, handler)
        try:
            yield
        finally:
            for number in handlers:
                loop.remove_signal_handler(number)

    def _end(self) -> None:
        self._ended = True
        self._watch.changed.set()

    def _stop(self) -> None:
        self._stopped = True
        self._watch.changed.set()

    def _take(self, key: Key) -> None:
        """Do what a key asks for."""
        wish, running = self._wish, self._watch.running
        match key:
            case "quit":
                self._end()
            case "pause":
                (running.clear if running.is_set() else running.set)()
                wish = replace(wish, paused=not running.is_set())
            case "sort":
                wish = replace(wish, order=ORDERS[(ORDERS.index(wish.order) + 1) % len(ORDERS)])
            case "detail":
                levels = [None, *range(DETAILS)]
                wish = replace(wish, detail=levels[(levels.index(wish.detail) + 1) % len(levels)])
            case _:
                wish = replace(wish, offset=max(0, wish.offset + self._steps()[key]))
        self._wish = wish
        self._watch.changed.set()

    def _steps(self) -> dict[Key, int]:
        far = 1_000_000
        return {
            "up": -1,
            "down": 1,
            "page up": -self._page,
            "page down": self._page,
            "home": -far,
            "end": far,
        }
