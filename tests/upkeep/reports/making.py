"""Samples for reports: a database that has been watched for a while, made up."""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING

import kit

from queuewarden.engine.upkeep import sample_book
from queuewarden.engine.upkeep.samples import LENGTH, Readings, Sample, slot, start

if TYPE_CHECKING:
    from collections.abc import Sequence

    from servers import Database

HOUR, DAY = LENGTH["1h"], LENGTH["1d"]


def environment(at: int, *, up: float = 3600, down: float = 0, n: int = 120) -> Sample:
    """An hour of the environment."""
    made = Readings(n, {"up": up, "down": down, "sweeps": n})
    return Sample("", at, "1h", made)


def hour(at: int, queue: str, *, done: int = 100, failed: int = 1, waiting: float = 5) -> Sample:
    """An hour of a queue, of which everything is known."""
    made = Readings(120, dict.fromkeys(("looked_done", "looked_failed", "looked_arrived"), 3600))
    made.sums |= {"done": done, "failed": failed, "arrived": done + failed, "mended": 0, "errors": 0}
    for name, value in (("waiting", waiting), ("oldest", waiting * 10), ("workers", 3), ("size", 1e8)):
        made.note(name, value)
    for seconds, share in ((1.0, 0.9), (20.0, 0.08), (100.0, 0.02)):
        if jobs := round(done * share):
            made.count(slot(seconds), jobs)
    return Sample(queue, at, "1h", made)


def day(at: int, queue: str, *, size: float) -> Sample:
    """A day of a queue, of which only the size is known."""
    made = Readings(2880)
    made.note("size", size)
    return Sample(queue, at, "1d", made)


def month(queues: Sequence[str], length: int = 30) -> list[Sample]:
    """The last days by the hour: busy days, quiet nights, an outage and a hole."""
    until = start(time.time(), "1h")
    found = []
    for number in range(length * 24, -1, -1):
        at = until - number * HOUR
        busy = 1 + math.sin(at % DAY / DAY * 2 * math.pi)
        if number in range(100, 112):
            continue
        down = 1800.0 if number == 50 else 0.0
        found.append(environment(at, up=3600 - down, down=down))
        for place, queue in enumerate(queues):
            done = round(100 * busy) + 7 * place
            failed = 30 if number == 77 else round(2 * busy)
            found.append(hour(at, queue, done=done, failed=failed, waiting=round(20 * busy)))
    return found


def days(queue: str, slope: float = 1e6, count: int = 60) -> list[Sample]:
    """So many days, on each of which the table grew by so much, give or take a tenth."""
    today = start(time.time(), "1d")
    return [
        day(today - number * DAY, queue, size=1e8 + slope * (count - number) + slope / 10 * (-1) ** number)
        for number in range(count, 0, -1)
    ]


def write(database: Database, samples: Sequence[Sample], environment_: str = "prod") -> None:
    """Put them into the ledger."""

    async def work() -> None:
        async with kit.session(database.dsn) as session:
            for span in ("5m", "1h", "1d"):
                part = [one for one in samples if one.span == span]
                await sample_book.save(session, environment_, span, part)  # type: ignore[arg-type]

    asyncio.run(work())
