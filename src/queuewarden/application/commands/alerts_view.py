"""Alerts and suppressions as `alerts` shows them."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from queuewarden.application.alerting.document import described, suppression
from queuewarden.application.commands.paint import safe, say
from queuewarden.application.status import brief

if TYPE_CHECKING:
    from collections.abc import Sequence

    from queuewarden.application.by_hand import Visit
    from queuewarden.engine.alerting.notices import Alert, Suppression

_COLOURS = {"critical": "red", "warning": "yellow", "info": None}


def show(environment: str, found: Sequence[Alert], holding: Sequence[Suppression]) -> None:
    """Print alerts and suppressions of one environment."""
    if not found and not holding:
        say(f"{environment}: no alert fires")
    for alert in found:
        ended = alert.resolved
        state = [f"for {_ago(alert.since)}" if ended is None else f"ended {_ago(ended)} ago"]
        state += ["escalated"] if alert.escalated else []
        state += [f"acknowledged by {safe(alert.acked_by)}"] if alert.acked_by else []
        colour = _COLOURS[alert.severity] if ended is None else None
        say(f"{alert.severity:8} {safe(alert.summary, 200)}  ({', '.join(state)})", colour)
        say(f"         {safe(alert.id, 200)}{f'  {safe(alert.hint, 200)}' if alert.hint else ''}")
    for one in holding:
        left = _ago(2 * time.monotonic() - one.until)
        why = f"{safe(one.reason, 200)} (by {safe(one.by)})"
        say(f"{environment}: {what(one)} suppressed for {left} more; id {one.id}: {why}")


def what(one: Suppression) -> str:
    """Which alerts it means."""
    parts = [("rule", one.rule), ("environment", one.environment), ("queue", one.queue)]
    return ", ".join(f"{word} {safe(value)}" for word, value in parts if value) or "everything"


def _ago(moment: float) -> str:
    return brief(timedelta(seconds=max(0.0, time.monotonic() - moment)))


def document(one: Visit[tuple[list[Alert], list[Suppression]]]) -> dict[str, Any]:
    """The same as plain values."""
    if one.result is None:
        return {"error": one.error}
    found, holding = one.result
    return {
        "alerts": [described(alert) for alert in found],
        "suppressions": [suppression(each) for each in holding],
    }
