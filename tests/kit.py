"""A queue for tests: tables, mapping, limits, and one sweep as the daemon makes it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from queuewarden.adapters.db.connect import connect
from queuewarden.adapters.db.session import Session
from queuewarden.engine.policy import Policy
from queuewarden.engine.resolve import resolve
from queuewarden.engine.sweep import Sweeper
from queuewarden.model import Limits
from queuewarden.queues.mapping import Jobs, Mapping, States, TableName, Workers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from queuewarden.engine.report import SweepReport
    from queuewarden.model import Outcome

LIMITS = Limits(
    interval=timedelta(seconds=30),
    mode="repair",
    checks=("dead_workers", "stuck_jobs", "orphans", "timestamps", "lanes", "positions"),
    stuck_after=timedelta(minutes=3),
    stuck_after_alive=timedelta(minutes=3),
    dead_after=timedelta(minutes=2),
    orphan_after=timedelta(minutes=10),
    rescue_budget=5,
    timestamps_fill="estimate",
    batch=1000,
    position_rows=20_000,
    brake_rows=50,
    busy_factor=2,
    failed_jobs=10,
    oldest_waiting=timedelta(hours=1),
    remind_after=timedelta(hours=1),
    status_every=timedelta(minutes=5),
    statement_timeout=timedelta(seconds=30),
    lock_timeout=timedelta(milliseconds=100),
    connect_timeout=timedelta(seconds=5),
    lease_ttl=timedelta(seconds=15),
    ledger_keep=timedelta(days=90),
    trust_threshold=False,
    alerts=True,
    critical=False,
)

SCHEMA = """
CREATE TABLE workers (
    id text PRIMARY KEY, status text NOT NULL DEFAULT 'idle', heartbeat timestamptz,
    current_job bigint, started_at timestamptz);
CREATE TABLE jobs (
    id bigserial PRIMARY KEY, status text NOT NULL DEFAULT 'waiting', worker text,
    started_at timestamptz, heartbeat timestamptz, enqueued_at timestamptz NOT NULL DEFAULT now(),
    scheduled_at timestamptz, finished_at timestamptz, updated_at timestamptz,
    attempts int NOT NULL DEFAULT 0, max_attempts int, error text, label text,
    lane int, position int, priority int NOT NULL DEFAULT 0, parent bigint);
"""
"""A jobs table with a column of each kind; `MAPPING` maps the plain ones."""

MAPPING = Mapping(
    name="mail",
    jobs=Jobs(
        table=TableName("jobs"),
        id=("id",),
        status="status",
        worker="worker",
        started_at="started_at",
        enqueued_at="enqueued_at",
        finished_at="finished_at",
        attempts="attempts",
        max_attempts="max_attempts",
        error="error",
        label=("label",),
    ),
    states=States(
        waiting=("waiting",),
        running=("running",),
        done=("done",),
        failed=("failed",),
        cancelled=("cancelled",),
    ),
    workers=Workers(
        table=TableName("workers"),
        id="id",
        heartbeat="heartbeat",
        status="status",
        offline_value="offline",
        current_job="current_job",
    ),
)

BY_HAND = Policy(daemon=False, grace=False)
"""Brakes out of the way, for tests about something else."""


def jobs_mapping(mapping: Mapping = MAPPING, **changes: Any) -> Mapping:
    """The mapping with other columns of the jobs table."""
    return replace(mapping, jobs=replace(mapping.jobs, **changes))


@asynccontextmanager
async def session(dsn: str, limits: Limits = LIMITS) -> AsyncIterator[Session]:
    """A session as the guard opens it."""
    connection = await connect(
        dsn,
        application_name="queuewarden/test",
        connect_timeout=limits.connect_timeout,
        statement_timeout=limits.statement_timeout,
    )
    opened = Session(connection, statement_timeout=limits.statement_timeout, lock_timeout=limits.lock_timeout)
    try:
        yield opened
    finally:
        await opened.close()


async def sweep_async(
    dsn: str,
    mapping: Mapping = MAPPING,
    limits: Limits = LIMITS,
    *,
    sweeper: Sweeper | None = None,
    policy: Policy = BY_HAND,
) -> SweepReport:
    """One sweep over one queue, on a connection of its own."""
    async with session(dsn, limits) as opened:
        resolution = await resolve(opened, "test", mapping, limits)
        assert resolution.target is not None, resolution.faults
        sweeper = sweeper or Sweeper("test")
        return await sweeper.sweep(opened, [resolution.target], policy=policy)


def sweep(dsn: str, mapping: Mapping = MAPPING, limits: Limits = LIMITS, **rest: Any) -> dict[str, Outcome]:
    """One sweep; the outcomes of its only queue by rule code."""
    report = asyncio.run(sweep_async(dsn, mapping, limits, **rest))
    return {outcome.code: outcome for outcome in report.queues[0].outcomes}
