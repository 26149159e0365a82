"""The certificate that a server shows to whoever asks for TLS.

libpq does not hand out the certificate of its own connection. So a second one is made to the same address,
up to the handshake and no further: nothing is sent that could be a password, and nothing is verified, since
a certificate that has run out is just what is to be seen. Behind a pooler it is the pooler's.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from psycopg import AsyncConnection

_REQUEST = (8).to_bytes(4) + (80_877_103).to_bytes(4)
"""The protocol's SSLRequest."""

_VERSION, _UTC_TIME = 0xA0, 0x17
_LONG, _CENTURY = 0x80, 50


@dataclass(frozen=True, slots=True)
class Certificate:
    """From when and until when it holds."""

    begins: datetime
    ends: datetime


async def certificate(connection: AsyncConnection, seconds: float) -> Certificate | None:
    """That of the server that a connection with TLS leads to; None where it cannot be had.

    Args:
        connection: tells the address; nothing is sent on it.
        seconds: how long it may take.
    """
    if connection.closed or not connection.pgconn.ssl_in_use:
        return None
    name = connection.info.host or connection.info.hostaddr
    address = connection.info.hostaddr or name
    try:
        async with asyncio.timeout(seconds):
            shown = await _shown(address, connection.info.port, name)
        return validity(shown)
    except (OSError, TimeoutError, ValueError, IndexError, asyncio.IncompleteReadError):
        return None


async def _shown(address: str, port: int, name: str) -> bytes:
    reader, writer = await asyncio.open_connection(address, port)
    try:
        writer.write(_REQUEST)
        if await reader.readexactly(1) != b"S":
            raise OSError("no TLS")
        anything = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        anything.check_hostname, anything.verify_mode = False, ssl.CERT_NONE
        await writer.start_tls(anything, server_hostname=name)
        shown: bytes | None = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        return shown or b""
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def validity(der: bytes) -> Certificate:
    """The times of a certificate (X.509, DER: RFC 5280, 4.1).

    Raises:
        ValueError, IndexError: it is none.
    """
    fields = _children(_children(der)[0][1])
    tagged = _children(fields[0][1])
    # version (optional), serial number, signature, issuer, validity
    times = tagged[4 if tagged[0][0] == _VERSION else 3]
    begins, ends = (_time(tag, content) for tag, content in _children(times[1]))
    return Certificate(begins, ends)


def _children(data: bytes) -> list[tuple[int, bytes]]:
    """The elements that follow each other in some bytes: tag and content."""
    found, at = [], 0
    while at < len(data):
        tag, length, at = data[at], data[at + 1], at + 2
        if length & _LONG:
            more = length & ~_LONG
            length, at = int.from_bytes(data[at : at + more]), at + more
        if at + length > len(data):
            raise ValueError("cut off")
        found.append((tag, data[at : at + length]))
        at += length
    return found


def _time(tag: int, content: bytes) -> datetime:
    text = content.decode("ascii")
    if tag == _UTC_TIME:
        text = ("19" if int(text[:2]) >= _CENTURY else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
