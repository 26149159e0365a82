"""Receivers of messages on loopback, good and bad: SMTP and HTTP servers, and sockets that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import threading
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from aiosmtpd.controller import Controller
from ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from email.message import EmailMessage


@dataclass
class Mailbox:
    """What an SMTP server got; `answers` are given to one DATA after the other, the last one for ever."""

    answers: list[str] = field(default_factory=lambda: ["250 taken"])
    mails: list[EmailMessage] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    port: int = 0

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 -- aiosmtpd's
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer.startswith("250"):
            self.mails.append(message_from_bytes(envelope.content, policy=policy.default))
            self.recipients += envelope.rcpt_tos
        return answer

    def url(self, query: str = "from=guard@example.com&to=ops@example.com") -> str:
        return f"mailto://127.0.0.1:{self.port}?{query}"


@contextlib.contextmanager
def smtp(*answers: str) -> Iterator[Mailbox]:
    """An SMTP server."""
    mailbox = Mailbox(list(answers) or ["250 taken"], port=free_port())
    controller = Controller(mailbox, hostname="127.0.0.1", port=mailbox.port)
    controller.start()
    try:
        yield mailbox
    finally:
        controller.stop()


@dataclass
class Web:
    """What an HTTP server got; `answers` are status codes for one request after the other, the last for ever.

    Attributes:
        hold: while it is set to an event, answers wait for that.
        location: where to redirect to.
    """

    answers: list[int]
    bodies: list[Any] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    agents: list[str] = field(default_factory=list)
    location: str = ""
    port: int = 0
    came: threading.Event = field(default_factory=threading.Event)
    hold: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.hold.set()

    def take(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        self.bodies.append(json.loads(body) if body else None)
        self.paths.append(handler.path)
        self.agents.append(handler.headers.get("User-Agent", ""))
        self.came.set()
        self.hold.wait(30)
        status = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        with contextlib.suppress(ConnectionError):
            handler.send_response(status)
            if self.location:
                handler.send_header("Location", self.location)
            handler.send_header("Content-Length", "2")
            handler.end_headers()
            handler.wfile.write(b"ok")

    def url(self, path: str = "/") -> str:
        return f"json://127.0.0.1:{self.port}{path}"


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


@contextlib.contextmanager
def web(*answers: int) -> Iterator[Web]:
    """An HTTP server."""
    known = Web(list(answers) or [200])

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            known.take(self)

        def do_GET(self) -> None:
            known.take(self)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- as the base class has it
            pass

    server = _Server(("127.0.0.1", 0), Handler)
    known.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield known
    finally:
        known.hold.set()
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def _listening(treat: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server that treats each connection in some way; its port."""
    kept = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    kept.append(connection)
                    treat(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in kept:
                connection.close()


def silent(called: Callable[[], None] = lambda: None) -> contextlib.AbstractContextManager[int]:
    """Accepts, tells us, and never says a word."""
    return _listening(lambda _: called())


def half_closed() -> contextlib.AbstractContextManager[int]:
    """Accepts, ends its own side of the connection, and keeps the other open."""
    return _listening(lambda connection: connection.shutdown(socket.SHUT_WR))


def resetting() -> contextlib.AbstractContextManager[int]:
    """Accepts, and resets the connection."""

    def reset(connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()

    return _listening(reset)


async def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait, within an event loop, for what another process or thread does."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 -- nobody there sets an event of ours
            await asyncio.sleep(0.02)
