"""The sections of a queue: its tables, columns and words."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PlainValidator

from queuewarden.queues.conditions import Written
from queuewarden.queues.mapping import Backend, OrderTerm, Reference, RowLock
from queuewarden.settings import mapped, types
from queuewarden.settings.fields import (
    Boolean,
    Column,
    Columns,
    Name,
    Section,
    Status,
    Statuses,
    Table,
    number,
    unset,
    words,
)
from queuewarden.settings.guard_section import Guard


class JobsSection(Section):
    """The jobs table."""

    table: Table | None = unset("[schema.]name of the jobs table (required)", "jobs")
    id: Columns | None = unset("its key: one column, or several (required)", "id")
    status: Column | None = unset(
        "the job's status (required, unless STATES are conditions on other columns)", "status"
    )
    worker: Column | None = unset("the worker that has the job", "worker_id")
    started_at: Column | None = unset("when the worker started", "started_at")
    heartbeat: Column | None = unset("last sign of life of the job itself", "heartbeat_at")
    enqueued_at: Column | None = unset("when the job came", "created_at")
    scheduled_at: Column | None = unset("not to be started before", "run_at")
    finished_at: Column | None = unset("when the job ended", "finished_at")
    failed_at: Column | None = unset("when the job failed, where FINISHED_AT does not tell", "failed_at")
    updated_at: Column | None = unset("when the row last changed", "updated_at")
    heartbeat_seconds: Column | None = unset(
        "seconds within which this job's own heartbeat must come, instead of STUCK_AFTER", "heartbeat_seconds"
    )
    timeout_seconds: Column | None = unset(
        "seconds that this job may run, where that is longer than STUCK_AFTER", "timeout_seconds"
    )
    attempts: Column | None = unset("attempts so far", "attempts")
    max_attempts: Annotated[str | int | None, PlainValidator(mapped.column_or_number)] = unset(
        "the most attempts: a column or a number (0 or NULL: no maximum)", "max_attempts"
    )
    attempts_counted: Annotated[Literal["claim", "finish", "never"], words("claim", "finish", "never")] = (
        Field(default="claim", description="when the application counts an attempt: claim, finish or never")
    )
    error: Column | None = unset("where the reason of a reset is noted", "error_message")
    label: Columns | None = unset("columns that name a job to a person", "kind, document")
    clear: Columns | None = unset("further columns set to NULL on release", "lock_token")
    time_zone: Annotated[str, PlainValidator(types.time_zone)] = Field(
        default="UTC", description="the zone of timestamps without one, in the workers table, too"
    )
    epoch: Annotated[Literal["seconds", "milliseconds"] | None, words("seconds", "milliseconds")] = unset(
        "the unit of times that are whole numbers since 1970 (unset: no time may be a number)", "seconds"
    )


class StatesSection(Section):
    """Status values, in the column's own type; without JOBS__STATUS, conditions on other columns."""

    waiting: Statuses | None = unset("waiting jobs; a release writes the first (required)", "pending")
    running: Statuses | None = unset("running jobs (required)", "running")
    done: Statuses | None = unset("jobs that went well", "done")
    failed: Statuses | None = unset("jobs that did not; a failure writes the first", "failed")
    cancelled: Statuses | None = unset("jobs given up; an orphan becomes the first", "cancelled")


class AliveSection(Section):
    """Signs of life of a running job, beside heartbeats (optional); any one spares it."""

    advisory_lock: Annotated[str | None, PlainValidator(mapped.lock_key)] = unset(
        "the key of a living worker's advisory lock: a column, or a text with {columns}, hashed by md5",
        "good_jobs-{id}",
    )
    row_lock: Annotated[RowLock | None, PlainValidator(mapped.row_lock)] = unset(
        "a row that a living worker holds locked", "id -> job_locks.job_id"
    )
    backend: Annotated[Backend | None, PlainValidator(mapped.backend)] = unset(
        "a column that names the worker's own session of this server", "application_name = worker_id"
    )


class StartsSection(Section):
    """A table that notes each start of a job (optional)."""

    table: Table | None = unset("[schema.]name of a table that notes each start of a job", "job_events")
    job: Column | None = unset("the job that started (required with the table)", "job_id")
    at: Column | None = unset("when (required with the table)", "at")
    kind: Column | None = unset("what happened, where the table notes more than starts", "type")
    value: Status | None = unset("the kind that is a start", "started")


class WorkersSection(Section):
    """The workers table (optional)."""

    table: Table | None = unset("[schema.]name of the workers table", "workers")
    id: Column | None = unset("its key, as JOBS__WORKER holds it (required with the table)", "id")
    status: Column | None = unset("the worker's status", "status")
    offline_value: Status = Field(default="offline", description="what a dead worker's status becomes")
    heartbeat: Column | None = unset("last sign of life (required with the table)", "heartbeat_at")
    current_job: Column | None = unset("the job that the worker says it has", "current_job_id")
    started_at: Column | None = unset("when the worker's present life began", "started_at")
    registered_in: Name | None = unset("the environment in which the fleet registers, if not its own", "prod")


class PositionsSection(Section):
    """Positions inside lanes (optional)."""

    column: Column | None = unset("the position of a waiting job", "position")
    order_by: Annotated[tuple[OrderTerm, ...] | None, PlainValidator(types.listed(mapped.order_term))] = (
        unset("the order of a lane (required with the column)", "priority desc, joined_at")
    )
    lane: Columns | None = unset("columns that name a lane (unset: the queue is one)", "company_id")
    max_running: Annotated[int | None, number(1)] = unset(
        "running jobs that a lane may have (unset: 1 where positions are mapped)", "1"
    )
    dense: Boolean = Field(default=True, description="whether a lane begins at 1")
    demote: Boolean = Field(default=False, description="send running jobs above MAX_RUNNING back to waiting")


class QueueSection(Guard):
    """One queue."""

    preset: Annotated[str | None, PlainValidator(types.name)] = unset(
        "a queue known by name, see `queuewarden presets list`", "extraction"
    )
    jobs: JobsSection = JobsSection()
    states: StatesSection = StatesSection()
    workers: WorkersSection = WorkersSection()
    alive: AliveSection = AliveSection()
    starts: StartsSection = StartsSection()
    positions: PositionsSection = PositionsSection()
    references: Annotated[tuple[Reference, ...] | None, PlainValidator(types.listed(mapped.reference))] = (
        unset("references that must point at something", "student_id -> students.id")
    )
    timestamps: Annotated[
        tuple[tuple[str, str], ...] | None, PlainValidator(types.listed(mapped.timestamp))
    ] = unset(
        "a status and the timestamp it must have (unset: running and done, as mapped)",
        "running=started_at",
    )
    spare: Annotated[tuple[str, ...] | None, PlainValidator(types.listed(mapped.condition))] = unset(
        "conditions under which a running job is left alone, however dead it looks",
        "cancel_requested = 'true'",
    )
    requeue: Annotated[tuple[Written, ...] | None, PlainValidator(mapped.written)] = unset(
        "what else a release writes: null, now, not before now, +1, keep (as it is) or 'text'",
        "run_at = not before now",
    )
    fail: Annotated[tuple[Written, ...] | None, PlainValidator(mapped.written)] = unset(
        "what else a failure writes, in the same words", "failed_at = now"
    )
