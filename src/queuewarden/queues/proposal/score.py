"""How much a table looks like one of jobs: signs by its names, before a row of it is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from queuewarden.queues.proposal.facts import TIMES
from queuewarden.queues.proposal.names import (
    NUMBERS,
    TEXTS,
    WORKER,
    called,
    called_a_queue,
    flag,
    is_status,
    payload,
    people,
    table_weight,
    time_weight,
    weight,
    worker_like,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from queuewarden.queues.proposal.facts import Column, Table

HIGH, LIKELY, NEAR = 8.0, 5.5, 3.5
"""Scores from which a table is a jobs table, is likely one, and is worth a word about why it is none."""

_MOST_PEOPLE = 4
_VALUES = (
    ("number", "attempts", 1.5, 0.5),
    ("number", "max_attempts", 1, 0.5),
    ("text", "error", 0.5, 0.5),
    ("number", "priority", 0.5, 0.5),
    ("number", "position", 2, 0.5),
)
"""Family and role of a column, its points where the name says it clearly, and where it does not."""
_MACHINE = ("attempts", "max_attempts", "position")


@dataclass(frozen=True, slots=True)
class Sign:
    """One thing that speaks for a table of jobs, or against.

    Attributes:
        machine: only a program that takes jobs by itself needs it.
    """

    points: float
    what: str
    machine: bool = False


@dataclass(frozen=True, slots=True)
class Likeness:
    """All signs of a table.

    Attributes:
        stateful: it may tell states: by a status column, or by what is set.
        timed: it has a start, a worker or a heartbeat: without any, nothing could be judged.
    """

    signs: tuple[Sign, ...]
    stateful: bool
    timed: bool

    @property
    def score(self) -> float:
        """For and against, added up."""
        return sum(sign.points for sign in self.signs)

    @property
    def machine(self) -> bool:
        """Something is there that only a program needs."""
        return any(sign.machine for sign in self.signs)


def likeness(table: Table) -> Likeness:
    """The signs of a table, by the names and types of its columns."""
    signs = [one for one in _signs(table) if one.points]
    held = [one for one in table.of((*TIMES, "number")) if time_weight(one.name, "started_at") > 1]
    workers = [one for one in table.of(("text", "number", "uuid")) if weight(one.name, WORKER)]
    beats = [one for one in table.of(TIMES) if time_weight(one.name, "heartbeat")]
    status = any(is_status(one.name) for one in table.of(("text", "enum", "number")))
    flagged = any(flag(one.name) == "running" for one in table.of(("flag",)))
    sure = [one for one in workers if weight(one.name, WORKER) > 1]
    loose = any(not one.not_null for one in (*held, *sure))
    return Likeness(tuple(signs), status or flagged or loose, bool(held or workers or beats))


def _signs(table: Table) -> Iterator[Sign]:
    yield Sign(table_weight(table.name), "its name")
    if worker_like(table.name) and not called_a_queue(table.name):
        yield Sign(-4, "a name of workers")
    yield from (Sign(-1, f"a column {name}") for name in people(table)[:_MOST_PEOPLE])
    worker = _best(table, ("text", "number", "uuid"), WORKER)
    if worker is not None:
        by_name = weight(worker.name, WORKER)
        target = table.target(worker.name)
        if not worker.not_null and (target is None or table_weight(target[1]) >= 0):
            yield Sign((0, 0.25, 1, 2)[by_name], worker.name, machine=by_name > 1)
    yield from _times(table)
    for family, role, points, odd in _VALUES:
        if (one := _best(table, (family,), (NUMBERS | TEXTS)[role])) is not None:
            by_name = weight(one.name, (NUMBERS | TEXTS)[role])
            clear = by_name > (2 if role == "position" else 1)
            yield Sign(points if clear else odd, one.name, machine=clear and role in _MACHINE)
    if (content := payload(table)) is not None:
        yield Sign(1, content, machine=True)


def _times(table: Table) -> Iterator[Sign]:
    times = list(table.of((*TIMES, "number")))
    locks = [one.name for one in times if called(one.name, "lock")]
    starts = [one.name for one in times if time_weight(one.name, "started_at") > 1]
    if locks or starts:
        yield Sign(2 if locks else 1, (locks or starts)[0], machine=bool(locks))
    claims = [one.name for one in table.columns if called(one.name, "token")]
    claims += [one.name for one in times if time_weight(one.name, "lease")]
    if claims:
        yield Sign(1.5, claims[0], machine=True)
    for role, points in (("heartbeat", 2.0), ("scheduled_at", 1.0), ("finished_at", 0.5)):
        name = next((one.name for one in times if time_weight(one.name, role) > 1), None)
        if name is not None:
            planned = role == "finished_at" or called(name, "plan")
            yield Sign(points, name, machine=not planned)


def _best(table: Table, families: tuple[str, ...], names: Mapping[str, int]) -> Column | None:
    fitting = [one for one in table.of(families) if weight(one.name, names)]
    return max(fitting, key=lambda one: weight(one.name, names), default=None)


def worth_a_look(table: Table) -> bool:
    """Whether to look at its constraints and rows."""
    like = likeness(table)
    return like.stateful and like.timed and like.score >= 0


def worth_a_word(table: Table) -> bool:
    """Whether somebody may wonder why it is not proposed."""
    return called_a_queue(table.name) and any(
        is_status(one.name) for one in table.of(("text", "enum", "number"))
    )
