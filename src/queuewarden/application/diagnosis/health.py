"""A diagnosis of the health of a database: what the alert rules find bad there, and what to run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import psycopg

from queuewarden.adapters.db.reasons import reason
from queuewarden.application.diagnosis.remark import Remark
from queuewarden.application.upkeep.checkup import checkup
from queuewarden.engine.upkeep.health.examine import MISSING
from queuewarden.engine.upkeep.health.signs import loudness
from queuewarden.errors import QueuewardenError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from queuewarden.application.by_hand import Place
    from queuewarden.application.diagnosis.remark import Level
    from queuewarden.engine.alerting.rules import AlertRule, Severity
    from queuewarden.engine.upkeep.health.signs import Health

_LEVELS: Final[Mapping[Severity, Level]] = {"info": "info", "warning": "advice", "critical": "wrong"}


async def health_remarks(place: Place, rules: Sequence[AlertRule]) -> list[Remark]:
    """Look on a connection of its own, by the short timeouts of the daemon's looks."""
    try:
        health = await checkup(place.config, place.targets)
    except (psycopg.Error, QueuewardenError) as error:
        why = reason(error)
        return [Remark("health", "info", f"could not be looked at: {why}")]
    return list(_remarks(health, rules))


def _remarks(health: Health, rules: Sequence[AlertRule]) -> Iterator[Remark]:
    bad = 0
    told: set[str] = set()
    for sign in health.signs:
        severity = loudness(rules, sign.where, sign.value)
        # Missing indexes have a topic of their own; what is of the whole server is told once, not by queue.
        if severity is None or sign.where.metric == MISSING or sign.text in told:
            continue
        bad += 1
        told.add(sign.text)
        facts = (("severity", severity), ("reading", sign.where.metric), ("value", sign.value))
        yield Remark("health", _LEVELS[severity], sign.text, sign.where.queue or None, sign.remedy, facts)
    for one in health.unseen:
        yield Remark("health", "info", f"not seen: {one}")
    if not bad:
        seen = len(health.settled)
        yield Remark("health", "ok", f"nothing found, by {seen} readings in {health.seconds * 1000:.0f} ms")
