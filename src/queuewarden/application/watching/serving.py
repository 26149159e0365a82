"""Serving: the HTTP server as it is configured just now, if at all; its libraries are imported only then."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from queuewarden.application.http.server import Server
    from queuewarden.application.watching.station import Station
    from queuewarden.settings.configuration import HttpConfig


class Serving:
    """Keeps a station's server as it is wanted. Nothing here raises, or makes a guard wait."""

    def __init__(self, station: Station) -> None:
        self._station = station
        self._server: Server | None = None
        self._wanted: HttpConfig | None = None
        self._turning: asyncio.Task[None] | None = None

    def reconfigure(self, config: HttpConfig | None) -> None:
        """Serve as configured, None meaning not at all; a server that is right already is left alone."""
        self._wanted = config
        if self._turning is None or self._turning.done():
            self._turning = asyncio.create_task(self._turn(), name="http")

    async def close(self) -> None:
        """Serve no more; takes little more than a second."""
        self.reconfigure(None)
        if self._turning is not None:
            await self._turning

    async def _turn(self) -> None:
        try:
            while self._config != self._wanted:
                await self._replace(self._wanted)
        except Exception:  # noqa: BLE001 -- whatever fails here ends here
            structlog.get_logger().exception("http.failed", reason="a mistake of the daemon's")

    @property
    def _config(self) -> HttpConfig | None:
        return self._server.config if self._server is not None else None

    async def _replace(self, config: HttpConfig | None) -> None:
        server, self._server = self._server, None
        if server is not None:
            await server.close()
        if config is not None:
            from queuewarden.application.http.server import Server

            self._server = Server(config, self._station)
            self._server.start()
