"""`/api/events`: what happens, as server-sent events, for as long as the client listens."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import cast

from fastapi import APIRouter, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from queuewarden.application.http import problems
from queuewarden.application.http.access import Access, Reader, StationOf
from queuewarden.application.http.answers import encoded
from queuewarden.application.http.overview import overview
from queuewarden.application.http.problems import Problem
from queuewarden.application.watching.bulletin import RESYNC, Event, Listener
from queuewarden.application.watching.station import Station

LISTENERS = 100
"""Listeners at once."""

KEEP_ALIVE = 15.0
"""Seconds of silence after which a comment is sent, so that nobody takes the connection for dead."""

RETRY = 2000
"""Milliseconds until a client that lost us tries again."""

_HEAD = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no")]

router = APIRouter()


@dataclass(slots=True)
class Streams:
    """The streams of one app."""

    open: set[Listener] = field(default_factory=set)
    ended: bool = False

    def end(self) -> None:
        """Have each of them come to its end at once."""
        self.ended = True
        for listener in self.open:
            listener.put(RESYNC)


class Stream(Response):
    """An answer that goes on until the client leaves or the server closes."""

    def __init__(self, station: Station, request: Request) -> None:
        super().__init__()
        self._station = station
        self._request = request
        self._streams = cast("Streams", request.app.state.streams)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        if len(self._streams.open) >= LISTENERS or self._streams.ended:
            refusal = problems.answer(503, f"{LISTENERS} listeners at once are enough", {"retry-after": "10"})
            await refusal(scope, receive, send)
            return
        with self._station.bulletin.listen() as listener:
            self._streams.open.add(listener)
            leaving = asyncio.create_task(_left(receive, listener))
            try:
                await self._send(listener, leaving, send)
            finally:
                self._streams.open.discard(listener)
                leaving.cancel()

    async def _send(self, listener: Listener, leaving: asyncio.Task[None], send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": _HEAD})
        hello = Event("hello", encoded(overview(self._station)).decode())
        text = f"retry: {RETRY}\n\n{_text([hello])}"
        while not leaving.done() and not self._streams.ended and self._may_listen():
            await send({"type": "http.response.body", "body": text.encode(), "more_body": True})
            text = _text(await listener.next(KEEP_ALIVE)) or ": keep-alive\n\n"
        await send({"type": "http.response.body", "body": b""})

    def _may_listen(self) -> bool:
        """Whether its token still is one: who exchanges it wants nobody with the old one to hear more."""
        try:
            cast("Access", self._request.app.state.access).reader(self._request)
        except Problem:
            return False
        return True


async def _left(receive: Receive, listener: Listener) -> None:
    """Wait until the client leaves; then wake whoever waits for news."""
    while (await receive())["type"] != "http.disconnect":
        pass
    listener.put(RESYNC)


def _text(events: Iterable[Event]) -> str:
    """Events as the client reads them; their data is JSON, which has no line ends of its own."""
    return "".join(f"event: {event.kind}\ndata: {event.data}\n\n" for event in events)


@router.get(
    "/api/events",
    summary="What happens, as server-sent events.",
    response_class=Response,
    responses={
        200: {
            "description": "Kinds: hello (as /api/status), environment, repair, alert; resync: look anew.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        },
        **problems.documented(503),
    },
)
async def events(_: Reader, station: StationOf, request: Request) -> Response:
    """First `hello` with the document of `/api/status`, then each event as it happens."""
    return Stream(station, request)
