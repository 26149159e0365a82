"""A report for a terminal, as wide as that is."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, NamedTuple

from queuewarden.application.upkeep.report_views.words import (
    available,
    grows,
    jobs,
    measured,
    reaches,
    worst_words,
)
from queuewarden.engine.upkeep.report.wording import UNKNOWN, moment, number, percent, span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from queuewarden.engine.upkeep.report.values import Growth, QueueFigures, Report, Step, WorstHour

_BARS = "▁▂▃▄▅▆▇█"
_GAP = "·"
_NARROWEST = 60
_LONGEST = 60
"""Steps that a line of bars shows."""


class Line(NamedTuple):
    """One line, and how it is printed."""

    text: str
    colour: str | None = None
    bold: bool = False


class Column(NamedTuple):
    """A column of a table.

    Attributes:
        rank: where there is no room, those of the highest rank are left out first.
        right: numbers stand at the right.
    """

    head: str
    cells: list[str]
    rank: int = 0
    right: bool = True


def lines(report: Report, width: int) -> Iterator[Line]:
    """The whole report; no line is wider than `width`, where that is 60 or more."""
    width = max(width, _NARROWEST)
    for line in _lines(report, width):
        yield line._replace(text=_cut(line.text, width))


def _lines(report: Report, width: int) -> Iterator[Line]:
    frame = report.frame
    yield Line(
        f"{frame.environment}: {frame.period}, {moment(frame.since)} to {moment(frame.until)} UTC", bold=True
    )
    share = report.availability.share
    colour = None if share is None else "green" if share >= 0.999 else "red"  # noqa: PLR2004 -- three nines
    for words in _wrapped(available(report), width, ""):
        yield Line(f"  {words}", colour)
    yield Line(f"  {jobs(report)}")
    yield from _charts(report.steps, width)
    for title, part in (
        ("Recommended", _recommended(report, width)),
        ("Queues", _queues(report.queues, width)),
        ("Repaired", _repaired(report, width)),
        ("Errors", _errors(report, width)),
        ("Hours that stand out", _worst(report.worst)),
        ("Growth", _growing(report.growth, width)),
        (
            "Notes",
            (Line(f"  {part}", "yellow") for note in _notes(report) for part in _wrapped(note, width, "")),
        ),
    ):
        found = list(part)
        if found:
            yield Line("")
            yield Line(title, bold=True)
            yield from found


def _charts(steps: Sequence[Step], width: int) -> Iterator[Line]:
    room = min(len(steps), width - 16, _LONGEST)
    if room < 1:
        return
    up = [None if one.up + one.down <= 0 else one.up / (one.up + one.down) for one in steps]
    rows: tuple[tuple[str, list[float | None]], ...] = (
        ("up", up),
        ("done/h", [one.done_per_hour for one in steps]),
        ("failed/h", [one.failed_per_hour for one in steps]),
        ("waiting", [one.waiting for one in steps]),
        ("repaired", [one.repaired for one in steps]),
    )
    for name, values in rows:
        known = [value for value in values if value is not None]
        if any(known):
            most = "" if name == "up" else f" {number(max(known))}"
            yield Line(f"  {name:9} {spark(values, room, share=name == 'up')}{most}")


def spark(values: Sequence[float | None], room: int, *, share: bool = False) -> str:
    """Values as a line of bars; a dot is unknown. Of those that share a bar the highest is shown.

    Args:
        values: none below 0.
        room: bars at most.
        share: they are shares of something good: bars end at 1, and the lowest is shown.
    """
    if not values:
        return ""
    room = min(room, len(values))
    cells: list[list[float]] = [[] for _ in range(room)]
    for place, value in enumerate(values):
        if value is not None:
            cells[place * room // len(values)].append(value)
    highest = 1.0 if share else max((max(cell) for cell in cells if cell), default=0.0)
    return "".join(_bar((min if share else max)(cell), highest) if cell else _GAP for cell in cells)


def _bar(value: float, highest: float) -> str:
    if highest <= 0 or value <= 0:
        return _BARS[0]
    return _BARS[min(len(_BARS) - 1, max(1, int(value / highest * (len(_BARS) - 1))))]


def _queues(queues: Sequence[QueueFigures], width: int) -> Iterator[Line]:
    if not queues:
        return
    spread = min(24, max(8, (width - 80) // 3))
    columns = [
        _column(queues, "queue", lambda one: one.queue, right=False),
        _column(queues, "done", lambda one: number(one.done)),
        _column(queues, "failed", lambda one: number(one.failed)),
        _column(queues, "share", lambda one: percent(one.failure_rate), 4),
        _column(queues, "/h", lambda one: number(one.per_hour), 1),
        _column(queues, "came/h", lambda one: number(one.arrived_per_hour), 6),
        _column(queues, "p50", lambda one: span(one.p50), 5),
        _column(queues, "p95", lambda one: span(one.p95)),
        _column(queues, "p99", lambda one: span(one.p99), 2),
        _column(queues, "stuck after", _stuck_after, 1),
        _column(queues, "waiting", lambda one: number(one.waiting), 2),
        _column(queues, "oldest", lambda one: span(one.oldest_most), 7),
        _column(queues, "repaired", lambda one: number(one.repaired), 3),
        _column(
            queues,
            "done/h over time",
            lambda one: spark([step.done_per_hour for step in one.steps], spread),
            8,
            right=False,
        ),
    ]
    yield from table(columns, width)


def _stuck_after(one: QueueFigures) -> str:
    return span(one.thresholds.stuck_after if one.thresholds is not None else None)


def _column(
    queues: Sequence[QueueFigures],
    head: str,
    cell: Callable[[QueueFigures], str],
    rank: int = 0,
    *,
    right: bool = True,
) -> Column:
    return Column(head, ["-" if (text := cell(one)) == UNKNOWN else text for one in queues], rank, right)


def table(columns: Sequence[Column], width: int) -> Iterator[Line]:
    """Cells in columns; where there is no room, those of the highest rank are left out."""
    shown = list(columns)
    while (room := _wide(shown)) > width and any(one.rank for one in shown):
        shown.remove(max(shown, key=lambda one: one.rank))
    widths = [max(map(len, (one.head, *one.cells))) for one in shown]
    if room > width:  # the widest text gives way
        at = max(range(len(widths)), key=lambda place: (not shown[place].right, widths[place]))
        widths[at] = max(8, widths[at] - (room - width))
    for number_, row in enumerate(zip(*([one.head, *one.cells] for one in shown), strict=True)):
        cells = [
            f"{_cut(cell, length):{'>' if one.right else '<'}{length}}"
            for one, cell, length in zip(shown, row, widths, strict=True)
        ]
        yield Line(f"  {'  '.join(cells)}".rstrip(), "cyan" if number_ == 0 else None)


def _wide(columns: Sequence[Column]) -> int:
    return sum(2 + max(map(len, (one.head, *one.cells))) for one in columns)


def _repaired(report: Report, width: int) -> Iterator[Line]:
    repairs = report.repairs[:20]
    if not repairs:
        return
    yield from table(
        [
            Column("rows", [number(one.rows) for one in repairs]),
            Column("queue", [one.queue for one in repairs], right=False),
            Column("check", [one.check for one in repairs], right=False),
            Column("event", [one.event for one in repairs], 1, right=False),
            Column("reason", [one.reason for one in repairs], right=False),
        ],
        width,
    )
    if len(report.repairs) > len(repairs):
        rest = sum(one.rows for one in report.repairs[20:])
        yield Line(f"  and {number(rest)} rows for {len(report.repairs) - 20} other reasons: see --json")
    if report.totals.taken_back:
        yield Line(f"  {number(report.totals.taken_back)} rows were put back as they had been (undo)")


def _errors(report: Report, width: int) -> Iterator[Line]:
    if report.errors:
        yield from table(
            [
                Column("count", [number(one.count) for one in report.errors]),
                Column("queue", [one.queue for one in report.errors], right=False),
                Column(
                    "last",
                    [(one.last or "-")[:16].replace("T", " ") for one in report.errors],
                    1,
                    right=False,
                ),
                Column("what they say", [one.pattern for one in report.errors], right=False),
            ],
            width,
        )


def _worst(worst: Sequence[WorstHour]) -> Iterator[Line]:
    for one in worst:
        yield Line(f"  {moment(one.at)}  {worst_words(one)}{f' ({one.queue})' if one.queue else ''}")


def _growing(growth: Sequence[Growth], width: int) -> Iterator[Line]:
    if not growth:
        return
    yield from table(
        [
            Column("table", [one.table or one.queue for one in growth], right=False),
            Column("of", [one.measure for one in growth], right=False),
            Column("now", [measured(one, one.now) for one in growth]),
            Column("a month (90 %)", [grows(one) for one in growth], 2),
            Column(
                "limit", [f"{measured(one, one.limit)}, {one.limit_is}" for one in growth], 1, right=False
            ),
            Column("reached in (90 %)", [reaches(one) for one in growth], right=False),
        ],
        width,
    )


def _recommended(report: Report, width: int) -> Iterator[Line]:
    for place, one in enumerate(report.recommendations, start=1):
        where = f"{one.queue}: " if one.queue else ""
        for part in _wrapped(f"{place}. {where}{one.text}", width, "   "):
            yield Line(f"  {part}", "yellow")
        for part in _wrapped(f"because {one.reason}", width - 3, ""):
            yield Line(f"     {part}")


def _notes(report: Report) -> Iterator[str]:
    yield from report.notes
    for one in report.queues:
        for lack in one.lacks:
            yield f"{one.queue}: {lack}"


def _wrapped(text: str, width: int, indent: str) -> list[str]:
    return textwrap.wrap(text, width - 2, subsequent_indent=indent) or [""]


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
