"""Of upkeep: tasks that fail, or that nobody runs."""

from __future__ import annotations

from datetime import timedelta

from queuewarden.engine.alerting.rules import AlertRule

RULES: tuple[AlertRule, ...] = (
    AlertRule(
        "upkeep_failed",
        "upkeep_failed",
        "above",
        0,
        "warning",
        "{environment}: the last run of {subject} failed",
        hint="`queuewarden upkeep status` tells why; `queuewarden upkeep run` runs it again",
        cooldown=timedelta(hours=6),
    ),
    AlertRule(
        "upkeep_overdue",
        "upkeep_overdue_seconds",
        "above",
        3600,
        "warning",
        "{environment}: {subject} should have begun {value} ago",
        hint="backup, verify and report need the timer queuewarden-upkeep@{environment}, or a job of cron",
        cooldown=timedelta(hours=6),
    ),
    AlertRule(
        "backup_unproven",
        "backup_verified_age_seconds",
        "above",
        0,
        "warning",
        "{environment}: no proven backup is young enough: the newest is {value} older than VERIFIED_WITHIN",
        hint="`queuewarden backup list` tells which are proven; `queuewarden backup verify` proves one",
        cooldown=timedelta(hours=6),
    ),
)
