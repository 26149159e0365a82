"""Alerts and suppressions as plain values, for JSON."""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from queuewarden.engine.alerting.notices import Alert, Suppression


def wall(moment: float) -> datetime:
    """A monotonic moment as a person's time."""
    return datetime.now(UTC) + timedelta(seconds=moment - time.monotonic())


def described(alert: Alert) -> dict[str, Any]:
    """An alert; what is no number is null."""
    return {
        "id": alert.id,
        "rule": alert.rule,
        "severity": alert.severity,
        **alert.about._asdict(),
        "value": alert.value if math.isfinite(alert.value) else None,
        "threshold": alert.threshold,
        "summary": alert.summary,
        "hint": alert.hint,
        "since": wall(alert.since).isoformat(),
        "announced": alert.announced,
        "escalated": alert.escalated,
        "muted": alert.muted,
        "acked_by": alert.acked_by,
        "resolved": wall(alert.resolved).isoformat() if alert.resolved is not None else None,
    }


def suppression(one: Suppression) -> dict[str, Any]:
    """A suppression."""
    return {
        "id": one.id,
        "rule": one.rule,
        "environment": one.environment,
        "queue": one.queue,
        "until": wall(one.until).isoformat(),
        "reason": one.reason,
        "by": one.by,
    }
