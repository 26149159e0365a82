"""The HTTP API of guards that run in a thread of the test's own process, and a client for it."""

from __future__ import annotations

import asyncio
import http.client
import json
import math
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from eventually import eventually

from queuewarden.application.guard import Guard
from queuewarden.application.http.server import Server
from queuewarden.application.watching.station import Station
from queuewarden.settings.load import load

if TYPE_CHECKING:
    from collections.abc import Mapping

READ = "read-token-of-the-tests"
WRITE = "write-token-of-the-tests"
SETTINGS = {
    "HTTP": "127.0.0.1:9753",
    "HTTP_READ_TOKEN": READ,
    "HTTP_WRITE_TOKEN": WRITE,
    "HTTP_RATE": "10000",
    "INTERVAL": "1h",
    "DEAD_AFTER": "1s",
    "CONNECT_TIMEOUT": "2s",
}
"""Guards that sweep once, and then only when they are woken."""


def _told(guard: Guard) -> bool:
    """Its first sweep is over, or failed: what `sweep` awaits is another one."""
    return guard.status.state == "down" or guard.status.last_sweep is not None


class Answer:
    """What the API answered."""

    def __init__(self, status: int, headers: http.client.HTTPMessage, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Served:
    """Guards and their API, from construction until `close`.

    Args:
        settings: without their prefix; beside `SETTINGS`.
        reached: wait until each environment has answered, or failed to.
    """

    def __init__(self, settings: Mapping[str, str], *, reached: bool = True) -> None:
        given = {f"QUEUEWARDEN_{name}": value for name, value in (SETTINGS | dict(settings)).items()}
        loaded = load(given, None)
        assert loaded.http is not None
        # Any port that is free, which no configuration can ask for.
        self.configuration = replace(loaded, http=replace(loaded.http, port=0))
        self.guards: dict[str, Guard] = {}
        self.station = Station(self.configuration, self.guards)
        # Looks at the health of databases would open connections at moments of their own.
        self.station.checkups._due = {one.name: math.inf for one in loaded.environments}
        self._address: tuple[str, int] | None = None
        self._error: BaseException | None = None
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._main)
        self._thread.start()
        assert self._ready.wait(30)
        if self._error is not None:
            raise self._error
        if reached:
            eventually(lambda: all(guard.first_contact.is_set() for guard in self.guards.values()))
            eventually(lambda: all(_told(guard) for guard in self.guards.values()))
            self.station.ready = True

    def _main(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        except BaseException as error:  # noqa: BLE001 -- told by the thread that waits
            self._error = error
        finally:
            self._ready.set()
            self._loop.close()

    async def _serve(self) -> None:
        others = {one.name: one for one in self.configuration.environments}
        for name, config in others.items():
            self.guards[name] = Guard(config, others, self.station, f"tests:{name}")
        tasks = [asyncio.create_task(guard.run()) for guard in self.guards.values()]
        assert self.configuration.http is not None
        self.server = server = Server(self.configuration.http, self.station)
        server.start()
        while server.place.endswith(":0"):  # noqa: ASYNC110 -- it tells nobody
            await asyncio.sleep(0.01)
        host, _, port = server.place.rpartition(":")
        self._address = (host, int(port))
        self._ready.set()
        await self._stop.wait()
        await server.close()
        for guard in self.guards.values():
            guard.shut()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=5)
        for guard in self.guards.values():
            await guard.close()

    def close(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)
        assert not self._thread.is_alive()

    def sweep(self, name: str = "prod") -> None:
        """Have a guard sweep, and wait until it has."""
        before = self.guards[name].status.last_sweep
        self._loop.call_soon_threadsafe(self.guards[name].sweep_at_once)
        eventually(lambda: self.guards[name].status.last_sweep != before)

    @property
    def url(self) -> str:
        assert self._address is not None
        return "http://{}:{}".format(*self._address)

    def connect(self, timeout: float = 60) -> http.client.HTTPConnection:
        assert self._address is not None
        return http.client.HTTPConnection(*self._address, timeout=timeout)

    def get(self, path: str, *, token: str | None = READ, method: str = "GET", **query: Any) -> Answer:
        """Ask; parameters that are None are left out."""
        given = urlencode({name: value for name, value in query.items() if value is not None})
        headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        connection = self.connect()
        try:
            connection.request(method, f"{path}?{given}" if given else path, headers=headers)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def post(self, path: str, *, token: str | None = WRITE, **query: Any) -> Answer:
        return self.get(path, token=token, method="POST", **query)

    def json(self, path: str, **query: Any) -> Any:
        """The document of an answer that is well."""
        answer = self.get(path, **query)
        assert answer.status == 200, (answer.status, answer.body)
        return answer.json
