"""A queue's mapping: which table, which columns, which words. Frozen values, as the user wrote them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from queuewarden.queues.conditions import columns as columns_of

if TYPE_CHECKING:
    from queuewarden.queues.conditions import Written


@dataclass(frozen=True, slots=True)
class TableName:
    """``[schema.]name``, each part spelled as the catalog spells it, never folded."""

    name: str
    schema: str | None = None

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}" if self.schema else self.name


@dataclass(frozen=True, slots=True)
class Jobs:
    """Columns of the jobs table; None or empty where the table has no such column.

    Attributes:
        status: None where the states are conditions on other columns.
        failed_at: when the job failed, where ``finished_at`` does not tell.
        heartbeat_seconds: within how many seconds the job's own heartbeat must come; NULL: it has none.
        timeout_seconds: how long this job may run, in seconds, where that is longer than the queue's limit.
        epoch: the unit of times that are whole numbers, since 1970; None: no time may be a number.
    """

    table: TableName
    id: tuple[str, ...]
    status: str | None = None
    worker: str | None = None
    started_at: str | None = None
    heartbeat: str | None = None
    enqueued_at: str | None = None
    scheduled_at: str | None = None
    finished_at: str | None = None
    failed_at: str | None = None
    updated_at: str | None = None
    heartbeat_seconds: str | None = None
    timeout_seconds: str | None = None
    attempts: str | None = None
    max_attempts: str | int | None = None
    attempts_counted: Literal["claim", "finish", "never"] = "claim"
    error: str | None = None
    label: tuple[str, ...] = ()
    clear: tuple[str, ...] = ()
    time_zone: str = "UTC"
    epoch: Literal["seconds", "milliseconds"] | None = None

    @property
    def failure(self) -> str | None:
        """The column that tells when a job failed."""
        return self.failed_at or self.finished_at or self.updated_at

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
            self.failed_at,
            self.updated_at,
            self.heartbeat_seconds,
            self.timeout_seconds,
            self.attempts,
            self.max_attempts,
            self.error,
            *self.label,
            *self.clear,
        )
        return tuple(dict.fromkeys(name for name in single if isinstance(name, str)))


@dataclass(frozen=True, slots=True)
class States:
    """Status values, as text; the first of ``waiting`` is what a release writes.

    Where the jobs table has no status column: conditions on other columns, all of which must hold.
    """

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
class RowLock:
    """A row that a living worker holds locked: the jobs' column, and the table and column it points at."""

    column: str
    table: TableName
    key: str

    def __str__(self) -> str:
        return f"{self.column} -> {self.table}.{self.key}"


@dataclass(frozen=True, slots=True)
class Backend:
    """The worker's own session of this server: what of it a column of the jobs table names."""

    by: Literal["application_name", "pid"]
    column: str

    def __str__(self) -> str:
        return f"{self.by} = {self.column}"


@dataclass(frozen=True, slots=True)
class Alive:
    """Signs of life of a running job, beside heartbeats; any one of them is enough to spare it.

    Attributes:
        advisory_lock: a column of whole numbers that is the key of an advisory lock; or a text with columns
            in braces, of whose md5 the first 64 bits are.
    """

    advisory_lock: str | None = None
    row_lock: RowLock | None = None
    backend: Backend | None = None


@dataclass(frozen=True, slots=True)
class Starts:
    """A table that notes each start of a job: of which job, when, and by which word among others."""

    table: TableName
    job: str
    at: str
    kind: str | None = None
    value: str | None = None


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
        spare: conditions under which a running job is left alone, however dead it looks.
        requeue, fail: what else a release, and a failure, write.
        preset: the preset it came from, if any.
    """

    name: str
    jobs: Jobs
    states: States
    workers: Workers | None = None
    positions: Positions | None = None
    references: tuple[Reference, ...] = ()
    timestamps: tuple[tuple[str, str], ...] = ()
    alive: Alive = Alive()
    starts: Starts | None = None
    spare: tuple[str, ...] = ()
    requeue: tuple[Written, ...] = ()
    fail: tuple[Written, ...] = ()
    preset: str | None = None

    @property
    def state_columns(self) -> tuple[str, ...]:
        """The columns that tell a job's state, and whether it is to be left alone."""
        texts = self.spare if self.jobs.status is not None else (*self.states.every, *self.spare)
        named = [name for text in texts for name in columns_of(text)]
        return tuple(dict.fromkeys([*([self.jobs.status] if self.jobs.status is not None else []), *named]))
