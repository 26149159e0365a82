"""HTTP as bytes on a socket, for clients that no library would be."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from served import Served


def connect(served: Served, timeout: float = 15) -> socket.socket:
    address = urlsplit(served.url)
    assert address.hostname is not None
    return socket.create_connection((address.hostname, address.port or 0), timeout)


def rest(client: socket.socket) -> bytes:
    """All that comes until the other side ends; a reset ends it, too."""
    parts = []
    try:
        while part := client.recv(65_536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def exchange(served: Served, request: bytes) -> bytes:
    """Send these bytes; all that comes until the server closes."""
    with connect(served) as client:
        client.sendall(request)
        return rest(client)


def status(answer: bytes) -> int:
    assert answer.startswith(b"HTTP/1.1 "), answer
    return int(answer[9:12])


def error(answer: bytes) -> dict[str, Any]:
    """What the answer says is wrong."""
    found: dict[str, Any] = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
    assert len(found["id"]) == 8
    assert found["status"] == status(answer)
    return found
