"""The courier: sends messages through Apprise, in processes that last no longer than there is work."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Literal

from queuewarden.adapters.notify.process import SendingProcess
from queuewarden.errors import ChannelError

if TYPE_CHECKING:
    from collections.abc import Coroutine

Kind = Literal["info", "warning", "failure", "success"]
"""What a message is, as Apprise colours it."""

PROCESSES = 3
"""Messages that are under way at once; each takes a process, of some 50 MB."""

IDLE = 30.0
"""Seconds after which a process without work is ended."""

CHECK_WITHIN = 10.0
"""Seconds that understanding a URL may take."""


class Courier:
    """Sends; a process that hangs is killed, and holds up none of the other messages.

    Args:
        idle: seconds after which a process without work is ended.
    """

    def __init__(self, idle: float = IDLE) -> None:
        self._idle = idle
        self._places = asyncio.Semaphore(PROCESSES)
        self._all: set[SendingProcess] = set()
        self._waiting: dict[SendingProcess, asyncio.TimerHandle] = {}
        self._ends: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def pids(self) -> list[int]:
        """Its processes."""
        return [child.pid for child in self._all]

    async def send(
        self,
        url: str,
        *,
        title: str,
        body: str,
        kind: Kind,
        key: str | None = None,
        timeout: float,  # noqa: ASYNC109 -- the process is killed then, which a caller's timeout would not tell
    ) -> None:
        """Send one message; returns once the receiver has taken it.

        Args:
            url: in the grammar of Apprise.
            title: one line.
            body: plain text.
            kind: how it is coloured.
            key: what it is about, where that is one thing: a receiver that opens incidents (PagerDuty) takes
                all messages of one key for the same incident, and the good news for its end.
            timeout: seconds that the attempt may take, starting a process excepted.

        Raises:
            ChannelError: it was not taken.
        """
        request = {"do": "send", "title": title, "body": body, "kind": kind, "key": key}
        await self._ask(url, request, timeout)

    async def check(self, url: str) -> None:
        """Have the URL understood, without connecting to anything.

        Raises:
            ChannelError: Apprise does not understand it, or cannot be had.
        """
        await self._ask(url, {"do": "check"}, CHECK_WITHIN)

    async def close(self) -> None:
        """End all processes, whatever they do; nothing is sent any more."""
        self._closed = True
        for timer in self._waiting.values():
            timer.cancel()
        self._waiting.clear()
        for child in self._all:
            child.kill()
        await asyncio.gather(*(child.gone() for child in self._all), *self._ends)
        self._all.clear()

    async def _ask(self, url: str, request: dict[str, Any], timeout: float) -> None:  # noqa: ASYNC109 -- as above
        async with self._places:
            child = await self._take()
            try:
                self._require_open()
                answer = await child.ask({**request, "url": url, "timeout": timeout}, timeout)
            except BaseException:  # what it is doing now, nobody waits for
                self._drop(child)
                raise
            self._keep(child)
        answer.require()

    async def _take(self) -> SendingProcess:
        """A process without work."""
        while self._waiting:
            child, timer = self._waiting.popitem()
            timer.cancel()
            if child.usable:
                return child
            self._drop(child)
        self._require_open()
        child = await SendingProcess.start()
        self._all.add(child)
        return child

    def _require_open(self) -> None:
        if self._closed:
            raise ChannelError("nothing is sent any more: the daemon is stopping")

    def _keep(self, child: SendingProcess) -> None:
        """Have it wait for work, for a while."""
        if not self._closed:
            self._waiting[child] = asyncio.get_running_loop().call_later(self._idle, self._retire, child)

    def _retire(self, child: SendingProcess) -> None:
        del self._waiting[child]
        self._afterwards(self._ended(child))

    def _drop(self, child: SendingProcess) -> None:
        child.kill()
        self._afterwards(self._ended(child))

    async def _ended(self, child: SendingProcess) -> None:
        await child.end()
        self._all.discard(child)

    def _afterwards(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._ends.add(task)
        task.add_done_callback(self._ends.discard)
