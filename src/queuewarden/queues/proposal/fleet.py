"""The workers table of a jobs table: by its foreign key, by the workers that jobs name, by its name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from queuewarden.queues.proposal.facts import TIMES
from queuewarden.queues.proposal.names import called, is_status, normal, people, time_weight, worker_like
from queuewarden.queues.proposal.states import vocabulary
from queuewarden.queues.proposal.words import offline

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from queuewarden.queues.proposal.facts import Column, Sure, Table

MOST = 5
"""Tables that are held against the jobs' workers."""

_HALF = 0.5
_LIKELY = 3


@dataclass(frozen=True, slots=True)
class Fleet:
    """A table that may be the workers table.

    Attributes:
        id: its column that the jobs' worker column may hold.
        keyed: a foreign key of the jobs' worker column says so.
        score: how much its name and place speak for it.
        named: how many workers the jobs that were looked at name; 0: none, so that nothing is proven.
        known: how many of them are in this table.
        younger: running jobs that began before their worker's present life did.
    """

    table: Table
    id: str
    heartbeat: str
    keyed: bool = False
    score: int = 0
    named: int = 0
    known: int = 0
    younger: int = 0

    @property
    def status(self) -> tuple[str, str] | None:
        """Its status column and the word there for a worker that is gone, where both are known."""
        for column in self.table.of(("text", "enum", "number")):
            if is_status(column.name):
                words = vocabulary(self.table, column.name)
                gone = offline(word.word for word in words.values())
                if gone is not None:
                    return column.name, next(one.value for one in words.values() if one.word == gone)
        return None

    @property
    def has_status(self) -> str | None:
        """Its status column, whatever is known of its words."""
        fitting = (one.name for one in self.table.of(("text", "enum", "number")) if is_status(one.name))
        return next(fitting, None)

    @property
    def current_job(self) -> str | None:
        """Its column of the job that a worker has."""
        return next((one.name for one in self.table.columns if called(one.name, "current")), None)

    @property
    def started_at(self) -> str | None:
        """When a worker's present life began; only where no running job contradicts."""
        found = (one.name for one in self.table.of(TIMES) if called(one.name, "born"))
        return None if self.younger else next(found, None)

    @property
    def why(self) -> str:
        """What speaks for it."""
        if self.keyed:
            return "a foreign key points there"
        if self.named:
            return f"has {self.known} of {self.named} workers of jobs"
        return "its name and heartbeat"

    @property
    def sure(self) -> Sure:
        """How far to trust it."""
        return "sure" if self.keyed or self.known > 1 else "likely" if self.known else "guess"


def candidates(tables: Iterable[Table], jobs: Table, worker: str) -> list[Fleet]:
    """The tables that may hold the workers of the jobs, the likeliest first."""
    column = jobs.column(worker)
    target = jobs.target(worker)
    found = []
    for table in tables:
        place = (table.schema, table.name)
        if place == (jobs.schema, jobs.name) or table.kind not in ("r", "p"):
            continue
        keyed = place == target
        heartbeat = _heartbeat(table, keyed=keyed)
        if heartbeat is None or (target is not None and not keyed):
            continue
        near = 2 * worker_like(table.name) - (2 if people(table) else 0)
        near += (table.schema == jobs.schema) + (_head(table.name) == _head(jobs.name))
        for one in _ids(table, column, keyed=jobs if keyed else None):
            score = near + (normal(one.name) == normal(worker)) + 4 * keyed
            found.append(Fleet(table, one.name, heartbeat, keyed, score))
    return sorted(found, key=lambda one: -one.score)[:MOST]


def chosen(fleets: Sequence[Fleet]) -> Fleet | None:
    """Of the candidates, held against the jobs, the one that is the workers table; None where none is."""

    def proof(one: Fleet) -> float:
        return one.known / one.named if one.named else 0.0

    proven = [one for one in fleets if one.keyed or proof(one) >= _HALF]
    if proven:
        return max(proven, key=lambda one: (one.keyed, proof(one), one.score))
    likely = [one for one in fleets if not one.named and one.score >= _LIKELY and worker_like(one.table.name)]
    best = [one for one in likely if one.score == likely[0].score]
    return best[0] if len({one.table.name for one in best}) == 1 else None


def held_against(fleet: Fleet, named: int, known: int, younger: int) -> Fleet:
    """The candidate with what the jobs say of it."""
    return replace(fleet, named=named, known=known, younger=younger)


def _heartbeat(table: Table, *, keyed: bool) -> str | None:
    beats = [(time_weight(one.name, "heartbeat"), one.name) for one in table.of(TIMES)]
    best = max(beats, default=(0, ""), key=lambda one: one[0])
    if best[0]:
        return best[1]
    touched = (one.name for one in table.of(TIMES) if time_weight(one.name, "updated_at") > 1)
    return next(touched, None) if keyed or worker_like(table.name) else None


def _ids(table: Table, worker: Column, *, keyed: Table | None) -> list[Column]:
    """Columns of a unique index of their own, in a type that the jobs' worker column could hold."""
    if keyed is not None:
        own = next(one for one in keyed.foreign if one.columns == (worker.name,))
        return [table.column(own.to[0])] if any(one.name == own.to[0] for one in table.columns) else []
    single = {next(iter(one)) for one in (*table.unique, frozenset(table.key)) if len(one) == 1}
    return [
        one
        for one in table.columns
        if one.name in single
        and (one.family == worker.family or (worker.family == "text" and one.family != "number"))
    ]


def _head(name: str) -> str:
    return normal(name).partition("_")[0]
