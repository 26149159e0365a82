"""The life of an alert: under one rule, from the first bad reading to the end. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from queuewarden.engine.alerting.identity import alert_id
from queuewarden.engine.alerting.notices import Alert
from queuewarden.engine.alerting.wording import summary

if TYPE_CHECKING:
    from collections.abc import Mapping

    from queuewarden.engine.alerting.notices import About, Observation
    from queuewarden.engine.alerting.rules import AlertRule


class Life(NamedTuple):
    """An alert that fires.

    Attributes:
        rule: as it was when it last was held against a reading; None after a restart.
        announced_at, told_at: when people were told of this life first, and last.
    """

    alert: Alert
    rule: AlertRule | None
    announced_at: float | None = None
    told_at: float | None = None


class Told(NamedTuple):
    """What is remembered of former lives: when one was announced last, how often it came and went since."""

    at: float
    times: int = 0


@dataclass(frozen=True, slots=True)
class Lives:
    """All that is known under one rule.

    Attributes:
        metric: the reading that the rule was about.
        pending: since when a reading has been bad, not yet for long enough.
        firing: alerts.
        told: of those that ended, while the cooldown lasts.
    """

    metric: str | None = None
    pending: Mapping[About, float] = field(default_factory=dict)
    firing: Mapping[About, Life] = field(default_factory=dict)
    told: Mapping[About, Told] = field(default_factory=dict)


class Turn(NamedTuple):
    """What an observation makes of the lives under one rule.

    Attributes:
        unknown: of those that fire, the ones whose reading is not known just now.
    """

    pending: dict[About, float]
    firing: dict[About, Life]
    ended: list[Life]
    unknown: set[About]


def turn(rule: AlertRule, known: Lives, observation: Observation, now: float, elapsed: float) -> Turn:
    """Hold an observation against a rule.

    Args:
        rule: the rule.
        known: what was known under it.
        observation: what is known now.
        now: a monotonic moment.
        elapsed: since the last observation: where the reading is unknown, this time does not count.
    """
    values = observation.readings.get(rule.metric, {})
    threshold, above, hold = rule.threshold, rule.comparison == "above", rule.hold.total_seconds()
    taken = Turn({}, {}, [], set())
    # A reading that is not a number is on neither side.
    if above:
        bad = [about for about, value in values.items() if value > threshold]
    else:
        bad = [about for about, value in values.items() if value < threshold]
    for about in bad:
        if about in known.firing:
            continue
        since = known.pending.get(about, now)
        if now - since >= hold:
            taken.firing[about] = Life(_alert(rule, about, values[about], now), rule)
        else:
            taken.pending[about] = since
    for about, since in known.pending.items():
        if _unknown(rule, about, values.get(about), observation):
            taken.pending[about] = since + elapsed
    _go_on(rule, known, values, observation, taken)
    return taken


def _go_on(
    rule: AlertRule,
    known: Lives,
    values: Mapping[About, float],
    observation: Observation,
    taken: Turn,
) -> None:
    """What has become of those that fired."""
    above, end = rule.comparison == "above", rule.threshold if rule.clear is None else rule.clear
    for about, life in known.firing.items():
        value = values.get(about)
        if _unknown(rule, about, value, observation):
            taken.firing[about] = life
            taken.unknown.add(about)
        elif value is not None and (value > end if above else value < end):
            taken.firing[about] = life if _same(life, rule, value) else _refreshed(life, rule, value)
        else:
            taken.ended.append(life)


def _unknown(rule: AlertRule, about: About, value: float | None, observation: Observation) -> bool:
    """Whether nobody can tell; a reading may also be missing since there is nothing more to read."""
    if value is not None:
        return math.isnan(value)
    if rule.metric in observation.settled or (rule.metric, about) in observation.absent:
        return False
    return about.queue == "" or observation.queues is None or about.queue in observation.queues


def _alert(rule: AlertRule, about: About, value: float, now: float) -> Alert:
    return Alert(
        alert_id(rule.name, about),
        rule.name,
        rule.severity,
        about,
        value,
        rule.threshold,
        summary(rule, about, value),
        rule.hint,
        now,
    )


def _same(life: Life, rule: AlertRule, value: float) -> bool:
    return life.rule is rule and life.alert.value == value


def _refreshed(life: Life, rule: AlertRule, value: float) -> Life:
    was = life.alert
    # Written out, since `replace` takes twice as long, and readings such as ages change all the time.
    alert = Alert(
        was.id,
        was.rule,
        rule.severity,
        was.about,
        value,
        rule.threshold,
        summary(rule, was.about, value),
        rule.hint,
        was.since,
        was.announced,
        was.escalated,
        was.muted,
        was.acked_by,
    )
    return Life(alert, rule, life.announced_at, life.told_at)
