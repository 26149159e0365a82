"""A daemon that sweeps real databases inside the test's own process, and what it tells Prometheus."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from daemons import QUEUE
from prometheus_client.parser import text_string_to_metric_families

from queuewarden.application.daemon import Daemon
from queuewarden.settings.load import load

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from pathlib import Path

    from queuewarden.application.watching.station import Station

Samples = dict[str, dict[tuple[tuple[str, str], ...], float]]
"""By the sample's name, without the prefix of the program, and its labels."""


def samples(text: bytes) -> Samples:
    """As Prometheus' own parser for Python reads them; each only once."""
    found: Samples = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            values = found.setdefault(sample.name.removeprefix("queuewarden_"), {})
            labels = tuple(sorted(sample.labels.items()))
            assert labels not in values, f"{sample.name} {labels} comes twice"
            values[labels] = sample.value
    return found


def value(found: Samples, name: str, **labels: str) -> float | None:
    """One of them; None where it is absent."""
    return found.get(name, {}).get(tuple(sorted(labels.items())))


@asynccontextmanager
async def watched(settings: Mapping[str, str], place: Path) -> AsyncIterator[Station]:
    """The station of a daemon that runs as long as the block lasts."""
    everything = QUEUE | {"HTTP": f"unix:{place / 'http'}", "HTTP_OPEN_READ": "true"} | dict(settings)
    prefixed = {f"QUEUEWARDEN_{name}": text for name, text in everything.items()}
    prefixed["QUEUEWARDEN_STATUS_FILE"] = str(place / "status.json")
    daemon = Daemon(load(prefixed, default_file=place / "none", credentials=place / "none"), None)
    running = asyncio.create_task(daemon.run())
    try:
        yield daemon.station
    finally:
        daemon._stop.set()
        await running


async def asked(place: Path, path: str) -> tuple[int, bytes]:
    """Status and body of an answer of the API of the daemon in that directory."""
    reader, writer = await asyncio.open_unix_connection(str(place / "http"))
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    return int(head.split()[1]), body


async def until(station: Station, condition: Callable[[Samples], bool], seconds: float = 60) -> Samples:
    """The first exposition of which a condition holds."""
    async with asyncio.timeout(seconds):
        while not condition(found := samples(station.exposition())):  # noqa: ASYNC110 -- as Prometheus asks
            await asyncio.sleep(0.05)
    return found
