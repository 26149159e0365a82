"""Addresses to listen at. The reader raises ValueError, and never repeats what it read."""

from __future__ import annotations

import re
from ipaddress import ip_address

from queuewarden.settings.types import path

_HIGHEST_PORT = 65_535
_SOCKET_BYTES = 107


def listen(text: str) -> str:
    """``host:port``, ``[address]:port``, or the path of a unix socket, which may begin with ``unix:``."""
    text = text.strip()
    if text.startswith(("unix:", "/")):
        socket = path(text.removeprefix("unix:"))
        if len(str(socket).encode()) > _SOCKET_BYTES:
            raise ValueError(f"the path of a socket has {_SOCKET_BYTES} bytes at most")
        return f"unix:{socket}"
    host, _, port = text.rpartition(":")
    number = int(port) if re.fullmatch(r"[0-9]{1,5}", port) else 0
    if not _is_host(host) or not 1 <= number <= _HIGHEST_PORT:
        raise ValueError("not an address such as 127.0.0.1:9753, [::1]:9753 or unix:/run/queuewarden/http")
    return f"{host}:{number}"


def _is_host(text: str) -> bool:
    """A name, an IPv4 address, or an IPv6 address in brackets."""
    if re.fullmatch(r"(?!-)[\w-]+(\.[\w-]+)*", text, re.ASCII) and not re.fullmatch(r"[0-9.]+", text):
        return True
    bracketed = text.startswith("[") and text.endswith("]")
    try:
        return ip_address(text[1:-1] if bracketed else text).version == (6 if bracketed else 4)
    except ValueError:
        return False


def loopback(host: str) -> bool:
    """Only this machine reaches it."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
