"""Deadlines that a frozen server cannot stretch.

Cancelling a task that waits for psycopg sends a cancel request and waits for its answer; a server that is
frozen gives none. Shutting the socket down ends the wait as an ordinary `OperationalError`.
"""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import psycopg

from queuewarden.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from psycopg import AsyncConnection

GRACE = 1.0
"""Seconds between shutting the socket down and cancelling the task, which is the second line only."""


def shut(connection: AsyncConnection) -> None:
    """Shut a connection's socket down, so that whoever waits on it fails at once."""
    try:
        descriptor = os.dup(connection.fileno())
    except (psycopg.Error, OSError):
        return
    with socket.socket(fileno=descriptor) as duplicate:
        try:
            duplicate.shutdown(socket.SHUT_RDWR)
        except OSError:
            return


@asynccontextmanager
async def deadline(connection: AsyncConnection, seconds: float) -> AsyncIterator[None]:
    """Bound a use of the connection.

    Args:
        connection: the connection; unusable after the deadline has struck.
        seconds: how long the use may take.

    Raises:
        UnavailableError: the deadline struck.
    """
    struck = False

    def strike() -> None:
        nonlocal struck
        struck = True
        shut(connection)

    timer = asyncio.get_running_loop().call_later(seconds, strike)
    try:
        async with asyncio.timeout(seconds + GRACE):
            yield
    except (psycopg.Error, TimeoutError) as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            # psycopg reports what its own cancel request led to, and forgets who asked for it.
            raise asyncio.CancelledError from error
        if struck:
            raise UnavailableError(f"no answer within {seconds:g} s") from error
        raise
    finally:
        timer.cancel()
