"""Alert rules: what is measured, when it is worth a person's attention, and how loud. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, get_args

Severity = Literal["info", "warning", "critical"]
Comparison = Literal["above", "below"]

SEVERITIES: tuple[Severity, ...] = get_args(Severity)
"""From quiet to loud."""

PLACEHOLDERS = frozenset({"environment", "queue", "subject", "value", "threshold"})
"""What a summary may hold, in braces."""


@dataclass(frozen=True, slots=True)
class AlertRule:
    """One condition on one reading.

    Attributes:
        name: as `QUEUEWARDEN_RULE__<NAME>__…` calls it.
        metric: a reading, see `engine.alerting.readings.READINGS`.
        comparison: the reading is bad ``above`` or ``below`` the threshold; equal is good.
        threshold: in the reading's own unit.
        severity: how loud.
        hold: for how long the condition must hold before anybody is told (``FOR``).
        clear: where the alert ends: the reading must come back to this value, which lies on the good side
            of the threshold (hysteresis); None: the threshold itself.
        cooldown: the same alert is not announced twice within this time, however often it comes and goes.
        escalate_after: an alert that nobody has acknowledged for so long is escalated; None: never.
        channels: names of the only channels that are told; empty: each one that takes the severity.
        summary: what is wrong, in a sentence; may hold `PLACEHOLDERS` in braces.
        hint: what to do about it.
        mutes: while it fires, alerts of the same environment under other rules are not announced.
    """

    name: str
    metric: str
    comparison: Comparison
    threshold: float
    severity: Severity
    summary: str
    hint: str = ""
    hold: timedelta = timedelta(0)
    clear: float | None = None
    cooldown: timedelta = timedelta(minutes=15)
    escalate_after: timedelta | None = None
    channels: tuple[str, ...] = ()
    mutes: bool = False
