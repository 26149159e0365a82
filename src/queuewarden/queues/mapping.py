"""A queue's mapping: which table, which columns, which words. Frozen values, as the user wrote them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class TableName:
    """``[schema.]name``, each part spelled as the catalog spells it, never folded."""

    name: str
    schema: str | None = None

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}" if self.schema else self.name


@dataclass(frozen=True, slots=True)
class Jobs:
    """Columns of the jobs table; None or empty where the table has no such column."""

    table: TableName
    id: tuple[str, ...]
    status: str
    worker: str | None = None
    started_at: str | None = None
    heartbeat: str | None = None
    enqueued_at: str | None = None
    scheduled_at: str | None = None
    finished_at: str | None = None
    updated_at: str | None = None
    attempts: str | None = None
    max_attempts: str | int | None = None
    attempts_counted: Literal["claim", "finish", "never"] = "claim"
    error: str | None = None
    label: tuple[str, ...] = ()
    clear: tuple[str, ...] = ()
    time_zone: str = "UTC"

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that are mapped, the key first, each once."""
        single = (
            *self.id,
            self.status,
            self.worker,
            self.started_at,
            self.heartbeat,
            self.enqueued_at,
            self.scheduled_at,
            self.finished_at,
            self.updated_at,
            self.attempts,
            self.max_attempts,
            self.error,
            *self.label,
            *self.clear,
        )
        return tuple(dict.fromkeys(name for name in single if isinstance(name, str)))


@dataclass(frozen=True, slots=True)
class States:
    """Status values, as text; the first of ``waiting`` is what a release writes."""

    waiting: tuple[str, ...]
    running: tuple[str, ...]
    done: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    cancelled: tuple[str, ...] = ()

    @property
    def every(self) -> tuple[str, ...]:
        """All status values that the mapping names."""
        return self.waiting + self.running + self.done + self.failed + self.cancelled


@dataclass(frozen=True, slots=True)
class Workers:
    """Columns of the workers table. ``registered_in``: the environment where the fleet registers."""

    table: TableName
    id: str
    heartbeat: str
    status: str | None = None
    offline_value: str | None = None
    current_job: str | None = None
    started_at: str | None = None
    registered_in: str | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that are mapped, the key first, each once."""
        single = (self.id, self.status, self.heartbeat, self.current_job, self.started_at)
        return tuple(dict.fromkeys(name for name in single if name is not None))


@dataclass(frozen=True, slots=True)
class OrderTerm:
    """One term of an order: a column and its direction."""

    column: str
    descending: bool = False
    nulls: Literal["first", "last"] | None = None


@dataclass(frozen=True, slots=True)
class Positions:
    """Positions inside lanes: which column, which lane, which order.

    Attributes:
        column: the position; None where only the running jobs of a lane are counted.
        lane: columns that name the lane; empty: the queue is one lane.
        max_running: how many of a lane may run at once; None: any number.
        dense: whether the head of a lane must stand at 1.
        demote: whether running jobs above ``max_running`` go back to waiting (opt-in).
    """

    column: str | None = None
    order_by: tuple[OrderTerm, ...] = ()
    lane: tuple[str, ...] = ()
    max_running: int | None = None
    dense: bool = True
    demote: bool = False


@dataclass(frozen=True, slots=True)
class Reference:
    """``column -> parent.parent_column``: a reference that must point at something."""

    column: str
    parent: TableName
    parent_column: str

    def __str__(self) -> str:
        return f"{self.column} -> {self.parent}.{self.parent_column}"


@dataclass(frozen=True, slots=True)
class Mapping:
    """One queue: defined once, guarded in every environment that has it.

    Attributes:
        timestamps: status value and the timestamp column that a row in it must have.
        preset: the preset it came from, if any.
    """

    name: str
    jobs: Jobs
    states: States
    workers: Workers | None = None
    positions: Positions | None = None
    references: tuple[Reference, ...] = ()
    timestamps: tuple[tuple[str, str], ...] = ()
    preset: str | None = None
