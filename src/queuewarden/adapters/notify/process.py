"""One sending process, as the daemon sees it: started, asked, killed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from queuewarden.errors import ChannelError

if TYPE_CHECKING:
    from collections.abc import Mapping

START_WITHIN = 20.0
"""Seconds that loading Apprise may take; they are not the message's own."""

END_WITHIN = 1.0
"""Seconds that a process has to end by itself."""

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
    """A process of `child`; it does one thing at a time."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        if process.stdin is None or process.stdout is None:
            raise ValueError("a sending process is asked and answers through pipes")
        self._process = process
        self._to = process.stdin
        self._from = process.stdout

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
            (await child.hear(START_WITHIN)).require()
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
        """Whether it still runs."""
        return self._process.returncode is None

    async def ask(self, request: Mapping[str, Any], timeout: float) -> Answer:  # noqa: ASYNC109 -- see `hear`
        """Have something done; what became of it.

        Raises:
            ChannelError: no answer in time; the process may still be at it, so that it must be killed.
        """
        with contextlib.suppress(ConnectionError):  # reading tells what became of it
            self._to.write(json.dumps(request).encode() + b"\n")
        return await self.hear(timeout)

    async def hear(self, timeout: float) -> Answer:  # noqa: ASYNC109 -- what is raised then names it
        """Wait for its next answer; see `ask`."""
        try:
            async with asyncio.timeout(timeout):
                line = await self._from.readline()
                if not line.endswith(b"\n"):
                    raise ChannelError(f"the sending process ended ({await self._process.wait()})")
        except TimeoutError:
            raise ChannelError(f"no answer within {timeout:g} s") from None
        try:
            answer = json.loads(line)
            return Answer(answer["ok"] is True, str(answer["reason"]), answer["permanent"] is True)
        except (ValueError, LookupError, TypeError):
            raise ChannelError("the sending process answered nonsense") from None

    def kill(self) -> None:
        """End it at once."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def end(self) -> None:
        """Let it end by itself; kill it where it does not."""
        self._to.close()
        try:
            async with asyncio.timeout(END_WITHIN):
                await self._process.wait()
        except TimeoutError:
            self.kill()
            await self.gone()

    async def gone(self) -> None:
        """Wait until it has ended, though not for one that the kernel holds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_WITHIN):
                await self._process.wait()


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What a sending process may know: where it runs, and how it reaches others; none of our secrets."""
    return {name: value for name, value in environ.items() if _KEPT.fullmatch(name)}
