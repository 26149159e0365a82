"""The courier: sends messages through Apprise, in a process that lasts no longer than there is work."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

from queuewarden.adapters.notify.process import SendingProcess
from queuewarden.errors import ChannelError

Kind = Literal["info", "warning", "failure", "success"]
"""What a message is, as Apprise colours it."""

AT_ONCE = 4
"""Messages that are under way at once; each takes some 7 MB."""

IDLE = 30.0
"""Seconds after which the process is ended, where there is no work; it takes some 40 MB."""

CHECK_WITHIN = 10.0
"""Seconds that understanding a URL may take."""


class Courier:
    """Sends; what hangs is killed, and holds up none of the other messages.

    Args:
        idle: seconds after which the process is ended, where there is no work.
    """

    def __init__(self, idle: float = IDLE) -> None:
        self._idle = idle
        self._places = asyncio.Semaphore(AT_ONCE)
        self._starting = asyncio.Lock()
        self._process: SendingProcess | None = None
        self._retiring: asyncio.TimerHandle | None = None
        self._ends: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def pid(self) -> int | None:
        """The sending process, while there is one."""
        return self._process.pid if self._process is not None else None

    async def send(
        self,
        url: str,
        *,
        title: str,
        body: str,
        kind: Kind,
        key: str | None = None,
        timeout: float,  # noqa: ASYNC109 -- the attempt is killed then, which a caller's timeout would not do
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
        """End the process, whatever it does; nothing is sent any more."""
        self._closed = True
        if self._process is not None:
            self._drop(self._process)
        if self._ends:
            await asyncio.wait(self._ends)

    async def _ask(self, url: str, request: dict[str, Any], timeout: float) -> None:  # noqa: ASYNC109 -- as above
        async with self._places:
            process = await self._ready()
            try:
                answer = await process.ask({**request, "url": url}, timeout)
            except ChannelError:
                self._drop(process)
                raise
            finally:
                self._rest(process)
        answer.require()

    async def _ready(self) -> SendingProcess:
        """The process, started where there is none."""
        async with self._starting:
            if self._retiring is not None:
                self._retiring.cancel()
            if self._process is not None and not self._process.usable:
                self._drop(self._process)
            if self._process is None:
                self._require_open()
                self._process = await SendingProcess.start()
                self._require_open()
            return self._process

    def _require_open(self) -> None:
        if self._closed:
            if self._process is not None:
                self._drop(self._process)
            raise ChannelError("nothing is sent any more: the daemon is stopping")

    def _rest(self, process: SendingProcess) -> None:
        """End it after a while, unless there is work."""
        if process is self._process and process.idle and not self._closed:
            self._retiring = asyncio.get_running_loop().call_later(self._idle, self._retire)

    def _retire(self) -> None:
        if self._process is not None:
            task = asyncio.create_task(self._process.end())
            self._ends.add(task)
            task.add_done_callback(self._ends.discard)
            self._process = None

    def _drop(self, process: SendingProcess) -> None:
        """Kill it, and with it whatever it does."""
        process.kill()
        if process is self._process:
            self._retire()
