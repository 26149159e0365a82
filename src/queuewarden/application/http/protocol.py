"""The protocol: uvicorn's, with limits on what a client may keep us waiting for, or have us keep."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from queuewarden.application.http.gate import HEADERS
from queuewarden.application.http.problems import new_id

if TYPE_CHECKING:
    import asyncio

CONNECTIONS = 200
"""Connections at once."""

REQUEST_WITHIN = 10.0
"""Seconds in which a request must have come, its body included."""

READ_WITHIN = 10.0
"""Seconds in which a client must have read what we hold for it."""

HEAD = 32 * 1024
"""Bytes of a request's line and headers."""

PIPELINE = 16
"""Requests of one connection that wait for their turn."""

logging.getLogger("uvicorn").setLevel(logging.CRITICAL)  # the gate tells what there is to tell


class Protocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._request_timer: asyncio.TimerHandle | None = None
        self._read_timer: asyncio.TimerHandle | None = None
        self._in_head = False
        self._parsed = 0
        self._raw = 0
        self._refusal = 400

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take it, unless there are too many."""
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS:
            self._refuse(503, "too many connections")
        else:
            self._await_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget all about it."""
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        self._request_timer = self._stopped(self._request_timer)
        self._read_timer = self._stopped(self._read_timer)

    def data_received(self, data: bytes) -> None:
        """Take what a client sent, which is less than it likes to."""
        if self.cycle is None or self.cycle.response_complete:
            self._await_request()
        # Where a head begins amid these bytes is not known; those that are all of one head are counted.
        amid = self._in_head
        super().data_received(data)
        if amid and self._in_head:
            self._raw += len(data)
            if self._raw > HEAD:
                self._refuse(431, f"a request line and headers of more than {HEAD} bytes")

    def on_message_begin(self) -> None:
        """A request begins."""
        if len(self.pipeline) >= PIPELINE:
            raise ValueError("too many requests that wait")
        self._in_head, self._parsed, self._raw = True, 0, 0
        self._await_request()
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Part of the request line has come."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header has come."""
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """All headers have come."""
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is complete."""
        self._request_timer = self._stopped(self._request_timer)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """The answer is complete, though perhaps not read."""
        super().on_response_complete()
        self._await_end()

    def timeout_keep_alive_handler(self) -> None:
        """Nothing more has come."""
        super().timeout_keep_alive_handler()
        self._await_end()

    def pause_writing(self) -> None:
        """The client reads more slowly than we write."""
        super().pause_writing()
        self._await_read()

    def resume_writing(self) -> None:
        """The client has caught up."""
        super().resume_writing()
        self._read_timer = self._stopped(self._read_timer)

    def send_400_response(self, msg: str) -> None:
        """The parser, or one of the above, does not go on."""
        self._refuse(self._refusal, msg)

    def _unsupported_upgrade_warning(self) -> None:
        """Whoever asks for another protocol gets an answer in this one."""

    def _count(self, size: int) -> None:
        self._parsed += size
        if self._parsed > HEAD:
            self._refusal = 431
            raise ValueError("too large")

    def _refuse(self, status: int, message: str) -> None:
        """Answer by ourselves, where no other answer is under way, and close."""
        if self._answerable:
            fault = {"id": new_id(), "status": status, "message": message}
            body = json.dumps({"error": fault}, separators=(",", ":")).encode()
            headers = [
                *HEADERS,
                (b"cache-control", b"no-store"),
                (b"content-type", b"application/json"),
                (b"content-length", b"%d" % len(body)),
                (b"connection", b"close"),
            ]
            head = b"".join(b"%b: %b\r\n" % header for header in headers)
            self.transport.write(STATUS_LINE[status] + head + b"\r\n" + body)
        self.transport.close()
        self._await_end()

    @property
    def _answerable(self) -> bool:
        """No answer is under way, and none comes first: the request itself is not complete."""
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            return True
        return cycle.more_body and not cycle.response_started and not self.pipeline

    def _await_request(self) -> None:
        if self._request_timer is None:
            self._request_timer = self.loop.call_later(REQUEST_WITHIN, self._too_late)

    def _too_late(self) -> None:
        self._refuse(408, f"no complete request within {REQUEST_WITHIN:g} s")

    def _await_end(self) -> None:
        """A connection that is closed lives on until the client has read all, which it must do in time."""
        if self.transport.is_closing():
            self._await_read()

    def _await_read(self) -> None:
        if self._read_timer is None:
            self._read_timer = self.loop.call_later(READ_WITHIN, self.transport.abort)

    @staticmethod
    def _stopped(timer: asyncio.TimerHandle | None) -> None:
        if timer is not None:
            timer.cancel()
