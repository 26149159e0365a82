"""Guard settings: for all, an environment, a queue, or a queue in an environment."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, PlainValidator

from queuewarden.checks import CHECKS
from queuewarden.settings import types
from queuewarden.settings.fields import (
    Boolean,
    Checks,
    Duration,
    DurationOrNever,
    Interval,
    Section,
    Timeout,
    number,
    words,
)


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
