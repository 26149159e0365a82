"""What a report tells from the daemon's memory: alerts, and how long checks take."""

from collections import Counter
from datetime import datetime

from pydantic import BaseModel

from queuewarden.application.alerting.document import wall
from queuewarden.application.http.choice import Choice
from queuewarden.application.watching.station import Station

SLOWEST = 10
"""Checks that are told."""


class Fired(BaseModel):
    """How often a rule fired, as far back as the daemon remembers."""

    rule: str
    severity: str
    count: int
    firing: int


class Slow(BaseModel):
    """What a check took when it looked last."""

    environment: str
    queue: str
    check: str
    seconds: float


def fired(choice: Choice, station: Station, since: datetime) -> list[Fired]:
    """How often each rule fired since a moment."""
    firing: Counter[tuple[str, str]] = Counter()
    counts: Counter[tuple[str, str]] = Counter()
    alarm = station.alarm
    for alert in (*alarm.alerts(), *alarm.history()):
        if not choice.about(alert.about):
            continue
        still = alert.resolved is None
        if not still and wall(alert.resolved or 0.0) < since:
            continue
        counts[alert.rule, alert.severity] += 1
        firing[alert.rule, alert.severity] += still
    return [
        Fired(rule=rule, severity=severity, count=count, firing=firing[rule, severity])
        for (rule, severity), count in counts.most_common()
    ]


def slowest(choice: Choice, station: Station) -> list[Slow]:
    """The checks that took longest when they looked last."""
    found = [
        Slow(
            environment=guard.config.name,
            queue=queue,
            check=check,
            seconds=round(sum(rule.seconds for rule in rules), 4),
        )
        for guard in choice.guards
        if (trends := station.trends.get(guard.config.name)) is not None
        for queue, checks in trends.found.items()
        if choice.has(queue)
        for check, rules in checks.items()
    ]
    return sorted(found, key=lambda one: -one.seconds)[:SLOWEST]
