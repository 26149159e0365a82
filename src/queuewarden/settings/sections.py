"""The tree of settings: every variable, its type, its default and what it means.

The tree is the single place where a variable exists: unknown names, the reference and `config show` all
go by it.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, PlainValidator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from queuewarden.checks import CHECKS
from queuewarden.queues.mapping import OrderTerm, Reference
from queuewarden.settings import types
from queuewarden.settings.addresses import listen
from queuewarden.settings.alert_sections import ChannelSection, RuleSection
from queuewarden.settings.fields import (
    Boolean,
    Checks,
    Column,
    Columns,
    Duration,
    DurationOrNever,
    FilePath,
    Interval,
    Name,
    Names,
    Secret,
    Section,
    Status,
    Statuses,
    Table,
    Timeout,
    number,
    unset,
    words,
)
from queuewarden.settings.sources import GivenSource

if TYPE_CHECKING:
    from collections.abc import Mapping

    from queuewarden.settings.sources import Given, VariablePath


class Guard(Section):
    """Guard settings: they may be given for all, an environment, a queue, or a queue in an environment."""

    interval: Interval = Field(default=timedelta(seconds=30), description="time from one sweep to the next")
    mode: Annotated[Literal["repair", "observe"], words("repair", "observe")] = Field(
        default="repair", description="repair, or observe: report and write nothing"
    )
    checks: Checks = Field(default=tuple(CHECKS), description="the checks to run, or all")
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
    rescue_budget: Annotated[int, number(1)] = Field(
        default=5, description="resets of one job within a day before it goes to failed"
    )
    timestamps_fill: Annotated[Literal["estimate", "report"], words("estimate", "report")] = Field(
        default="estimate", description="missing timestamps: estimate them, or only report"
    )
    batch: Annotated[int, number(1, 100_000)] = Field(
        default=1000, description="rows that one statement writes at most"
    )
    position_rows: Annotated[int, number(1)] = Field(
        default=20_000, description="positions that one sweep writes at most"
    )
    brake_rows: Annotated[int, number(0)] = Field(
        default=50,
        description="a check that would change more rows than this, and most there are, holds first",
    )
    busy_factor: Annotated[float, PlainValidator(types.factor)] = Field(
        default=2.0, description="alert above this many running jobs for each live worker"
    )
    failed_jobs: Annotated[int, number(0)] = Field(
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
    ledger_keep: DurationOrNever = Field(
        default=timedelta(days=90), description="how long the ledger keeps a change, or never to delete any"
    )
    trust_threshold: Boolean = Field(
        default=False, description="reset jobs of live workers though observed run times come near the limit"
    )
    alerts: Boolean = Field(default=True, description="whether alerts are sent to the channels")
    critical: Boolean = Field(
        default=False, description="each job that fails is a critical alert, which is sent at once"
    )


class JobsSection(Section):
    """The jobs table."""

    table: Table | None = unset("[schema.]name of the jobs table (required)", "jobs")
    id: Columns | None = unset("its key: one column, or several (required)", "id")
    status: Column | None = unset("the job's status (required)", "status")
    worker: Column | None = unset("the worker that has the job", "worker_id")
    started_at: Column | None = unset("when the worker started", "started_at")
    heartbeat: Column | None = unset("last sign of life of the job itself", "heartbeat_at")
    enqueued_at: Column | None = unset("when the job came", "created_at")
    scheduled_at: Column | None = unset("not to be started before", "run_at")
    finished_at: Column | None = unset("when the job ended", "finished_at")
    updated_at: Column | None = unset("when the row last changed", "updated_at")
    attempts: Column | None = unset("attempts so far", "attempts")
    max_attempts: Annotated[str | int | None, PlainValidator(types.column_or_number)] = unset(
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


class StatesSection(Section):
    """Status values, in the column's own type."""

    waiting: Statuses | None = unset("waiting jobs; a release writes the first (required)", "pending")
    running: Statuses | None = unset("running jobs (required)", "running")
    done: Statuses | None = unset("jobs that went well", "done")
    failed: Statuses | None = unset("jobs that did not; a failure writes the first", "failed")
    cancelled: Statuses | None = unset("jobs given up; an orphan becomes the first", "cancelled")


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
    order_by: Annotated[tuple[OrderTerm, ...] | None, PlainValidator(types.listed(types.order_term))] = unset(
        "the order of a lane (required with the column)", "priority desc, joined_at"
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
    positions: PositionsSection = PositionsSection()
    references: Annotated[tuple[Reference, ...] | None, PlainValidator(types.listed(types.reference))] = (
        unset("references that must point at something", "student_id -> students.id")
    )
    timestamps: Annotated[
        tuple[tuple[str, str], ...] | None, PlainValidator(types.listed(types.timestamp))
    ] = unset(
        "a status and the timestamp it must have (unset: running and done, as mapped)",
        "running=started_at",
    )


class EnvironmentSection(Guard):
    """One environment: a database."""

    dsn: Secret | None = unset(
        "libpq URI or keyword string; QUEUEWARDEN_DSN alone is environment `default`",
        "postgresql://queuewarden@db.example.com/app",
    )
    dsn_file: FilePath | None = unset("a file that holds the DSN, instead of DSN", "/run/secrets/prod_dsn")
    ping_url: Secret | None = unset(
        "a URL that is called after each good sweep of this environment", "https://ping.example.com/prod"
    )
    ping_url_file: FilePath | None = unset("a file that holds it, instead", "/run/secrets/prod_ping")
    queues: Names | None = unset("the queues that this environment has (unset: all)", "mail")
    queue: dict[str, Guard] = Field(default_factory=dict)


class Settings(BaseSettings, Guard):
    """The whole tree, from plain strings by path; it reads nothing by itself."""

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, validate_default=False
    )

    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        words("debug", "info", "warning", "error", also={"warn": "warning"}),
    ] = Field(default="info", description="debug, info, warning or error")
    log_format: Annotated[
        Literal["auto", "console", "json", "journal"], words("auto", "console", "json", "journal")
    ] = Field(default="auto", description="auto, console, json or journal")
    profile: Annotated[
        Literal["production", "development", "test"], words("production", "development", "test")
    ] = Field(default="production", description="sets defaults: production, development (observe) or test")
    config_file: Path | None = unset(
        "the configuration file, as --config; only in the process environment",
        "/etc/queuewarden/queuewarden.env",
    )
    status_file: FilePath | None = unset("where the daemon writes its status", "/run/queuewarden/status.json")
    http: Annotated[str | None, PlainValidator(listen)] = unset(
        "where the HTTP API and the page listen: host:port, or unix:/path (unset: nowhere)", "127.0.0.1:9753"
    )
    http_read_token: Secret | None = unset(
        "what readers send as `Authorization: Bearer`, at least 16 characters", "a-long-random-word"
    )
    http_read_token_file: FilePath | None = unset("a file that holds it, instead", "/run/secrets/read_token")
    http_write_token: Secret | None = unset(
        "the same for those who repair, acknowledge and suppress; it reads, too", "another-random-word"
    )
    http_write_token_file: FilePath | None = unset(
        "a file that holds it, instead", "/run/secrets/write_token"
    )
    http_open_read: Boolean = Field(
        default=False, description="whoever is on this machine may read without a token"
    )
    http_rate: Annotated[int, number(50, 100_000)] = Field(
        default=100, description="requests a second that one client may make"
    )
    ping_url: Secret | None = unset(
        "a URL that is called after each round in which every environment was swept well",
        "https://ping.example.com/all",
    )
    ping_url_file: FilePath | None = unset("a file that holds it, instead", "/run/secrets/ping")
    env: dict[str, EnvironmentSection] = Field(default_factory=dict)
    queue: dict[str, QueueSection] = Field(default_factory=dict)
    alert: dict[str, ChannelSection] = Field(default_factory=dict)
    rule: dict[str, RuleSection] = Field(default_factory=dict)

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
