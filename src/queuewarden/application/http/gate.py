"""The gate that every request passes: its rate, size and time are limited, its answer counted and guarded."""

from __future__ import annotations

import asyncio
import contextlib
import time
from email.utils import formatdate
from typing import TYPE_CHECKING

import structlog
from starlette.exceptions import HTTPException

from queuewarden.application.http import problems
from queuewarden.application.http.rate import Buckets, client_of

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from queuewarden.application.http.counts import Counts

BODY = 64 * 1024
"""Bytes of a request's body."""

WITHIN = 15.0
"""Seconds that an answer may take until it is complete."""

ENDLESS = frozenset({"/api/events", "/api/export"})
"""These take as long as they take."""

LINGER = 1.0
"""Seconds for which the rest of too large a body is thrown away: who still sends does not read the answer."""

HEALTH_COST = 0.1
"""What asking for health costs of the rate: whoever asks for it must not be told that we are ill."""

_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    b" base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"content-security-policy", _POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
"""On every answer."""

_NO_STORE = (b"cache-control", b"no-store")


class Gate:
    """Middleware around all routes; see above.

    Args:
        app: what is behind it.
        rate: requests a second that one client may make.
        counts: where answers are counted.
    """

    def __init__(self, app: ASGIApp, rate: int, counts: Counts) -> None:
        self._app = app
        self._buckets = Buckets(rate)
        self._counts = counts
        self._date = (0, b"")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] == "http":
            await _Passage(self, scope, receive, send).run()

    def lacking(self, scope: Scope) -> float:
        """The seconds after which the client may ask this; 0.0: now."""
        cost = HEALTH_COST if scope["path"].startswith("/health/") else 1.0
        client = scope.get("client")
        return self._buckets.take(client_of(client[0]) if client else "", cost, time.monotonic())

    def date(self) -> bytes:
        """Today's Date header."""
        second = int(time.time())
        if second != self._date[0]:
            self._date = (second, formatdate(second, usegmt=True).encode())
        return self._date[1]

    async def behind(self, scope: Scope, receive: Receive, send: Send) -> None:
        """What is behind the gate."""
        await self._app(scope, receive, send)

    def count(self, scope: Scope, status: int, seconds: float) -> None:
        """Take note of an answer."""
        route = getattr(scope.get("route"), "path", "other")
        self._counts.take(route, status, seconds)
        structlog.get_logger().debug(
            "http.answered", method=scope["method"], route=route, status=status, seconds=round(seconds, 4)
        )


class _Passage:
    """One request on its way through the gate."""

    def __init__(self, gate: Gate, scope: Scope, receive: Receive, send: Send) -> None:
        self._gate = gate
        self._head = scope["method"] == "HEAD" and scope["path"] not in ENDLESS
        self._scope = {**scope, "method": "GET"} if self._head else scope
        self._receive = receive
        self._send = send
        self._room = BODY
        self._status = 0

    async def run(self) -> None:
        begun = time.perf_counter()
        try:
            await self._answered()
        except Exception as error:
            id_ = problems.new_id()
            structlog.get_logger().error("http.failed", id=id_, path=self._scope["path"], exc_info=error)
            if self._status:
                raise
            await self._answer(500, "a mistake of the daemon's; its log has this id", id_=id_)
        finally:
            if self._status:
                self._gate.count(self._scope, self._status, time.perf_counter() - begun)

    async def _answered(self) -> None:
        wait = self._gate.lacking(self._scope)
        if wait > 0:
            await self._answer(429, "too many requests", {"retry-after": str(int(wait) + 1)})
            return
        if self._declared() > BODY:
            self._room = -1
            await self._answer(413, f"a body of more than {BODY} bytes")
            return
        try:
            async with asyncio.timeout(None if self._scope["path"] in ENDLESS else WITHIN) as limit:
                await self._gate.behind(self._scope, self._receive_little, self._send_guarded)
        except TimeoutError:
            if not limit.expired() or self._status:
                raise
            await self._answer(504, f"no answer within {WITHIN:g} s")

    def _declared(self) -> int:
        for name, value in self._scope["headers"]:
            if name == b"content-length":
                return int(value) if value.isdigit() else 0
        return 0

    async def _answer(
        self, status: int, message: str, headers: dict[str, str] | None = None, *, id_: str | None = None
    ) -> None:
        response = problems.answer(status, message, headers, id=id_)
        await response(self._scope, self._receive, self._send_guarded)

    async def _receive_little(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._room -= len(message.get("body", b""))
            if self._room < 0:
                raise HTTPException(413)
        return message

    async def _send_guarded(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            headers = [*message.get("headers", ()), *HEADERS, (b"date", self._gate.date())]
            if not any(name == b"cache-control" for name, _ in headers):
                headers.append(_NO_STORE)
            if self._room < 0:
                headers.append((b"connection", b"close"))
            message = {**message, "headers": headers}
        elif self._head:
            message = {**message, "body": b""}
        if self._room < 0 and message["type"] == "http.response.body" and not message.get("more_body"):
            await self._send({**message, "more_body": True})
            await self._throw_away()
            message = {"type": "http.response.body", "body": b""}
        await self._send(message)

    async def _throw_away(self) -> None:
        """Let a client that sends too much get to the point where it reads the answer."""
        more = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER):
                while more:
                    more = (await self._receive()).get("more_body", False)
