"""The tree of settings: every variable, its type, its default and what it means.

The tree is the single place where a variable exists: unknown names, the reference and `config show` all
go by it.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path  # noqa: TC003 -- pydantic reads the annotations
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, SecretStr
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from queuewarden.checks import CHECKS
from queuewarden.queues.mapping import OrderTerm, Reference, TableName
from queuewarden.settings import types
from queuewarden.settings.sources import GivenSource

if TYPE_CHECKING:
    from collections.abc import Mapping

    from queuewarden.settings.sources import Given, VariablePath

_DAY = timedelta(days=1)


def _timeout(text: str) -> timedelta:
    value = types.duration(text)
    if value > _DAY:
        raise ValueError("a timeout of more than 1d")
    return value


def _interval(text: str) -> timedelta:
    value = types.duration(text)
    if not timedelta(milliseconds=100) <= value <= _DAY:
        raise ValueError("an interval shorter than 100ms or longer than 1d")
    return value


def _checks(text: str) -> tuple[str, ...]:
    if text.strip().lower() == "all":
        return tuple(CHECKS)
    chosen = types.listed(types.choice(*CHECKS))(text)
    return tuple(check for check in CHECKS if check in chosen)


def _secret(text: str) -> SecretStr:
    return SecretStr(text)


Column = Annotated[str, PlainValidator(types.column)]
Columns = Annotated[tuple[str, ...], PlainValidator(types.listed(types.column))]
Table = Annotated[TableName, PlainValidator(types.table)]
Statuses = Annotated[tuple[str, ...], PlainValidator(types.listed(types.status))]
Status = Annotated[str, PlainValidator(types.status)]
Boolean = Annotated[bool, PlainValidator(types.boolean)]
Duration = Annotated[timedelta, PlainValidator(types.duration)]
Timeout = Annotated[timedelta, PlainValidator(_timeout)]
Name = Annotated[str, PlainValidator(types.name)]
Names = Annotated[tuple[str, ...], PlainValidator(types.listed(types.name))]


def _words(*words: str, also: dict[str, str] | None = None) -> PlainValidator:
    return PlainValidator(types.choice(*words, also=also))


def _number(least: int, most: int = 1_000_000) -> PlainValidator:
    return PlainValidator(types.number(least, most))


def _unset(description: str, example: str) -> Any:
    return Field(default=None, description=description, examples=[example])


class Section(BaseModel):
    """A part of the tree."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Guard(Section):
    """Guard settings: they may be given for all, an environment, a queue, or a queue in an environment."""

    interval: Annotated[timedelta, PlainValidator(_interval)] = Field(
        default=timedelta(seconds=30), description="time from one sweep to the next"
    )
    mode: Annotated[Literal["repair", "observe"], _words("repair", "observe")] = Field(
        default="repair", description="repair, or observe: report and write nothing"
    )
    checks: Annotated[tuple[str, ...], PlainValidator(_checks)] = Field(
        default=tuple(CHECKS), description="the checks to run, or all"
    )
    stuck_after: Duration = Field(
        default=timedelta(minutes=3), description="a job running for longer than this is stuck"
    )
    stuck_after_alive: Annotated[
        timedelta | Literal["never"] | None, PlainValidator(types.duration_or_never)
    ] = Field(
        default=None,
        description="the same for a job whose worker is alive, or never (unset: as STUCK_AFTER)",
        examples=["never"],
    )
    dead_after: Duration = Field(
        default=timedelta(minutes=2), description="a worker whose heartbeat is older than this is dead"
    )
    orphan_after: Duration = Field(
        default=timedelta(minutes=10), description="a waiting job without its parent is cancelled at this age"
    )
    rescue_budget: Annotated[int, _number(1)] = Field(
        default=5, description="resets of one job within a day before it goes to failed"
    )
    timestamps_fill: Annotated[Literal["estimate", "report"], _words("estimate", "report")] = Field(
        default="estimate", description="missing timestamps: estimate them, or only report"
    )
    batch: Annotated[int, _number(1, 100_000)] = Field(
        default=1000, description="rows that one statement writes at most"
    )
    position_rows: Annotated[int, _number(1)] = Field(
        default=20_000, description="positions that one sweep writes at most"
    )
    brake_rows: Annotated[int, _number(0)] = Field(
        default=50,
        description="a check that would change more rows than this, and most there are, holds first",
    )
    busy_factor: Annotated[float, PlainValidator(types.factor)] = Field(
        default=2.0, description="alert above this many running jobs for each live worker"
    )
    failed_jobs: Annotated[int, _number(0)] = Field(
        default=10, description="alert above this many jobs failed in the last hour"
    )
    oldest_waiting: Duration = Field(
        default=timedelta(hours=1), description="alert when a job has waited for longer than this"
    )
    remind_after: Duration = Field(default=timedelta(hours=1), description="repeat an alert that still holds")
    status_every: Duration = Field(default=timedelta(minutes=5), description="time between two status lines")
    statement_timeout: Timeout = Field(
        default=timedelta(seconds=30), description="the longest that one statement runs"
    )
    lock_timeout: Timeout = Field(
        default=timedelta(milliseconds=100), description="the longest that one statement waits for a lock"
    )
    connect_timeout: Timeout = Field(
        default=timedelta(seconds=5), description="the longest that connecting takes"
    )
    lease_ttl: Timeout = Field(
        default=timedelta(seconds=15), description="how long the right to repair outlives its holder"
    )
    ledger_keep: Annotated[timedelta | Literal["never"], PlainValidator(types.duration_or_never)] = Field(
        default=timedelta(days=90), description="how long the ledger keeps a change, or never to delete any"
    )
    trust_threshold: Boolean = Field(
        default=False, description="reset jobs of live workers though observed run times come near the limit"
    )


