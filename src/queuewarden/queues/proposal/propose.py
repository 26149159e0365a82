"""From what is known of a table to a proposed mapping: each variable with its reason, and what is open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from queuewarden.queues.mapping import TableName
from queuewarden.queues.proposal.choices import Draft, choices
from queuewarden.queues.proposal.columns import find_columns
from queuewarden.queues.proposal.lanes import numbered
from queuewarden.queues.proposal.left_open import left_open
from queuewarden.queues.proposal.names import GENERIC, called_a_queue, normal
from queuewarden.queues.proposal.score import HIGH, LIKELY, likeness
from queuewarden.queues.proposal.states import find_states

if TYPE_CHECKING:
    from queuewarden.queues.proposal.choices import Answers, Choice
    from queuewarden.queues.proposal.facts import Table
    from queuewarden.queues.proposal.left_open import Open

Confidence = Literal["high", "likely", "weak"]

_KINDS = {"v": "a view", "m": "a materialised view", "f": "a foreign table"}
_CLEAR = 3.0
"""Strength from which on waiting and running are told clearly."""
_LONGEST_NAME = 40
_FLEET = 2.0


@dataclass(frozen=True, slots=True)
class Proposal:
    """A mapping that is proposed for a table.

    Attributes:
        signs: what speaks for it, in a few words.
        fleet: its workers table.
    """

    table: TableName
    confidence: Confidence
    score: float
    choices: tuple[Choice, ...]
    open: tuple[Open, ...]
    signs: tuple[str, ...]
    fleet: TableName | None = None
    rows: int | None = None
    seen: int = 0
    twins: int = 0

    @property
    def name(self) -> str:
        """A name for the queue: the table's, without the word for a queue at its end."""
        parts = [part for part in normal(self.table.name).split("_") if part]
        while len(parts) > 1 and parts[-1] in GENERIC and not set(parts[:-1]) <= GENERIC:
            parts.pop()
        return "_".join(parts)[:_LONGEST_NAME].strip("_") or "jobs"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A table that looks like one of jobs, and is not proposed; ``near``: how much it looks like one."""

    table: TableName
    why: str
    near: float = 0.0


def draft(table: Table, *, guessing: bool = False) -> Draft | Refusal:
    """The mapping of a table as far as it tells by itself; or why there can be none.

    Args:
        table: the table.
        guessing: somebody says that it is a queue: where no job runs just now, guess the word for that.
    """
    place = TableName(table.name, table.schema)
    like = likeness(table)

    def refused(why: str) -> Refusal:
        return Refusal(place, why, like.score)

    if table.kind not in ("r", "p"):
        return refused(f"it is {_KINDS.get(table.kind, 'no table')}: the table behind it is the one to guard")
    if not like.timed:
        return refused("it has no column for a start, a worker or a heartbeat")
    if not table.key:
        return refused("it has no primary key, nor another unique key without NULL")
    states = find_states(table, guessing=guessing)
    if isinstance(states, str):
        return refused(states)
    columns = find_columns(table, states)
    if not {"started_at", "worker", "heartbeat"} & set(columns.roles):
        doubts = f" ({'; '.join(columns.doubtful)})" if columns.doubtful else ""
        return refused(f"no column is a start, a worker or a heartbeat{doubts}")
    return Draft(table, states, columns, like, numbered(table, columns, states.status))


def propose(one: Draft, answers: Answers) -> Proposal:
    """The mapping with all that the database answered."""
    score = one.like.score + one.states.strength + (_FLEET if answers.fleet is not None else 0)
    machine = one.like.machine or answers.fleet is not None
    confidence: Confidence = "weak"
    if score >= HIGH and machine and one.states.strength >= _CLEAR:
        confidence = "high"
    elif score >= LIKELY and (machine or called_a_queue(one.table.name)):
        confidence = "likely"
    told = sorted((sign for sign in one.like.signs if sign.points > 0), key=lambda sign: -sign.points)
    return Proposal(
        TableName(one.table.name, one.table.schema),
        confidence,
        score,
        tuple(choices(one, answers)),
        tuple(left_open(one, answers)),
        tuple(sign.what for sign in told),
        TableName(fleet.table.name, fleet.table.schema) if (fleet := answers.fleet) is not None else None,
        one.table.rows,
        one.table.sample.rows if one.table.sample else 0,
        one.table.twins,
    )
