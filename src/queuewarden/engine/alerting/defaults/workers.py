"""Of workers: too few, too busy, or hanging."""

from __future__ import annotations

from datetime import timedelta

from queuewarden.engine.alerting.rules import AlertRule

RULES: tuple[AlertRule, ...] = (
    AlertRule(
        "no_live_worker",
        "no_live_worker",
        "above",
        0,
        "critical",
        "{environment}/{queue}: no worker beats while jobs wait ({value})",
        hint="start workers",
        hold=timedelta(minutes=1),
        cooldown=timedelta(minutes=10),
        escalate_after=timedelta(minutes=15),
    ),
    AlertRule(
        "overbusy",
        "overbusy",
        "above",
        0,
        "warning",
        "{environment}/{queue}: {value} jobs run, more than the workers can hold",
        hint="look for workers that do not beat; BUSY_FACTOR says how many jobs one may run",
        hold=timedelta(minutes=2),
    ),
    AlertRule(
        "zombie",
        "zombie",
        "above",
        0,
        "warning",
        "{environment}/{queue}: worker {subject} beats though it is marked offline",
        hint="restart it",
        hold=timedelta(minutes=2),
        cooldown=timedelta(hours=1),
    ),
    AlertRule(
        "wedged",
        "wedged",
        "above",
        0,
        "warning",
        "{environment}/{queue}: worker {subject} beats and claims nothing though jobs wait",
        hint="restart it",
        cooldown=timedelta(minutes=30),
    ),
)
