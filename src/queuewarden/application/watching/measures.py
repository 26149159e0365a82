"""Measures: what sweeps report and a status tells, as the numbers of one environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

from queuewarden.adapters.metrics.families import BRAKES, sqlstate_class
from queuewarden.application.narrator import REPORTED_ONLY
from queuewarden.application.watching import health_measures
from queuewarden.errors import BusyError, QueuewardenError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from queuewarden.adapters.metrics.instruments import Instruments, Labels
    from queuewarden.application.status import EnvironmentStatus
    from queuewarden.engine.report import QueueReport, SweepReport
    from queuewarden.model import Counts

SWEEPS = ("ok", "partial", "failed")

_OF_CHECK = (
    "findings_total",
    "repairs_total",
    "skipped_total",
    "set_aside_total",
    "guarded_write_races_total",
)
_OF_QUEUES = (
    "jobs",
    "jobs_eligible",
    "jobs_ended_last_hour",
    "job_run_seconds_mean",
    "oldest_waiting_seconds",
    "workers",
)
_OF_UP = (
    "left_over_rows",
    "server_connections",
    "server_connections_max",
    "server_cache_hit_ratio",
    "lease_held",
    "brake",
    "anomalies",
)


def begin(instruments: Instruments) -> None:
    """Make known what has not happened yet, so that its first time is a change."""
    for outcome in SWEEPS:
        instruments.count("sweeps_total", (outcome,), 0)
    instruments.count("database_errors_total", ("connection",), 0)
    instruments.count("database_round_trips_total", (), 0)


def take(instruments: Instruments, report: SweepReport) -> None:
    """Take in a sweep that came to its end."""
    take_work(instruments, report)
    failed = any(outcome.error is not None for queue in report.queues for outcome in queue.outcomes)
    instruments.count("sweeps_total", ("partial" if failed else "ok",))
    instruments.observe("sweep_duration_seconds", report.seconds)
    instruments.observe("probe_duration_seconds", report.probe_seconds)
    instruments.count("database_round_trips_total", (), report.round_trips)
    for queue in report.queues:
        left = dict.fromkeys(queue.looked, 0)
        for outcome in queue.outcomes:
            if outcome.check in left:
                left[outcome.check] += outcome.found - outcome.mended
        instruments.update("left_over_rows", {(queue.queue, check): rows for check, rows in left.items()})
    load = report.load
    instruments.set("server_connections", {(): load.used if load is not None else None})
    instruments.set("server_connections_max", {(): load.most if load is not None else None})
    instruments.set("server_cache_hit_ratio", {(): load.cache_hits if load is not None else None})


def take_work(instruments: Instruments, report: SweepReport) -> None:
    """Take in what a sweep did, whether or not it came to its end."""
    for queue in report.queues:
        for check in queue.looked:
            for name in _OF_CHECK:
                instruments.count(name, (queue.queue, check), 0)
        _take_outcomes(instruments, queue)


def _take_outcomes(instruments: Instruments, queue: QueueReport) -> None:
    spent: dict[str, float] = {}
    for outcome in queue.outcomes:
        if outcome.error is not None:
            instruments.count("database_errors_total", (sqlstate_class(outcome.error),))
        if outcome.check not in queue.looked:
            continue
        races = outcome.skipped if outcome.held is None and outcome.event not in REPORTED_ONLY else 0
        counted = (outcome.found, outcome.mended, outcome.skipped, outcome.set_aside, races)
        for name, amount in zip(_OF_CHECK, counted, strict=True):
            instruments.count(name, (queue.queue, outcome.check), amount)
        spent[outcome.check] = spent.get(outcome.check, 0.0) + outcome.seconds
    for check, seconds in spent.items():
        if seconds:
            instruments.observe("check_duration_seconds", seconds, (check,))


def take_failure(instruments: Instruments, error: BaseException | None) -> None:
    """Take in a sweep that failed. A mistake of ours is no error of the database's."""
    instruments.count("sweeps_total", ("failed",))
    if isinstance(error, psycopg.Error):
        instruments.count("database_errors_total", (sqlstate_class(error.sqlstate),))
    elif isinstance(error, QueuewardenError) and not isinstance(error, BusyError):
        instruments.count("database_errors_total", ("connection",))


def show(instruments: Instruments, status: EnvironmentStatus, connections: int) -> None:
    """Take in what is known now; what an outage hides is unknown, not as it was."""
    up = status.state == "up"
    ended = status.last_sweep
    instruments.set("last_successful_sweep_timestamp_seconds", {(): ended.timestamp() if ended else None})
    instruments.set("database_connections", {(): connections})
    _show_counts(instruments, status if up else None)
    if not up:
        for name in (*_OF_UP, *health_measures.ALL):
            instruments.set(name, {})
        return
    lease = status.lease
    instruments.set("lease_held", {(): float(lease["ours"]) if lease is not None else None})
    held = [brake.kind.partition(":")[0] for brake in status.brakes]
    instruments.set("brake", {(kind,): held.count(kind) for kind in BRAKES})
    raised: dict[Labels, float] = {}
    for anomaly in status.anomalies:
        labels = (anomaly.queue or "", anomaly.kind)
        raised[labels] = raised.get(labels, 0) + 1
    instruments.set("anomalies", raised)


def _show_counts(instruments: Instruments, status: EnvironmentStatus | None) -> None:
    found: dict[str, dict[Labels, float | None]] = {name: {} for name in _OF_QUEUES}
    counted = status.counts if status is not None else {}
    for queue, counts in counted.items():
        if counts is not None:
            for name, labels, value in _of_counts(counts):
                found[name][queue, *labels] = value
    for name, values in found.items():
        instruments.set(name, values)


def _of_counts(counts: Counts) -> Iterator[tuple[str, Labels, float | None]]:
    for state in ("waiting", "running", "failed"):
        yield "jobs", (state,), getattr(counts, state)
    yield "jobs_eligible", (), counts.eligible
    yield "jobs_ended_last_hour", ("done",), counts.done_last_hour
    yield "jobs_ended_last_hour", ("failed",), counts.failed_last_hour
    for name, span in (
        ("job_run_seconds_mean", counts.average_run),
        ("oldest_waiting_seconds", counts.oldest_waiting),
    ):
        yield name, (), span.total_seconds() if span is not None else None
    yield "workers", ("alive",), counts.live_workers
    yield "workers", ("silent",), counts.silent_workers
    yield "workers", ("registered",), counts.registered_workers
