"""Blocks: what is said of each environment, in one line or in several, and how counts are drawn."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from rich.text import Text

from queuewarden.application.commands.paint import safe
from queuewarden.application.status import brief

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from queuewarden.application.top.view import View
    from queuewarden.engine.longest import RunningJob
    from queuewarden.model import Counts

DETAILS = 3
"""Levels of detail: a line for each environment; its queues and what is wrong; everything."""

_BARS = "▁▂▃▄▅▆▇█"
_SHOWN = 3
"""Jobs, and repairs, that are shown of each environment."""
_LATE = timedelta(seconds=10)
_NAME = (10, 24)
_NUMBERS = (("waiting", 9), ("running", 9), ("failed", 8), ("in 1 h", 8), ("oldest", 7), ("done", 7))
_WORKERS = 10
_WIDE = 45
"""Columns that are left for three small charts rather than one."""


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns that all lines of queues share.

    Attributes:
        name: cells of the first one.
        trend: cells that are left for charts.
    """

    name: int
    trend: int

    @classmethod
    def of(cls, views: Sequence[View], width: int) -> Columns:
        """Those that fit what is to be shown."""
        names = [len(view.name) for view in views]
        names += [len(queue) + 2 for view in views for queue in view.status.counts]
        least, most = _NAME
        name = max(least, min(max(names, default=0), most))
        taken = name + sum(size for _, size in _NUMBERS) + _WORKERS + 2
        return cls(name, max(width - taken, 0))

    @property
    def charts(self) -> tuple[tuple[str, int], ...]:
        """Which counts are drawn, each in so many columns."""
        if self.trend < _WIDE:
            return (("waiting", self.trend),)
        return tuple((name, self.trend // 3 - 1) for name in ("waiting", "running", "failed"))

    def heading(self) -> Text:
        """Their titles."""
        numbers = "".join(f"{title:>{size}}" for title, size in _NUMBERS)
        charts = " ".join(f"{title:{size}}"[:size] for title, size in self.charts)
        return Text(f"{'':{self.name}}{numbers}{'workers':>{_WORKERS}}  {charts}", "reverse")

    def row(self, name: str, numbers: Sequence[str], workers: Text, rest: Text, style: str = "") -> Text:
        """One line."""
        line = Text(f"{_cut(name, self.name):{self.name}}", style)
        for number, (_, size) in zip(numbers, _NUMBERS, strict=True):
            line.append(f"{number:>{size}}", "")
        line.append(" " * max(_WORKERS - len(workers.plain), 0))
        line.append_text(workers)
        return line.append("  ").append_text(rest)

    def trends(self, history: Sequence[Counts | None]) -> Text:
        """The charts of one queue."""
        bars = (
            f"{sparkline([getattr(one, name) if one else None for one in history], size):{size}}"
            for name, size in self.charts
        )
        return Text(" ".join(bars).rstrip(), "cyan")


def sparkline(values: Sequence[int | None], width: int) -> str:
    """The last values as bars between nothing and the highest; what is unknown is a blank."""
    seen = values[-width:] if width else []
    highest = max((value for value in seen if value is not None), default=0) or 1
    return "".join(
        " " if value is None else _BARS[round(value / highest * (len(_BARS) - 1))] for value in seen
    )


def body(views: Sequence[View], detail: int, columns: Columns) -> Iterator[Text]:
    """The lines of all environments, in one of `DETAILS`."""
    for view in views:
        if detail == 0:
            yield _line(view, columns)
        else:
            yield from _block(view, columns, everything=detail == DETAILS - 1)


def _line(view: View, columns: Columns) -> Text:
    """An environment in one line."""
    if view.status.state != "up":
        return Text(f"{_cut(view.name, columns.name):{columns.name}}  ").append_text(_state(view))
    known = [one for one in view.status.counts.values() if one is not None]
    totals = view.status.totals()
    numbers = (
        *(_number(totals.get(name)) for name in ("waiting_jobs", "running_jobs", "failed_jobs")),
        _number(_total([one.failed_last_hour for one in known])),
        _span(max((one.oldest_waiting for one in known if one.oldest_waiting), default=None)),
        _span(min((one.last_finished for one in known if one.last_finished is not None), default=None)),
    )
    workers = _workers(totals.get("active_workers"), _total([one.silent_workers for one in known]))
    rest = Text("; ".join(map(_short, view.problems())), "yellow")
    for brake in view.status.brakes:
        rest = Text(f"{brake.kind} ", "magenta").append_text(rest)
    if not rest.plain and len(view.trends) == 1:
        rest = columns.trends(list(*view.trends.values()))
    return columns.row(view.name, numbers, workers, rest, "green")


def _block(view: View, columns: Columns, *, everything: bool) -> Iterator[Text]:
    """An environment with its queues, what is wrong, and what was done."""
    status = view.status
    yield _head(view)
    if status.state != "up":
        return
    for queue, counts in status.counts.items():
        yield _queue(view, queue, counts, columns)
    for problem in view.problems():
        yield Text(f"  ! {_short(problem, 300)}", "yellow")
    for brake in status.brakes:
        until = f" until {brake.until.astimezone(UTC):%d %b %H:%M} UTC" if brake.until else ""
        yield Text(f"  {brake.kind}{until}: {safe(brake.why, 200)}", "magenta")
    jobs = sorted(view.longest, key=lambda job: job.ran or timedelta(0), reverse=True)
    for job in jobs[:_SHOWN] if everything else [job for job in jobs if job.stuck][:1]:
        yield _job(job)
    if everything:
        yield from _rest(view)
        yield Text()


def _head(view: View) -> Text:
    line = Text(f"{view.name}  ", "bold").append_text(_state(view))
    if view.status.state != "up":
        return line
    if view.late > _LATE:
        line.append(f"  seen {brief(view.late)} ago", "bold yellow")
    if view.uptime is not None:
        line.append(f"  PostgreSQL {safe(view.version, 20)}, up {brief(view.uptime)}", "dim")
    return line.append_text(_lease(view))


def _rest(view: View) -> Iterator[Text]:
    """What is no hurry."""
    for queue, why in view.status.holds.items():
        if why:
            yield Text(f"  {queue}: {safe(why, 300)}", "yellow")
        elif queue in view.limits and view.limits[queue].mode == "observe":
            yield Text(f"  {queue}: only observed, as MODE says", "dim")
    for hint in view.hints:
        yield Text(f"  {safe(hint, 300)}", "dim")
    for one in view.repairs[:_SHOWN]:
        what = f"{one.count} {safe(one.event)} ({safe(one.reason)})"
        yield Text(f"  {brief(one.ago)} ago  {safe(one.queue)}: {what} by {safe(one.actor)}", "dim")


def _state(view: View) -> Text:
    status = view.status
    if status.state == "starting":
        return Text("connecting", "yellow")
    if status.state == "up":
        return Text("UP", "green")
    since = brief(datetime.now(UTC) - status.since)
    return Text(f"DOWN {since}: {safe(status.reason, 200)}", "bold red")


def _lease(view: View) -> Text:
    if view.ledger is not None:
        return Text()
    lease = view.status.lease
    if lease is None:
        return Text("  no ledger", "dim")
    if lease["holder"] is None:
        return Text("  lease free: no daemon", "yellow")
    return Text(f"  lease {safe(lease['holder'])}, epoch {lease['epoch']}")


def _queue(view: View, queue: str, counts: Counts | None, columns: Columns) -> Text:
    if counts is None:
        return columns.row(f"  {queue}", ["?"] * len(_NUMBERS), Text("?"), Text())
    numbers = (
        _number(counts.waiting),
        _number(counts.running),
        _number(counts.failed),
        _number(counts.failed_last_hour),
        _span(counts.oldest_waiting),
        _span(counts.last_finished),
    )
    workers = _workers(counts.live_workers, counts.silent_workers)
    return columns.row(f"  {queue}", numbers, workers, columns.trends(list(view.trends[queue])))


def _job(job: RunningJob) -> Text:
    line = Text(f"  {safe(job.queue)} ").append(safe(job.id, 40), "bold")
    if job.label:
        line.append(f" {safe(job.label, 40)}")
    if job.worker is not None:
        line.append(f" on {safe(job.worker, 30)}", "dim")
    line.append(f" for {_span(job.ran)}")
    return line.append(" STUCK", "bold red") if job.stuck else line


def _workers(live: int | None, silent: int | None) -> Text:
    if live is None:
        return Text("")
    text = Text(str(live), "bold red" if live == 0 else "")
    return text.append(f" +{silent} ✗", "red") if silent else text


def _number(value: int | None) -> str:
    return "?" if value is None else str(value)


def _span(span: timedelta | None) -> str:
    return "" if span is None else brief(max(span, timedelta(0)))


def _total(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _short(text: str, limit: int = 60) -> str:
    return safe(text, limit)


def _cut(text: str, width: int) -> str:
    return text if len(text) < width else f"{text[: width - 2]}… "
