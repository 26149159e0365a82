"""Ports on loopback that nobody else takes between the moment they are chosen and the one they are used."""

from __future__ import annotations

import secrets
import socket
from pathlib import Path

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST = 10_000
_FEWEST = 10_000
"""Ports to choose from, though the kernel's range begin below them all."""


def free_port() -> int:
    """A port on which nobody listens.

    The kernel gives none of these to connections, nor to listeners that take any port: only who asks for
    this very one gets it.
    """
    ephemeral = int(_RANGE.read_text().split()[0])
    while True:
        # Not `random`: property tests seed it, and processes side by side would choose the same.
        port = _LOWEST + secrets.randbelow(max(_FEWEST, ephemeral - _LOWEST))
        with socket.socket() as probe:
            # As servers do: a connection that has ended there is nobody.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
