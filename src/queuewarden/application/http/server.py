"""The server: listens inside the daemon's own loop; whatever fails there ends there."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import TYPE_CHECKING, NamedTuple

import structlog

from queuewarden.application.http import unix_socket
from queuewarden.settings.names import variable

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi import FastAPI
    from uvicorn.server import ServerState

    from queuewarden.application.watching.station import Station
    from queuewarden.settings.configuration import HttpConfig

FIRST_WAIT, LONGEST_WAIT = 1.0, 30.0
"""Seconds between two attempts to listen: twice as many after each."""

END_WITHIN = 1.0
"""Seconds that answers under way have to come to their end."""

BACKLOG = 128
"""Connections that the kernel keeps until we take them."""

_VARIABLE = variable(("http",))
_HINTS = {
    errno.EADDRINUSE: f"somebody else listens there: end it, or choose another address in {_VARIABLE}",
    errno.EADDRNOTAVAIL: f"this machine has no such address: choose another one in {_VARIABLE}",
    errno.EACCES: "ports below 1024, and directories of others, need a right that this user has not:"
    f" choose another address in {_VARIABLE}",
    errno.ENOENT: "create the directory of the socket",
    errno.ENOTDIR: f"the socket's directory is none: choose another path in {_VARIABLE}",
}


class _Built(NamedTuple):
    """What it takes to serve."""

    app: FastAPI
    protocol: Callable[[], asyncio.Protocol]
    state: ServerState


class Server:
    """Serves the API and the page of a station at one address.

    Listening is tried for as long as it takes; meanwhile the daemon does its work.
    """

    def __init__(self, config: HttpConfig, station: Station) -> None:
        self.config = config
        self._station = station
        self._built: _Built | None = None
        self._listening: asyncio.Server | None = None
        self._task: asyncio.Task[None] | None = None
        self._log = structlog.get_logger()

    @property
    def place(self) -> str:
        """Where it listens, in words; the port is the real one where any was asked for."""
        if self.config.socket is not None:
            return f"unix:{self.config.socket}"
        port = self.config.port
        if self._listening is not None and self._listening.sockets:
            port = self._listening.sockets[0].getsockname()[1]
        host = self.config.host or ""
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    @property
    def listening(self) -> bool:
        """It listens."""
        return self._listening is not None and self._listening.is_serving()

    def start(self) -> None:
        """Begin to listen, and try for as long as it takes."""
        self._task = asyncio.create_task(self._run(), name="http")
        self._task.add_done_callback(self._ended)

    async def close(self) -> None:
        """End all answers and give the address back."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        self._stop_listening()
        if self._built is not None:
            await _end(self._built)

    async def _run(self) -> None:
        # A thread, since the libraries take their time to load, which no sweep should wait for.
        self._built = await asyncio.to_thread(_build, self._station)
        told: str | None = None
        wait = FIRST_WAIT
        while not self.listening:
            try:
                await self._listen(self._built.protocol)
            except OSError as error:
                self._stop_listening()
                reason = f"{self.place}: {error.strerror or error}"
                if reason != told:
                    self._log.error("http.failed", reason=reason, hint=_hint(error))
                told = reason
                await asyncio.sleep(wait)
                wait = min(2 * wait, LONGEST_WAIT)
        self._log.info("http.listening", address=self.place)

    async def _listen(self, protocol: Callable[[], asyncio.Protocol]) -> None:
        loop = asyncio.get_running_loop()
        # In two steps, so that whatever is cancelled in between is known, and closed.
        if self.config.socket is not None:
            self._listening = await loop.create_unix_server(
                protocol, sock=unix_socket.bound(self.config.socket), backlog=BACKLOG, start_serving=False
            )
        else:
            self._listening = await loop.create_server(
                protocol, self.config.host, self.config.port, backlog=BACKLOG, start_serving=False
            )
        await self._listening.start_serving()

    def _stop_listening(self) -> None:
        if self._listening is None:
            return
        self._listening.close()
        self._listening = None
        if self.config.socket is not None:
            unix_socket.remove(self.config.socket)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._log.error("http.failed", reason="a mistake of the daemon's", exc_info=error)


def _build(station: Station) -> _Built:
    """Load the libraries, and put together what they need."""
    from uvicorn.config import Config
    from uvicorn.server import ServerState

    from queuewarden.application.http.app import create_app
    from queuewarden.application.http.protocol import Protocol as Connection

    app = create_app(station)
    app.openapi()  # kept there, so that no request has to wait for it
    uvicorn = Config(
        app,
        http=Connection,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=15,
    )
    uvicorn.load()
    state = ServerState()
    return _Built(app, lambda: Connection(config=uvicorn, server_state=state, app_state={}), state)


async def _end(built: _Built) -> None:
    """End what is under way: first kindly, then at once."""
    built.app.state.streams.end()
    for connection in list(built.state.connections):
        connection.shutdown()
    if built.state.tasks:
        await asyncio.wait(built.state.tasks, timeout=END_WITHIN)
    for task in list(built.state.tasks):
        task.cancel()
    for connection in list(built.state.connections):
        connection.transport.abort()


def _hint(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return f"this name leads to no address: choose another one in {_VARIABLE}"
    return _HINTS.get(error.errno or 0, f"choose another address in {_VARIABLE}")
