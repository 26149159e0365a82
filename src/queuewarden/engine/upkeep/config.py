"""What was configured of upkeep, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Mapping

TaskName = Literal[
    "analyze", "vacuum", "reindex", "prune", "retention", "full_check", "backup", "verify", "report"
]

TASKS: tuple[TaskName, ...] = get_args(TaskName)
"""Every task, in the order in which those that are due at once are run."""

PROGRAMS: frozenset[TaskName] = frozenset({"backup", "verify", "report"})
"""Tasks that start other programs or need memory: never run inside the daemon."""

SHOWN_FIRST: frozenset[TaskName] = frozenset({"prune"})
"""Tasks that delete what is not ours. They only show what they would do: by hand until somebody agrees, by
the clock before their first moment."""

Missed = Literal["once", "skip"]
Prunable = Literal["done", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class Upkeep:
    """Upkeep of one environment.

    Attributes:
        schedule: a cron expression of five fields of each task that is switched on.
        time_zone: in which the expressions are read.
        jitter: a task begins up to so much later than its expression says, so that databases of one server
            are not all at it in the same minute; always the same delay for the same moment.
        missed: a moment that passed while nobody could run the task: run it ``once``, or ``skip`` it.
        timeout: the longest that one run takes before it is ended.
        prune_after: finished jobs older than this are deleted by ``prune``.
        prune_states: states of the jobs that ``prune`` deletes.
        bloat: an index is rebuilt from so many per cent of waste on.
        keep_daily, keep_weekly, keep_monthly: how many backups are kept, one a day, week or month.
        verified_within: the newest backup that was proven may be this old.
        pgbackrest: the stanza of pgbackrest that backs up the server, instead of dumps.
        report_to: the file that a scheduled report is written to, or the name of an alert channel.
    """

    schedule: Mapping[TaskName, str] = field(default_factory=dict)
    time_zone: str = "UTC"
    jitter: timedelta = timedelta(minutes=2)
    missed: Missed = "once"
    timeout: timedelta = timedelta(hours=2)
    prune_after: timedelta = timedelta(days=30)
    prune_states: tuple[Prunable, ...] = ("done",)
    bloat: int = 30
    keep_daily: int = 7
    keep_weekly: int = 4
    keep_monthly: int = 6
    verified_within: timedelta = timedelta(days=8)
    pgbackrest: str | None = None
    report_to: str | None = None
