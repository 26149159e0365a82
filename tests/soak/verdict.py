"""Judging a soak: from samples of the daemon, and what its log and the fleet tell, to what was met."""

from __future__ import annotations

import itertools
import operator
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

MB = 1_000_000


@dataclass(frozen=True)
class Sample:
    """The daemon at one moment.

    Attributes:
        at: seconds since it was ready.
        resident: bytes of memory, those of files that it has mapped included.
        own: bytes that no other process and no file has.
    """

    at: float
    resident: int
    own: int
    descriptors: int
    threads: int


@dataclass(frozen=True)
class Plan:
    """How long to watch, and what is allowed.

    Attributes:
        seconds: of watching.
        settle: seconds until memory counts: by then each kind of work has been done once.
        window: seconds whose median counts, so that no single sample decides.
        growth: megabytes that memory may grow after that.
        watchdog: WATCHDOG_USEC, in seconds; a ping later than half of it is late.
        quiet: seconds that may lie between the last reset and the end, in each environment.
    """

    seconds: float
    settle: float = 60.0
    window: float = 30.0
    growth: float = 1.0
    watchdog: float = 6.0
    quiet: float = 30.0


@dataclass(frozen=True)
class Watched:
    """All that was seen.

    Attributes:
        pings: when the watchdog was pinged, in seconds as in the samples.
        resets: jobs that were put back, by environment.
        quiet: seconds from the last of them to the end, of the environment where it is longest ago.
        changes: what the ledger of each environment tells of.
        errors: what the daemon's log says went wrong, a line each.
        tally: what the fleet did.
        ended: how the daemon ended.
    """

    samples: Sequence[Sample]
    pings: Sequence[float]
    seconds: float
    resets: Mapping[str, int] = field(default_factory=dict)
    quiet: float = 0.0
    changes: Mapping[str, int] = field(default_factory=dict)
    errors: Sequence[str] = ()
    tally: Mapping[str, int] = field(default_factory=dict)
    ended: int | None = 0


@dataclass(frozen=True)
class Row:
    """A line of the table; ``met`` is None where nothing is demanded."""

    what: str
    seen: str
    limit: str = ""
    met: bool | None = None


def judge(plan: Plan, watched: Watched) -> list[Row]:
    """What was seen beside what is allowed."""
    rows = [
        *_work(plan, watched),
        *_memory(plan, watched.samples, "resident", operator.attrgetter("resident")),
    ]
    rows += _memory(plan, watched.samples, "own", operator.attrgetter("own"))
    for what in ("descriptors", "threads"):
        first, highest, last = levels(plan, watched.samples, operator.attrgetter(what))
        rows.append(Row(what, f"{first:g} → {last:g}", "no growth", highest <= first))
    gap = longest_silence(watched.pings, watched.seconds)
    rows.append(
        Row(
            f"latest of {len(watched.pings)} pings",
            f"{gap:.2f} s",
            f"≤ {plan.watchdog / 2:g} s",
            gap <= plan.watchdog / 2,
        )
    )
    rows.append(Row("errors in the log", str(len(watched.errors)), "0", not watched.errors))
    rows.append(Row("exit code", str(watched.ended), "0", watched.ended == 0))
    return rows


def rendered(rows: Sequence[Row]) -> str:
    """A Markdown table that is a table in a terminal, too."""
    met = {True: "yes", False: "NO", None: ""}
    cells = [
        ("what", "seen", "limit", "met"),
        *((one.what, one.seen, one.limit, met[one.met]) for one in rows),
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    drawn = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in cells
    ]
    return "\n".join([drawn[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *drawn[1:]])


def levels(plan: Plan, samples: Sequence[Sample], of: Callable[[Sample], int]) -> tuple[float, float, float]:
    """The first, the highest and the last median of the windows after settling.

    Raises:
        ValueError: the samples do not reach over two windows: nothing can be said about growth.
    """
    counted = [one for one in samples if one.at >= plan.settle]
    whole = int((counted[-1].at - plan.settle) // plan.window) if counted else 0
    if whole < 2:
        raise ValueError(f"{whole} windows of {plan.window:g} s are too few to see growth")

    def window(one: Sample) -> int:
        """The rest at the end belongs to the last one: a sample alone would be a median."""
        return min(int((one.at - plan.settle) // plan.window), whole - 1)

    medians = [median(map(of, together)) for _, together in itertools.groupby(counted, window)]
    return medians[0], max(medians), medians[-1]


def longest_silence(pings: Sequence[float], until: float) -> float:
    """Seconds between two pings, at most; the beginning and the end count as well."""
    times = [0.0, *pings, until]
    return max(later - earlier for earlier, later in itertools.pairwise(times))


def _memory(plan: Plan, samples: Sequence[Sample], kind: str, of: Callable[[Sample], int]) -> list[Row]:
    first, highest, last = levels(plan, samples, of)
    growth = (highest - first) / MB
    return [
        Row(
            f"{kind} memory after {plan.settle:g} s, and at the end", f"{first / MB:.1f}, {last / MB:.1f} MB"
        ),
        Row(f"growth of {kind} memory", f"{growth:.2f} MB", f"< {plan.growth:g} MB", growth < plan.growth),
    ]


def _work(plan: Plan, watched: Watched) -> list[Row]:
    processed = watched.tally.get("processed", 0)
    refused = [f"{count} {name}" for name, count in watched.tally.items() if name.startswith("SQLSTATE")]
    return [
        Row("jobs processed", f"{processed:,}", "> 0", processed > 0),
        Row("workers crashed", str(watched.tally.get("crashes", 0))),
        _everywhere("jobs reset", watched.resets),
        Row(
            "from the last reset to the end",
            f"{watched.quiet:.0f} s",
            f"≤ {plan.quiet:g} s",
            watched.quiet <= plan.quiet,
        ),
        _everywhere("changes in the ledger", watched.changes),
        Row("errors that the applications met", ", ".join(refused) or "0", "0", not refused),
    ]


def _everywhere(what: str, counts: Mapping[str, int]) -> Row:
    seen = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
    return Row(what, seen, "> 0 each", min(counts.values(), default=0) > 0)
