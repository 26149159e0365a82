"""What alerting speaks in: what is observed, what fires, and what is to be told. Values only.

Times are seconds of one monotonic clock, so that no jump of a wall clock makes an alert old.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from queuewarden.engine.alerting.rules import Severity

Change = Literal["fired", "resolved", "reminded", "escalated", "acknowledged"]


class About(NamedTuple):
    """What a reading or an alert is about; what does not apply is empty."""

    environment: str = ""
    queue: str = ""
    subject: str = ""


@dataclass(frozen=True, slots=True)
class Observation:
    """What is known just now of one environment (or, under an empty name, of the daemon itself).

    Attributes:
        readings: metric to what it is about to value.
        settled: metrics of which all is known: whatever is missing among them is over. What is missing of
            another metric is unknown: its alerts neither fire nor resolve.
        maintenance: why alerts are not announced just now (a maintenance window), if so.
        queues: those that there are: alerts of another queue are over; None where that is unknown.
        absent: readings of which it is known that there are none, such as a share of too few jobs: their
            alerts are over, too.
    """

    environment: str
    readings: Mapping[str, Mapping[About, float]]
    settled: frozenset[str] = frozenset()
    maintenance: str | None = None
    queues: frozenset[str] | None = None
    absent: frozenset[tuple[str, About]] = frozenset()


@dataclass(frozen=True, slots=True)
class Suppression:
    """Alerts that somebody does not want to hear of for a while.

    Attributes:
        id: its number; unique in its database, or in this daemon where there is none; empty before it is set.
        rule, environment, queue: which alerts; ``*`` at the end stands for anything, None for all.
        until: a monotonic moment.
        reason, by: why, and who said so.
    """

    id: str
    until: float
    reason: str
    by: str
    rule: str | None = None
    environment: str | None = None
    queue: str | None = None


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert that fires, or has fired.

    Attributes:
        id: the same for the same rule and subject in each of its lives: what `ack` names.
        since: when it began to fire (its condition had held long enough), a monotonic moment.
        muted: why it is not announced, if so: ``suppressed: …``, ``maintenance: …``, ``under RULE``.
        announced: somebody has been told of this life of it.
        acked_by: who has taken note; it is then neither reminded nor escalated.
        resolved: when it ended; None while it fires.
        told: when people were told of it, as far as a ledger has it.
    """

    id: str
    rule: str
    severity: Severity
    about: About
    value: float
    threshold: float
    summary: str
    hint: str
    since: float
    announced: bool = False
    escalated: bool = False
    muted: str | None = None
    acked_by: str | None = None
    resolved: float | None = None
    told: float | None = None


@dataclass(frozen=True, slots=True)
class AlertNotice:
    """Something to tell people.

    Attributes:
        channels: names of the only channels to tell; empty: each one that takes it.
        times: how often the alert came and went unannounced since the last notice (cooldown).
    """

    change: Change
    alert: Alert
    channels: tuple[str, ...] = ()
    times: int = 0


@dataclass(frozen=True, slots=True)
class Message:
    """What one channel is sent: one notice, or several of the same moment.

    Attributes:
        severity: the loudest of its notices.
        notices: those that the body describes.
        swallowed: notices that the channel's hourly cap held back since its last message.
    """

    severity: Severity
    title: str
    body: str
    notices: tuple[AlertNotice, ...] = field(default=())
    swallowed: int = 0
