"""Threads that nobody waits for."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")


class UnawaitedThreads(ThreadPoolExecutor):
    """A thread for each call, not joined at the end of the process.

    The event loop resolves names in its default executor, where a name server that does not answer holds a
    thread for half a minute: with the usual executor a few of them hold up all others, and the end.
    """

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call the function in a thread of its own."""
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()

        def call() -> None:
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001 -- it belongs to whoever awaits the future
                future.set_exception(error)

        threading.Thread(target=call, daemon=True).start()
        return future
