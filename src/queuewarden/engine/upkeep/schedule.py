"""When a task is due: by its expression, its delay, and what was recorded of its last moment. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Literal

from queuewarden.engine.cron import fires_before, next_fire

if TYPE_CHECKING:
    from queuewarden.engine.upkeep.config import TaskName, Upkeep

LATE = timedelta(minutes=15)
"""A task that did not begin within this time of its moment has missed it."""

ATTEMPTS = 2
"""Runs of one moment: one that was killed is made up for once, lest it be killed for ever."""

_MOST = 3000
"""Moments that are looked back at: more than a jitter of a day holds minutes."""


@dataclass(frozen=True, slots=True)
class Last:
    """What was recorded of the last moment that the schedule wanted a task at.

    Attributes:
        slot: the moment.
        schedule: the schedule as it was then, see `spelled`.
        result: of its last run.
        attempts: runs of this moment so far.
    """

    slot: datetime
    schedule: str
    result: str
    attempts: int = 1


@dataclass(frozen=True, slots=True)
class Due:
    """What is to be done about a task now.

    Attributes:
        slot: the moment of its expression.
        begin: the same, and its delay.
        verdict: ``run`` it; ``skip`` it, since it was missed; or take note of the ``first`` moment of a new
            schedule, which nobody waits for: it lies in the past.
    """

    task: TaskName
    slot: datetime
    begin: datetime
    verdict: Literal["run", "skip", "first"]


def spelled(upkeep: Upkeep, task: TaskName) -> str:
    """The schedule of a task in one text: another one begins anew."""
    return f"{upkeep.schedule[task]} {upkeep.time_zone}"


def delay(upkeep: Upkeep, environment: str, task: TaskName, slot: datetime) -> timedelta:
    """By how much later a moment begins: chance to people, the same for whoever computes it."""
    seed = f"{environment} {task} {slot.timestamp():.0f}".encode()
    share = int.from_bytes(hashlib.sha256(seed).digest()[:4]) / 2**32
    return upkeep.jitter * share


def due(upkeep: Upkeep, environment: str, task: TaskName, last: Last | None, now: datetime) -> Due | None:
    """What is to be done about a task now; None where nothing is.

    A schedule that is new, or was changed, begins with the next moment: nobody wants a table vacuumed at noon
    because of a setting that was edited then. So does one whose last moment lies ahead, as it was recorded by
    a clock that was wrong: it would not be due before that.
    """
    if task not in upkeep.schedule:
        return None
    found = _latest(upkeep, environment, task, now)
    if last is None or last.schedule != spelled(upkeep, task) or last.slot - now > LATE:
        slot, begin = found or (now, now)
        return Due(task, slot, begin, "first")
    if found is None:
        return None
    slot, begin = found
    again = last.result == "killed" and last.attempts < ATTEMPTS and upkeep.missed == "once"
    if slot < last.slot or (slot == last.slot and not again):
        return None
    missed = upkeep.missed == "skip" and now - begin > LATE
    return Due(task, slot, begin, "skip" if missed else "run")


def next_begin(upkeep: Upkeep, environment: str, task: TaskName, now: datetime) -> datetime | None:
    """When a task will begin next; None where it is off."""
    cron = upkeep.schedule.get(task)
    slot = next_fire(cron, upkeep.time_zone, now) if cron is not None else None
    return slot + delay(upkeep, environment, task, slot) if slot is not None else None


def _latest(
    upkeep: Upkeep, environment: str, task: TaskName, now: datetime
) -> tuple[datetime, datetime] | None:
    """The last moment that has begun, its delay over."""
    for slot in islice(fires_before(upkeep.schedule[task], upkeep.time_zone, now), _MOST):
        begin = slot + delay(upkeep, environment, task, slot)
        if begin <= now:
            return slot, begin
    return None
