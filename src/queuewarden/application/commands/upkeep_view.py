"""Upkeep as people see it: the list of tasks, how they went, and a bar while one runs."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from queuewarden.application.commands.paint import aligned, safe, say
from queuewarden.application.status import brief
from queuewarden.engine.upkeep.config import TASKS
from queuewarden.engine.upkeep.schedule import next_begin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from queuewarden.application.upkeep.running import Ran
    from queuewarden.engine.upkeep.runs import Known, Run
    from queuewarden.engine.upkeep.sight import Sight
    from queuewarden.engine.upkeep.task import Progress, Step
    from queuewarden.settings.configuration import EnvironmentConfig

OVERDUE = 3600.0
"""Seconds from which on a task that has not begun is bad."""

_COLOURS = {"done": "green", "failed": "red", "killed": "red", "skipped": "yellow", "running": "cyan"}


@dataclass(frozen=True, slots=True)
class State:
    """How upkeep of one environment stands."""

    config: EnvironmentConfig
    sight: Sight
    latest: tuple[Run, ...]

    @property
    def bad(self) -> bool:
        """The last run of a task failed, or a task is overdue."""
        return any(
            one.result in ("failed", "killed") or self.late(one) >= OVERDUE for one in self.sight.known
        )

    def late(self, one: Known) -> float:
        """Seconds by which a task is overdue."""
        return self.sight.overdue(one, self.sight.at)


def entries(config: EnvironmentConfig) -> Iterator[dict[str, Any]]:
    """All tasks of an environment, as plain values."""
    now, upkeep = datetime.now(UTC), config.upkeep
    for task in TASKS:
        begins = next_begin(upkeep, config.name, task, now)
        yield {
            "environment": config.name,
            "task": task,
            "schedule": upkeep.schedule.get(task),
            "time_zone": upkeep.time_zone,
            "next": begins.isoformat(timespec="seconds") if begins is not None else None,
        }


def listed(found: Sequence[dict[str, Any]]) -> list[str]:
    """The same, as lines."""
    return aligned(
        [
            (
                one["environment"],
                one["task"],
                f"{one['schedule']} {one['time_zone']}" if one["schedule"] else "off",
                f"next {one['next']}" if one["next"] else "",
            )
            for one in found
        ]
    )


def document(state: State) -> dict[str, Any]:
    """How it stands, as plain values."""
    return {
        "tasks": {
            one.task: {
                "schedule": state.config.upkeep.schedule[one.task],
                "result": one.result,
                "ended_at": _iso(one.ended_at),
                "seconds": one.seconds,
                "summary": one.summary,
                "succeeded_at": _iso(one.succeeded_at),
                "overdue_seconds": round(state.late(one), 1),
            }
            for one in state.sight.known
        },
        "runs": [
            {
                **{name: getattr(run, name) for name in ("number", "task", "trigger", "actor", "result")},
                "summary": run.summary,
                "slot": _iso(run.slot),
                "started_at": _iso(run.started_at),
                "finished_at": _iso(run.finished_at),
                "did": [asdict(step) for step in run.did],
            }
            for run in state.latest
        ],
    }


def tell(state: State) -> None:
    """Print how it stands."""
    name = state.config.name
    say(name, bold=True)
    if not state.sight.known:
        say("  no task is switched on")
    rows = [_cells(state, one) for one in state.sight.known]
    for line, one in zip(aligned(rows, "  "), state.sight.known, strict=True) if rows else ():
        say(line, _COLOURS.get(one.result or ""))
    if state.latest:
        say("  latest runs")
        for line in aligned([_run_cells(run) for run in state.latest], "    "):
            say(line)


def tell_ran(environment: str, ran: Sequence[Ran], *, dry: bool) -> None:
    """Print what runs did, step by step."""
    for one in ran:
        ended = "would be" if dry else one.result
        say(f"{environment}: {one.task}: {ended} ({safe(one.summary, 300)})", _COLOURS[one.result])
        for line in aligned([_step_cells(step) for step in one.did], "  ") if one.did else ():
            say(line)


@contextmanager
def bar(title: str | None) -> Iterator[Callable[[Progress], None]]:
    """A progress bar on standard error where that is a terminal and somebody wants it."""
    if title is None or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(title, total=None)

        def show(how_far: object) -> None:
            subject, phase, done, total = (
                getattr(how_far, name) for name in ("subject", "phase", "done", "total")
            )
            progress.update(
                task,
                description=f"{title}: {safe(subject)} {safe(phase)}",
                completed=done,
                total=total or None,
            )

        yield show


def _cells(state: State, one: Known) -> tuple[str, ...]:
    late = state.late(one)
    ago = brief(one.now - one.ended_at) if one.ended_at is not None else None
    return (
        one.task,
        state.config.upkeep.schedule[one.task],
        f"{one.result} {ago} ago" if ago is not None else "never run",
        f"in {brief(timedelta(seconds=one.seconds))}" if one.seconds is not None else "",
        f"overdue by {brief(timedelta(seconds=late))}" if late else "",
        safe(one.summary, 200),
    )


def _run_cells(run: Run) -> tuple[str, ...]:
    return (
        f"{run.started_at:%Y-%m-%d %H:%M:%S}",
        run.task,
        run.result,
        run.trigger,
        safe(run.summary, 200),
        f"by {safe(run.actor)}",
    )


def _step_cells(step: Step) -> tuple[str, ...]:
    amount = "" if step.amount is None else str(step.amount)
    return safe(step.subject, 120), step.outcome, safe(step.action, 120), amount, safe(step.why, 200)


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment is not None else None
