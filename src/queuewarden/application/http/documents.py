"""What the answers look like, for OpenAPI; see `answers`."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Status = Literal["healthy", "degraded", "unhealthy"]
State = Literal["starting", "up", "down"]


class QueueCounts(BaseModel):
    """Counts of one queue; what is unknown is absent."""

    model_config = ConfigDict(extra="forbid")

    observed_only: str | None = Field(None, description="Why it is not repaired, if it is not.")
    waiting_jobs: int | None = None
    running_jobs: int | None = None
    failed_jobs: int | None = None
    failed_last_hour: int | None = None
    oldest_waiting_seconds: int | None = None
    active_workers: int | None = None
    silent_workers: int | None = None


class Brake(BaseModel):
    """A brake that holds repairs back."""

    kind: str
    queue: str | None
    why: str
    until: datetime | None


class Anomaly(BaseModel):
    """Something wrong that no repair can mend; further fields are facts of its kind."""

    model_config = ConfigDict(extra="allow")

    kind: str
    queue: str | None
    subject: str
    hint: str


class LastChange(BaseModel):
    """What was repaired last."""

    at: datetime
    what: str


class EnvironmentDocument(BaseModel):
    """What is known of one environment; counts over all queues are absent where one is unknown."""

    model_config = ConfigDict(extra="forbid")

    status: Status
    mode: Literal["repair", "observe", "mixed"]
    state: State
    since: datetime
    reason: str | None
    last_sweep: datetime | None
    sweep_seconds: float | None
    waiting_jobs: int | None = None
    running_jobs: int | None = None
    failed_jobs: int | None = None
    active_workers: int | None = None
    queues: dict[str, QueueCounts]
    lease: dict[str, Any] | None
    brakes: list[Brake]
    anomalies: list[Anomaly]
    last_change: LastChange | None
    recommendations: list[str]


class Overview(BaseModel):
    """The daemon and all environments at a glance."""

    model_config = ConfigDict(extra="forbid")

    version: str
    started: datetime
    last_restart: datetime
    uptime_seconds: float
    ready: bool
    status: Status
    environments: dict[str, EnvironmentDocument]


class Live(BaseModel):
    """Whether the daemon does its work."""

    status: Literal["live", "hung"]


class Ready(BaseModel):
    """Whether the environments can be guarded."""

    ready: bool
    status: Status
    environments: dict[str, State]


class Point(BaseModel):
    """Counts at one moment."""

    at: datetime
    waiting: int | None
    running: int | None
    failed: int | None
    workers: int | None
    silent: int | None


class FoundRow(BaseModel):
    """A faulty row, or one that was mended."""

    key: list[str]
    label: str
    lane: str | None
    mended: bool
    facts: dict[str, str | None]


class Repair(BaseModel):
    """What one rule changed in one sweep; at most 20 of the rows."""

    at: datetime
    sweep: str
    queue: str
    check: str
    event: str
    reason: str
    count: int
    rows: list[FoundRow]


class QueueStats(BaseModel):
    """One queue: now, and over the last hours."""

    counts: QueueCounts
    points: list[Point]
    checks: dict[str, float] = Field(description="Seconds that each check took when it looked last.")


class HealthReading(BaseModel):
    """One reading of the last look at a database's health."""

    reading: str
    queue: str | None
    subject: str | None
    value: float
    severity: str | None = Field(description="How loud the alert rules are about it; null: it is well.")


class EnvironmentStats(BaseModel):
    """One environment: its sweeps, its queues, its database, what was repaired."""

    state: State
    last_sweep: datetime | None
    sweep_seconds: float | None
    queues: dict[str, QueueStats]
    health: list[HealthReading] = Field(description="Empty before the first look.")
    repairs: list[Repair] = Field(description="The latest first.")


class Stats(BaseModel):
    """Counts and trends."""

    environments: dict[str, EnvironmentStats]


class Finding(BaseModel):
    """What one rule found when its check looked last; at most 20 of the rows."""

    environment: str
    queue: str
    check: str
    code: str
    event: str
    reason: str
    at: datetime
    found: int
    mended: int
    left: int
    skipped: int
    set_aside: int
    seconds: float
    held: str | None = Field(description="The brake that held the repair back, if one did.")
    error: str | None = Field(description="SQLSTATE, or a word, where the check failed.")
    failure: str | None
    rows: list[FoundRow]


class LaneFindings(BaseModel):
    """The rows of one lane, as far as they are among those shown."""

    environment: str
    queue: str
    lane: str
    rows: int
    checks: list[str]


class Findings(BaseModel):
    """What the checks found last."""

    findings: list[Finding]
    lanes: list[LaneFindings]


class AlertDocument(BaseModel):
    """An alert that fires, or has fired."""

    id: str
    rule: str
    severity: Literal["info", "warning", "critical"]
    environment: str = Field(description="Empty where it is about the daemon itself.")
    queue: str
    subject: str
    value: float | None
    threshold: float
    summary: str
    hint: str
    since: datetime
    announced: bool
    escalated: bool
    muted: str | None
    acked_by: str | None
    resolved: datetime | None


class SuppressionDocument(BaseModel):
    """Alerts that nobody wants to hear of for a while; null stands for all."""

    id: str
    rule: str | None
    environment: str | None
    queue: str | None
    until: datetime
    reason: str
    by: str


class Alerts(BaseModel):
    """Alerts, those that fire first, and what keeps some of them silent."""

    alerts: list[AlertDocument]
    suppressions: list[SuppressionDocument]


class Swept(BaseModel):
    """Environments that are about to be swept."""

    environments: list[str]
