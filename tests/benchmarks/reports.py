"""What a report costs: a month of samples of a hundred queues, against reading these samples in bare SQL."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import ledgers
from benchmarks.table import Line, duration
from upkeep.reports import making

if TYPE_CHECKING:
    from collections.abc import Iterator

    from servers import OwnServer

QUEUES = 100
AT_ONCE = 10

MOST_SECONDS, MOST_MB = 60.0, 150.0

PROGRAM = """
import asyncio, json, pathlib, re, sys, time
sys.path.insert(0, sys.argv[2])
import kit
from queuewarden.application.upkeep.gathering import gather
from queuewarden.application.upkeep.report_views.page import page

async def main():
    async with kit.session(sys.argv[1]) as session:
        begun = time.monotonic()
        made = await gather(session, "prod", [], "month")
        gathered = time.monotonic() - begun
        length = len(page({"prod": made}))
        status = pathlib.Path("/proc/self/status").read_text()
        most = int(re.search(r"VmHWM:\\s+(\\d+)", status)[1]) / 1024
        print(json.dumps([gathered, most, length, len(made.queues)]))

asyncio.run(main())
"""


def report(server: OwnServer, divisor: int) -> Iterator[Line]:
    """Seconds and memory of one report."""
    queues = max(1, QUEUES // divisor)
    with server.database(ledgers.SCHEMA) as database:
        for first in range(0, queues, AT_ONCE):
            names = [f"queue_{number}" for number in range(first, min(queues, first + AT_ONCE))]
            days = [day for name in names for day in making.days(name, count=90)]
            making.write(database, [*making.month(names), *days])
        begun = time.monotonic()
        rows = database.rows("SELECT queue, at, readings FROM queuewarden.samples WHERE span = '1h'")
        bare, count = time.monotonic() - begun, len(rows)
        del rows
        bytes_ = database.value("SELECT pg_total_relation_size('queuewarden.samples')")
        tests = str(Path(__file__).resolve().parents[1])
        ran = subprocess.run(
            [sys.executable, "-c", PROGRAM, database.dsn, tests], check=True, capture_output=True, text=True
        )
    seconds, most, length, told = json.loads(ran.stdout)
    what = f"report: a month of {told} queues, {count} samples"
    goal = f"≤ {MOST_SECONDS:g} s"
    yield Line(what, duration(seconds), duration(bare), seconds / bare, goal, seconds <= MOST_SECONDS)
    yield Line(
        "report: most memory of the process", f"{most:.0f} MB", "", None, f"≤ {MOST_MB:g} MB", most <= MOST_MB
    )
    yield Line("report: its page", f"{length / 1024:.0f} kB")
    yield Line("report: the samples, on disk", f"{bytes_ / 2**20:.0f} MB")
