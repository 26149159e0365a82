"""What is known of a table that may be a jobs table: its catalog, its words, a bounded look at its rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from queuewarden.queues.proposal.names import TIME_ROLES, time_weight

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from queuewarden.queues.proposal.words import State

Family = Literal["instant", "naive", "number", "text", "enum", "flag", "uuid", "other"]
"""How a column is used: ``instant`` is timestamptz, ``naive`` timestamp, ``flag`` boolean."""

TIMES = ("instant", "naive")

Sure = Literal["sure", "likely", "guess"]
"""How far a choice is to be trusted."""

_EPOCHS = (("seconds", 9e8, 5e9), ("milliseconds", 9e11, 5e12))
"""Whole numbers that are times lie in these ranges: from 1998 to 2128."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        type, space: as pg_type calls it, and its schema; of a domain, the type behind it.
        width: most characters, where limited.
        default: the value that a new row gets, where that is a constant.
    """

    name: str
    type: str
    family: Family
    not_null: bool = False
    generated: bool = False
    width: int | None = None
    default: str | None = None
    space: str = "pg_catalog"


@dataclass(frozen=True, slots=True)
class Foreign:
    """A foreign key."""

    columns: tuple[str, ...]
    table: tuple[str, str]
    to: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Word:
    """A value that a status column has or may have: what stands in it, the word for it, who tells."""

    value: str
    word: str
    source: str


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that are alike.

    Attributes:
        values: of the columns that may tell a state, as text.
        present: which of the columns that were asked for are not NULL in these rows.
        numbers: least and greatest value of columns of numbers.
    """

    values: Mapping[str, str | None]
    present: frozenset[str]
    count: int
    numbers: Mapping[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sample:
    """A bounded look at the rows.

    Attributes:
        complete: these are all rows there are.
        asked: the columns whose presence was asked for.
        ahead: of times without a zone, by how many seconds the latest is ahead of the clock in UTC.
    """

    groups: tuple[Group, ...] = ()
    complete: bool = False
    asked: frozenset[str] = frozenset()
    ahead: Mapping[str, float] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """How many rows were looked at."""
        return sum(group.count for group in self.groups)


@dataclass(frozen=True, slots=True)
class Table:
    """One table.

    Attributes:
        kind: relkind: ``r`` table, ``p`` partitioned, else a view or a foreign table.
        rows: about how many rows it has; None: nobody knows.
        readable: this role may read it.
        key: its primary key, else a unique key without NULL; empty where it has none.
        unique: the columns of each unique index.
        words: what is known of the values of columns that may tell a state.
        closed: columns of which ``words`` has all values that they can have.
        twins: how many tables of this name and these columns other schemas have.
    """

    schema: str
    name: str
    columns: tuple[Column, ...]
    kind: str = "r"
    oid: int = 0
    rows: int | None = None
    pages: int = 0
    readable: bool = True
    key: tuple[str, ...] = ()
    unique: tuple[frozenset[str], ...] = ()
    leading: frozenset[str] = frozenset()
    foreign: tuple[Foreign, ...] = ()
    words: Mapping[str, tuple[Word, ...]] = field(default_factory=dict)
    closed: frozenset[str] = frozenset()
    sample: Sample | None = None
    twins: int = 0

    @property
    def epoch(self) -> str | None:
        """The unit of whole numbers that are called like times; None where rows do not show one."""
        groups = self.sample.groups if self.sample else ()
        called = [
            one.name for one in self.of(("number",)) if any(time_weight(one.name, to) for to in TIME_ROLES)
        ]
        ranges = [group.numbers[name] for group in groups for name in called if name in group.numbers]
        if not ranges:
            return None
        least, most = min(low for low, _ in ranges), max(high for _, high in ranges)
        return next((unit for unit, low, high in _EPOCHS if low <= least and most <= high), None)

    def times(self) -> Iterator[Column]:
        """The columns that can be times: whole numbers, too, where rows show of which unit."""
        return self.of((*TIMES, "number") if self.epoch is not None else TIMES)

    def column(self, name: str) -> Column:
        """One of its columns."""
        return next(one for one in self.columns if one.name == name)

    def of(self, families: Collection[str]) -> Iterator[Column]:
        """The columns of some families."""
        return (one for one in self.columns if one.family in families)

    def target(self, column: str) -> tuple[str, str] | None:
        """The table that a column points at by a foreign key of its own."""
        return next((one.table for one in self.foreign if one.columns == (column,)), None)


@dataclass(frozen=True, slots=True)
class StatesFound:
    """How a table tells a job's state.

    Attributes:
        status: the column; None where conditions tell.
        values: of each state, status values (the first is what a release writes) or conditions.
        why: one reason for each state.
        strength: how clearly the two states that matter, waiting and running, are told: 0 to 4.
        left: values of the column that mean none of the states, or none for sure.
        fail: what a failure writes where conditions tell the states, as ``FAIL`` spells it.
        holds: of each condition, whether it holds for a group of rows.
    """

    status: str | None
    values: Mapping[State, tuple[str, ...]]
    why: Mapping[State, str]
    sure: Mapping[State, Sure]
    strength: float
    left: tuple[str, ...] = ()
    fail: str = ""
    holds: Mapping[str, Callable[[Group], bool]] = field(default_factory=dict)

    def of(self, group: Group) -> State | None:
        """The state of a group of rows."""
        if self.status is not None:
            value = group.values.get(self.status)
            return next((state for state, values in self.values.items() if value in values), None)
        return next(
            (state for state, some in self.values.items() if all(self.holds[one](group) for one in some)),
            None,
        )

    def share(self, table: Table, state: State, column: str) -> tuple[int, int]:
        """Of the rows seen in a state: how many have a value in a column, and how many there are."""
        groups = table.sample.groups if table.sample else ()
        rows = [group for group in groups if self.of(group) == state]
        total = sum(group.count for group in rows)
        if table.column(column).not_null:
            return total, total
        return sum(group.count for group in rows if column in group.present), total
