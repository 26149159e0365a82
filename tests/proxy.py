"""A little proxy between a client and a PostgreSQL server: TCP in front, to be cut, frozen or refused."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Self

from psycopg.conninfo import make_conninfo

if TYPE_CHECKING:
    import servers


class Proxy:
    """Passes bytes on, until it meets a marker from the client: then both connections are cut.

    Attributes:
        connections: how many it has accepted.
    """

    def __init__(self, database: servers.Database, marker: bytes | None = None) -> None:
        self._dsn = database.dsn
        with database.connect() as direct:
            self._host, self._port = direct.info.host, direct.info.port
        self._marker = marker
        self._writers: set[asyncio.StreamWriter] = set()
        self.connections = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()
        await self._server.wait_closed()

    @property
    def dsn(self) -> str:
        port = self._server.sockets[0].getsockname()[1]
        return make_conninfo(self._dsn, host="127.0.0.1", port=port, sslmode="disable", gssencmode="disable")

    def cut(self) -> None:
        """Cut all connections."""
        for writer in self._writers:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self._host.startswith("/"):
            there, back = await asyncio.open_unix_connection(f"{self._host}/.s.PGSQL.{self._port}")
        else:
            there, back = await asyncio.open_connection(self._host, self._port)
        self._writers |= {writer, back}
        returning = asyncio.create_task(self._pump(there, writer))
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                if self._marker is not None and self._marker in data:
                    break
                back.write(data)
                await back.drain()
        for end in (writer, back):
            end.close()
            with contextlib.suppress(ConnectionError):
                await end.wait_closed()
        await returning

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
