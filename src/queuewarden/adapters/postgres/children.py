"""A program as a child: bounded in time, gone with whoever waits for it, its complaints kept short."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Final

from queuewarden.errors import UnavailableError
from queuewarden.redact import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import IO

CHUNK: Final = 1 << 20
"""Bytes of its output that are taken at once."""

_END_WITHIN: Final = 2.0
_LINES: Final = 40
_TOLD: Final = 3
_ERROR: Final = re.compile(r"(?:.*?\b(?:error|ERROR|FATAL|PANIC)\b:?\s*)+(.*)")


class FailedError(UnavailableError):
    """A program ended with an error.

    Attributes:
        code: its exit code.
        lines: what it said, a few lines at most.
    """

    def __init__(self, program: str, code: int, lines: Sequence[str]) -> None:
        self.code = code
        self.lines = tuple(lines)
        errors = list(dict.fromkeys(found[1] for line in lines if (found := _ERROR.match(line))))
        told = "; ".join((errors or list(lines))[:_TOLD]) or f"ended with {code} and said nothing"
        super().__init__(f"{program}: {redact(told, limit=500)}")


def environment(**own: str) -> dict[str, str]:
    """What a program may know: our environment without our settings, secrets among them; and what it says."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("QUEUEWARDEN_")}
    return kept | {"LC_ALL": "C"} | own


async def run(
    command: Sequence[str | Path],
    environ: Mapping[str, str],
    within: float,
    *,
    stdin: IO[bytes] | None = None,
    take: Callable[[bytes], None] | None = None,
) -> None:
    """Run a program to its end.

    It is a process group of its own, which is ended where we are cancelled, or `take` raises. If we are
    killed, it ends as soon as it writes; one that only reads goes on until it is done.

    Args:
        command: the program and its arguments.
        environ: its whole environment.
        within: seconds that it may take.
        stdin: a file that it reads.
        take: is given its output, piece by piece; None: there is none.

    Raises:
        FailedError: it ended with an error.
        UnavailableError: it could not be started, or took too long.
    """
    name = Path(command[0]).name
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL if stdin is None else stdin,
            stdout=asyncio.subprocess.DEVNULL if take is None else asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=dict(environ),
            start_new_session=True,
            limit=CHUNK,
        )
    except OSError as error:
        raise UnavailableError(f"{name} cannot be started: {error.strerror}") from None
    complaints = asyncio.create_task(_lines(process.stderr))
    try:
        async with asyncio.timeout(within):
            if take is not None and process.stdout is not None:
                while piece := await process.stdout.read(CHUNK):
                    take(piece)
            code = await process.wait()
    except TimeoutError:
        raise UnavailableError(f"{name} took longer than {within:g} s") from None
    finally:
        await _end(process)
        lines = await complaints
    if code:
        raise FailedError(name, code, lines)


async def _lines(stream: asyncio.StreamReader | None) -> list[str]:
    """The first lines that it says; the rest is read, too, lest it wait for a reader."""
    kept: list[str] = []
    rest = b""
    while stream is not None and (piece := await stream.read(CHUNK)):
        if len(kept) < _LINES:
            *lines, rest = (rest + piece).split(b"\n")
            kept += [line.decode(errors="replace") for line in lines]
            rest = rest[:CHUNK]
    return [*kept, rest.decode(errors="replace")][:_LINES] if rest else kept[:_LINES]


async def _end(process: asyncio.subprocess.Process) -> None:
    """End its whole group: politely, so that the server hears of it, then for good."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_END_WITHIN):
                await process.wait()
