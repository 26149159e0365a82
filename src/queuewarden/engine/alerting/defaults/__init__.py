"""The default alert rules; `config/alerts.md` gives the reason of each number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from queuewarden.engine.alerting.defaults import (
    daemon,
    database,
    guarding,
    health,
    jobs,
    tables,
    upkeep,
    workers,
)

if TYPE_CHECKING:
    from queuewarden.engine.alerting.rules import AlertRule

RULES: tuple[AlertRule, ...] = (
    *database.RULES,
    *health.RULES,
    *tables.RULES,
    *guarding.RULES,
    *upkeep.RULES,
    *workers.RULES,
    *jobs.RULES,
    *daemon.RULES,
)
"""Names are unique; `QUEUEWARDEN_RULE__<NAME>__…` changes one."""
