"""A report as JSON, whose names stay: what is added later is new names; ``schema`` changes where one goes."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from queuewarden.engine.upkeep.report.values import BIN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from queuewarden.engine.upkeep.report.values import Growth, QueueFigures, Report, Step

SCHEMA = 1


def document(reports: Mapping[str, Report | str]) -> dict[str, Any]:
    """Reports of several environments; of one that was not reached, why."""
    return {
        "schema": SCHEMA,
        "environments": {
            name: {"error": one} if isinstance(one, str) else {"error": None, **_report(one)}
            for name, one in reports.items()
        },
    }


def _report(report: Report) -> dict[str, Any]:
    frame, found = report.frame, report.availability
    return {
        "period": frame.period,
        "since": iso(frame.since),
        "until": iso(frame.until),
        "availability": {
            "share": _rounded(found.share, 6),
            "known_share": _rounded(found.known, 6),
            "up_seconds": _rounded(found.up),
            "down_seconds": _rounded(found.down),
            "unknown_seconds": _rounded(found.unknown),
        },
        "totals": asdict(report.totals),
        "queues": [_queue(one) for one in report.queues],
        "repairs": [asdict(one) for one in report.repairs],
        "errors": [
            {
                "pattern": one.pattern,
                "count": one.count,
                "queue": one.queue,
                "first": one.first,
                "last": one.last,
                "example_id": one.example_id,
            }
            for one in report.errors
        ],
        "worst_hours": [
            {"kind": one.kind, "at": iso(one.at), "value": _rounded(one.value), "queue": one.queue}
            for one in report.worst
        ],
        "growth": [_growth(one) for one in report.growth],
        "recommendations": [asdict(one) for one in report.recommendations],
        "notes": list(report.notes),
        "step_seconds": BIN[frame.period],
        "steps": [_step(one) for one in report.steps],
    }


def _queue(one: QueueFigures) -> dict[str, Any]:
    limits = one.thresholds
    return {
        "queue": one.queue,
        "table": one.table,
        "counted_share": _rounded(one.counted, 6),
        "done": one.done,
        "failed": one.failed,
        "arrived": one.arrived,
        "ended_per_hour": _rounded(one.per_hour),
        "arrived_per_hour": _rounded(one.arrived_per_hour),
        "failure_rate": _rounded(one.failure_rate, 6),
        "run_seconds": {
            "jobs": one.timed,
            "p50": _rounded(one.p50),
            "p95": _rounded(one.p95),
            "p99": _rounded(one.p99),
            "beyond_stuck_after": one.beyond,
        },
        "thresholds": None if limits is None else asdict(limits),
        "waiting": _rounded(one.waiting),
        "waiting_most": _rounded(one.waiting_most),
        "oldest_waiting_seconds_most": _rounded(one.oldest_most),
        "backlog_change": _rounded(one.backlog),
        "workers": _rounded(one.workers),
        "repaired": one.repaired,
        "check_errors": one.errors,
        "lacks": list(one.lacks),
        "steps": [_step(step) for step in one.steps],
    }


def _growth(one: Growth) -> dict[str, Any]:
    names = ("now", "per_month", "limit", "months", "months_low", "months_high")
    return {
        "queue": one.queue,
        "table": one.table,
        "measure": one.measure,
        **{name: _rounded(getattr(one, name)) for name in names},
        "per_month_low": _rounded(one.low),
        "per_month_high": _rounded(one.high),
        "limit_is": one.limit_is,
        "unknown": one.unknown or None,
        "days": len(one.points),
    }


def _step(one: Step) -> dict[str, Any]:
    return {
        "at": iso(one.at),
        "up_seconds": _rounded(one.up),
        "down_seconds": _rounded(one.down),
        "done": one.done,
        "failed": one.failed,
        "done_per_hour": _rounded(one.done_per_hour),
        "failed_per_hour": _rounded(one.failed_per_hour),
        "repaired": one.repaired,
        "waiting": _rounded(one.waiting),
    }


def iso(at: float) -> str:
    """A moment in UTC."""
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")


def _rounded(value: float | None, digits: int = 3) -> float | None:
    return None if value is None else round(value, digits)
