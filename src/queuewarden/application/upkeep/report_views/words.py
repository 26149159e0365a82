"""What a report says in words, wherever it is read; and the whole of it in a few, for a message."""

from __future__ import annotations

from typing import TYPE_CHECKING

from queuewarden.engine.upkeep.report.wording import (
    UNKNOWN,
    counted,
    moment,
    months,
    number,
    percent,
    size,
    span,
)

if TYPE_CHECKING:
    from queuewarden.engine.upkeep.report.values import Growth, Report, WorstHour

MESSAGE = 12
"""Lines of a message."""


def message(report: Report) -> tuple[str, str]:
    """Title and body of a message."""
    frame, totals = report.frame, report.totals
    title = f"[report] {frame.environment}: {frame.period} until {moment(frame.until)} UTC"
    body = [available(report), jobs(report)]
    if totals.repaired is not None:
        body.append(f"{counted(totals.repaired, 'row')} repaired, {number(totals.taken_back)} taken back")
    recommended = [
        f"- {f'{one.queue}: ' if one.queue else ''}{one.text} ({one.reason})"
        for one in report.recommendations
    ]
    room = MESSAGE - len(body)
    body += recommended[:room]
    if len(recommended) > room:
        body.append(f"and {len(recommended) - room} more: queuewarden report --period {frame.period}")
    if not recommended:
        body.append("nothing is recommended")
    return title, "\n".join([*body, *report.notes[:2]])


def worst_words(one: WorstHour) -> str:
    """What stands out in an hour."""
    match one.kind:
        case "down":
            return f"down for {span(one.value)}"
        case "failed":
            return f"{counted(one.value, 'job')} failed"
        case "repaired":
            return f"{counted(one.value, 'row')} repaired"
        case "waiting":
            return f"{counted(one.value, 'job')} waited"


def measured(one: Growth, value: float | None) -> str:
    """A value of what grows."""
    return size(value) if one.measure == "size" else number(value)


def grows(one: Growth) -> str:
    """By how much a month, with its bounds."""
    if one.unknown:
        return UNKNOWN
    return f"{measured(one, one.per_month)} ({measured(one, one.low)} to {measured(one, one.high)})"


def reaches(one: Growth) -> str:
    """When the limit is reached."""
    if one.unknown:
        return f"unknown: {one.unknown}"
    return months(one.months, one.months_low, one.months_high)


def available(report: Report) -> str:
    """How much of the time sweeps succeeded."""
    found = report.availability
    if found.share is None:
        return "availability unknown: there are no samples of this time"
    words = f"available {percent(found.share)} of the time that is known"
    down = f", down for {span(found.down)}" if found.down else ""
    unknown = f", nothing known of {span(found.unknown)}" if found.unknown >= 1 else ""
    return words + down + unknown


def jobs(report: Report) -> str:
    """How many jobs there were."""
    totals = report.totals
    words = [
        f"{number(value)} {word}"
        for value, word in ((totals.done, "done"), (totals.failed, "failed"), (totals.arrived, "arrived"))
        if value is not None
    ]
    return f"jobs: {', '.join(words)}" if words else "jobs: none were counted"
