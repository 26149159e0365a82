"""Work of a command that tidies up when a person, a service manager or a terminal that closes ends it."""

from __future__ import annotations

import asyncio
import signal
import threading
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run it to its end; a signal cancels it, once: another one does not cut short how it tidies up.

    Raises:
        SystemExit: a signal ended it; the code says which one, as shells do: none that means something else.
    """
    ended: list[int] = []

    async def until_ended() -> T:
        task, loop = asyncio.ensure_future(work), asyncio.get_running_loop()

        def end(number: int) -> None:
            if not ended:
                task.cancel()
            ended.append(number)

        for number in _SIGNALS if threading.current_thread() is threading.main_thread() else ():
            if signal.getsignal(number) is not signal.SIG_IGN:  # by nohup, or a shell's job in the background
                loop.add_signal_handler(number, end, number)
        return await task

    try:
        return asyncio.run(until_ended())
    except asyncio.CancelledError:
        if not ended:
            raise
        raise SystemExit(128 + ended[0]) from None