class JobsSection(Section):
    """The jobs table."""

    table: Table | None = _unset("[schema.]name of the jobs table (required)", "jobs")
    id: Columns | None = _unset("its key: one column, or several (required)", "id")
    status: Column | None = _unset("the job's status (required)", "status")
    worker: Column | None = _unset("the worker that has the job", "worker_id")
    started_at: Column | None = _unset("when the worker started", "started_at")
    heartbeat: Column | None = _unset("last sign of life of the job itself", "heartbeat_at")
    enqueued_at: Column | None = _unset("when the job came", "created_at")
    scheduled_at: Column | None = _unset("not to be started before", "run_at")
    finished_at: Column | None = _unset("when the job ended", "finished_at")
    updated_at: Column | None = _unset("when the row last changed", "updated_at")
    attempts: Column | None = _unset("attempts so far", "attempts")
    max_attempts: Annotated[str | int | None, PlainValidator(types.column_or_number)] = _unset(
        "the most attempts: a column or a number (0 or NULL: no maximum)", "max_attempts"
    )
    attempts_counted: Annotated[Literal["claim", "finish", "never"], _words("claim", "finish", "never")] = (
        Field(default="claim", description="when the application counts an attempt: claim, finish or never")
    )
    error: Column | None = _unset("where the reason of a reset is noted", "error_message")
    label: Columns | None = _unset("columns that name a job to a person", "kind, document")
    clear: Columns | None = _unset("further columns set to NULL on release", "lock_token")
    time_zone: Annotated[str, PlainValidator(types.time_zone)] = Field(
        default="UTC", description="the zone of timestamps without one, in the workers table, too"
    )


class StatesSection(Section):
    """Status values, in the column's own type."""

    waiting: Statuses | None = _unset("waiting jobs; a release writes the first (required)", "pending")
    running: Statuses | None = _unset("running jobs (required)", "running")
    done: Statuses | None = _unset("jobs that went well", "done")
    failed: Statuses | None = _unset("jobs that did not; a failure writes the first", "failed")
    cancelled: Statuses | None = _unset("jobs given up; an orphan becomes the first", "cancelled")


