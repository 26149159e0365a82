"""The sending process, as the daemon sees it: started, asked, killed."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import re
import sys
from contextvars import Context
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from queuewarden.errors import ChannelError

if TYPE_CHECKING:
    from collections.abc import Mapping

START_WITHIN = 20.0
"""Seconds that loading Apprise may take; they are not the message's own."""

END_WITHIN = 1.0
"""Seconds that a process has to end by itself."""

LATE = 1.0
"""Seconds after which an answer that the kernel should have seen to is not waited for."""

READY = 0
"""The number of the answer that nobody asked for: that it is ready."""

_KEPT = re.compile(
    r"PATH|HOME|USER|LOGNAME|LANG|LANGUAGE|LC_\w+|TZ|TMPDIR|PYTHON(PATH|HOME|UTF8|DONTWRITEBYTECODE)"
    r"|(ALL|FTP|HTTPS?|NO)_PROXY|SSL_CERT_(FILE|DIR)|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|NETRC"
    r"|LD_LIBRARY_PATH|LOCALDOMAIN|RES_OPTIONS|HOSTALIASES",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a request, and why, where it was not done."""

    ok: bool
    reason: str
    permanent: bool

    def require(self) -> None:
        """Insist on it.

        Raises:
            ChannelError: it was not done.
        """
        if not self.ok:
            raise ChannelError(self.reason, permanent=self.permanent)


class SendingProcess:
    """A process of `child`, as the daemon sees it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        if process.stdin is None or process.stdout is None:
            raise ValueError("a sending process is asked and answers through pipes")
        self._process = process
        self._to = process.stdin
        self._from = process.stdout
        self._asked: dict[int, asyncio.Future[Answer]] = {}
        self._numbers = itertools.count(1)
        self._reader = asyncio.create_task(self._read(), context=Context())

    @classmethod
    async def start(cls) -> SendingProcess:
        """Start one and wait until it is ready.

        Raises:
            ChannelError: it cannot be started, or Apprise cannot be loaded.
        """
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # no module of whatever directory the daemon was started in
                "-m",
                "queuewarden.adapters.notify.child",
                str(os.getpid()),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env=environment(os.environ),
                start_new_session=True,  # Ctrl-C in a terminal is for the daemon, which still has to send
            )
        except OSError as error:
            raise ChannelError(f"the sending process cannot be started: {error.strerror}") from None
        child = cls(process)
        try:
            (await child.hear(READY, START_WITHIN)).require()
        except BaseException:
            child.kill()
            await child.gone()
            raise
        return child

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def usable(self) -> bool:
        """Whether it still answers."""
        return not self._reader.done()

    @property
    def idle(self) -> bool:
        """Whether it has nothing to do."""
        return not self._asked

    async def ask(self, request: Mapping[str, Any], timeout: float) -> Answer:  # noqa: ASYNC109 -- see `hear`
        """Have something done; what became of it.

        Raises:
            ChannelError: no answer, though the kernel should have seen to one: kill it.
        """
        number = next(self._numbers)
        with contextlib.suppress(ConnectionError):  # the reader tells what became of it
            self._to.write(json.dumps({**request, "id": number, "timeout": timeout}).encode() + b"\n")
        return await self.hear(number, timeout + LATE)

    async def hear(self, number: int, timeout: float) -> Answer:  # noqa: ASYNC109 -- what is raised then names it
        """Wait for the answer to one request; see `ask`."""
        if not self.usable:
            raise ChannelError("the sending process ended")
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._asked[number] = answered
        try:
            async with asyncio.timeout(timeout):
                return await answered
        except TimeoutError:
            raise ChannelError(f"no answer within {timeout:g} s") from None
        finally:
            del self._asked[number]

    async def _read(self) -> None:
        """Hand out answers until it ends; then, nobody gets one any more."""
        try:
            while (line := await self._from.readline()).endswith(b"\n"):
                told = json.loads(line)
                answered = self._asked.get(told["id"])
                if answered is not None and not answered.done():
                    answered.set_result(Answer(told["ok"], told["reason"], told["permanent"]))
            why = f"the sending process ended ({await self._process.wait()})"
        except (ValueError, LookupError, TypeError, OSError):
            why = "the sending process answered nonsense"
        for answered in self._asked.values():
            if not answered.done():
                answered.set_exception(ChannelError(why))

    def kill(self) -> None:
        """End it at once."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def end(self) -> None:
        """Let it end by itself; kill it where it does not."""
        self._to.close()
        if not await self.gone():
            self.kill()
            await self.gone()

    async def gone(self) -> bool:
        """Wait until it has ended, and all that it does; not for ever, as the kernel may hold it."""
        try:
            async with asyncio.timeout(END_WITHIN):
                await self._process.wait()
                await asyncio.wait({self._reader})
        except TimeoutError:
            return False
        return True


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What a sending process may know: where it runs, and how it reaches others; none of our secrets."""
    return {name: value for name, value in environ.items() if _KEPT.fullmatch(name)}
