"""The default alert rules; `config/alerts.md` gives the reason of each number."""

from __future__ import annotations

from datetime import timedelta

from queuewarden.engine.alerting.rules import AlertRule

RULES: tuple[AlertRule, ...] = (
    AlertRule(
        "environment_down",
        "environment_down",
        "above",
        0,
        "critical",
        "{environment} cannot be used",
        hint="`queuewarden diagnose` tells why",
        hold=timedelta(minutes=1),
        cooldown=timedelta(minutes=5),
        escalate_after=timedelta(minutes=10),
        mutes=True,
    ),
)
"""Names are unique; `QUEUEWARDEN_RULE__<NAME>__…` changes one."""