class WorkersSection(Section):
    """The workers table (optional)."""

    table: Table | None = _unset("[schema.]name of the workers table", "workers")
    id: Column | None = _unset("its key, as JOBS__WORKER holds it (required with the table)", "id")
    status: Column | None = _unset("the worker's status", "status")
    offline_value: Status = Field(default="offline", description="what a dead worker's status becomes")
    heartbeat: Column | None = _unset("last sign of life (required with the table)", "heartbeat_at")
    current_job: Column | None = _unset("the job that the worker says it has", "current_job_id")
    started_at: Column | None = _unset("when the worker's present life began", "started_at")
    registered_in: Name | None = _unset(
        "the environment in which the fleet registers, if not its own", "prod"
    )


class PositionsSection(Section):
    """Positions inside lanes (optional)."""

    column: Column | None = _unset("the position of a waiting job", "position")
    order_by: Annotated[tuple[OrderTerm, ...] | None, PlainValidator(types.listed(types.order_term))] = (
        _unset("the order of a lane (required with the column)", "priority desc, joined_at")
    )
    lane: Columns | None = _unset("columns that name a lane (unset: the queue is one)", "company_id")
    max_running: Annotated[int | None, _number(1)] = _unset(
        "running jobs that a lane may have (unset: 1 where positions are mapped)", "1"
    )
    dense: Boolean = Field(default=True, description="whether a lane begins at 1")
    demote: Boolean = Field(default=False, description="send running jobs above MAX_RUNNING back to waiting")


class QueueSection(Guard):
    """One queue."""

    preset: Annotated[str | None, PlainValidator(types.name)] = _unset(
        "a queue known by name, see `queuewarden presets list`", "extraction"
    )
    jobs: JobsSection = JobsSection()
    states: StatesSection = StatesSection()
    workers: WorkersSection = WorkersSection()
    positions: PositionsSection = PositionsSection()
    references: Annotated[tuple[Reference, ...] | None, PlainValidator(types.listed(types.reference))] = (
        _unset("references that must point at something", "student_id -> students.id")
    )
    timestamps: Annotated[
        tuple[tuple[str, str], ...] | None, PlainValidator(types.listed(types.timestamp))
    ] = _unset(
        "a status and the timestamp it must have (unset: running and done, as mapped)",
        "running=started_at",
    )


class EnvironmentSection(Guard):
    """One environment: a database."""

    dsn: Annotated[SecretStr | None, PlainValidator(_secret)] = _unset(
        "libpq URI or keyword string; QUEUEWARDEN_DSN alone is environment `default`",
        "postgresql://queuewarden@db.example.com/app",
    )
    dsn_file: Annotated[Path | None, PlainValidator(types.path)] = _unset(
        "a file that holds the DSN, instead of DSN", "/run/secrets/prod_dsn"
    )
    queues: Names | None = _unset("the queues that this environment has (unset: all)", "mail")
    queue: dict[str, Guard] = Field(default_factory=dict)


class Settings(BaseSettings, Guard):
    """The whole tree, from plain strings by path; it reads nothing by itself."""

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, validate_default=False
    )

    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        _words("debug", "info", "warning", "error", also={"warn": "warning"}),
    ] = Field(default="info", description="debug, info, warning or error")
    log_format: Annotated[
        Literal["auto", "console", "json", "journal"], _words("auto", "console", "json", "journal")
    ] = Field(default="auto", description="auto, console, json or journal")
    profile: Annotated[
        Literal["production", "development", "test"], _words("production", "development", "test")
    ] = Field(default="production", description="sets defaults: production, development (observe) or test")
    config_file: Path | None = _unset(
        "the configuration file, as --config; only in the process environment",
        "/etc/queuewarden/queuewarden.env",
    )
    status_file: Annotated[Path | None, PlainValidator(types.path)] = _unset(
        "where the daemon writes its status", "/run/queuewarden/status.json"
    )
    env: dict[str, EnvironmentSection] = Field(default_factory=dict)
    queue: dict[str, QueueSection] = Field(default_factory=dict)

    def __init__(self, given: Mapping[VariablePath, Given]) -> None:
        super().__init__(given=given)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what was given: pydantic-settings' own sources expand, guess and ignore."""
        del env_settings, dotenv_settings, file_secret_settings
        return (GivenSource(settings_cls, init_settings()["given"]),)
