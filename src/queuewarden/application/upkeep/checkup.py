"""A checkup: one look at the health of an environment's database, on a connection of its own.

Short timeouts of its own, read-only transactions, and nothing that a sweep would wait for.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING

from queuewarden.adapters.db.certificate import certificate
from queuewarden.adapters.db.connect import connect
from queuewarden.adapters.db.disk import disk
from queuewarden.adapters.db.session import Session
from queuewarden.engine.upkeep.health.examine import examine
from queuewarden.engine.upkeep.health.signs import Health, Sign, Told, Where, together
from queuewarden.engine.upkeep.health.wording import percent, size, span

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from psycopg import AsyncConnection

    from queuewarden.engine.upkeep.health.signs import Server
    from queuewarden.queues.target import Target
    from queuewarden.settings.configuration import EnvironmentConfig

TIMEOUT = timedelta(seconds=2)
"""For each question, and for the handshake that shows a certificate."""

_BIGGEST = (
    "SELECT relname, pg_size_pretty(pg_total_relation_size(oid)) FROM pg_class WHERE relkind IN ('r', 'm')"
    " ORDER BY pg_total_relation_size(oid) DESC LIMIT 10;"
)


async def checkup(
    config: EnvironmentConfig,
    targets: Sequence[Target],
    opened: Callable[[Session], None] = lambda _: None,
) -> Health:
    """Look.

    Args:
        config: the environment.
        targets: its queues, resolved.
        opened: told of the session, which may have to be shut.

    Raises:
        UnavailableError, psycopg.Error: the database cannot be reached, or was lost.
    """
    begun = time.monotonic()
    connection = await connect(
        config.dsn.read(),
        application_name="queuewarden/health",
        connect_timeout=config.limits.connect_timeout,
        statement_timeout=TIMEOUT,
    )
    connected = time.monotonic() - begun
    session = Session(
        connection, statement_timeout=TIMEOUT, lock_timeout=min(config.limits.lock_timeout, TIMEOUT)
    )
    opened(session)
    try:
        ward, health = await examine(session, targets)
        around: list[tuple[Told, frozenset[str]]] = [
            (_latency(connected), frozenset()),
            _encryption(connection),
            await _disk(connection, ward.server),
            await _certificate(connection),
        ]
    finally:
        await session.close()
    rest = together(around)
    return replace(
        health,
        signs=health.signs + rest.signs,
        readings={**health.readings, **rest.readings},
        figures={**health.figures, **rest.figures},
        unseen=health.unseen + rest.unseen,
        settled=health.settled | rest.settled,
        seconds=time.monotonic() - begun,
    )


def _latency(seconds: float) -> Told:
    """Connecting, judged as the round trip of a sweep is."""
    text = f"connecting took {span(seconds)}"
    return Told((Sign(Where("probe_seconds"), seconds, text),))


async def _disk(connection: AsyncConnection, server: Server) -> tuple[Told, frozenset[str]]:
    where = Where("disk_used")
    found = None
    if server.data_directory is not None:
        with contextlib.suppress(TimeoutError):  # a disk may hang
            looking = asyncio.to_thread(disk, connection, server.data_directory)
            found = await asyncio.wait_for(looking, TIMEOUT.total_seconds())
    if found is None:
        return Told(), frozenset()
    text = f"{percent(found.used)} of the disk of the server's data is used, {size(found.free)} are free"
    sign = Sign(where, found.used, text, (_BIGGEST,))
    return Told((sign,), {where: found.used}, {("server_disk_free_bytes", ""): found.free}), frozenset(
        {where.metric}
    )


def _encryption(connection: AsyncConnection) -> tuple[Told, frozenset[str]]:
    where = Where("unencrypted")
    address = connection.info.hostaddr
    bare = bool(address) and not connection.pgconn.ssl_in_use and not ip_address(address).is_loopback
    text = (
        "what we ask and what we are told crosses a network unencrypted: set sslmode=verify-full in the DSN"
    )
    sign = Sign(where, float(bare), text)
    return Told((sign,), {where: float(bare)}), frozenset({where.metric})


async def _certificate(connection: AsyncConnection) -> tuple[Told, frozenset[str]]:
    where = Where("certificate_seconds")
    found = await certificate(connection, TIMEOUT.total_seconds())
    if found is None:
        return Told(), frozenset()
    left = (found.ends - datetime.now(UTC)).total_seconds()
    ends = f"ends in {span(left)}" if left >= 0 else f"ended {span(-left)} ago"
    text = f"the server's certificate, of {found.begins:%Y-%m-%d}, {ends}, on {found.ends:%Y-%m-%d}"
    sign = Sign(where, left, text)
    figures = {("server_certificate_end_timestamp_seconds", ""): found.ends.timestamp()}
    return Told((sign,), {where: left}, figures), frozenset({where.metric})
