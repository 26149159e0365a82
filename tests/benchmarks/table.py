"""What was measured, as one table for people, and the machine that it was measured on."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from servers import TestServer

HEADINGS = ("what", "ours", "bare", "ratio", "goal", "met")


@dataclass(frozen=True)
class Line:
    """One measurement.

    Attributes:
        ours: what queuewarden took, with its unit.
        bare: the same work in bare SQL (or whatever ``what`` is compared with), in the same run.
        met: None where there is no goal.
    """

    what: str
    ours: str
    bare: str = ""
    ratio: float | None = None
    goal: str = ""
    met: bool | None = None

    def cells(self) -> tuple[str, ...]:
        ratio = f"{self.ratio:.2f}" if self.ratio is not None else ""
        met = {True: "yes", False: "NO", None: ""}[self.met]
        return self.what, self.ours, self.bare, ratio, self.goal, met


def compared(what: str, ours: Sequence[float], bare: Sequence[float], most: float | None = None) -> Line:
    """Medians of interleaved runs, in seconds; ``most`` is the goal: how many times as long ours may take."""
    ratio = median(ours) / median(bare)
    times = duration(median(ours)), duration(median(bare))
    if most is None:
        return Line(what, *times, ratio)
    return Line(what, *times, ratio, f"ratio ≤ {most:g}", ratio <= most)


def duration(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.1f} ms"


def machine(server: TestServer) -> str:
    """Where this was measured."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} cores of {model}, {memory:.0f} GB; {platform.system()} {platform.release()};"
        f" Python {platform.python_version()}; {server.source}"
    )


def rendered(lines: Sequence[Line]) -> str:
    """A Markdown table that is a table in a terminal, too."""
    rows = [HEADINGS, *(line.cells() for line in lines)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    padded = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows]
    drawn = ["| " + " | ".join(row) + " |" for row in padded]
    drawn.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(drawn)


def tell(text: str) -> None:
    """Say what is going on: building ten million rows takes a while."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201 -- what it is for
