"""Deciding on alerts: ``(state, observation, now) → (state, notices)``. Pure.

Nothing here reads a clock, writes a log or waits; the same observations always lead to the same notices.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from queuewarden.engine.alerting.lives import Life, Lives, Told, turn
from queuewarden.engine.alerting.muting import Mute, mutes
from queuewarden.engine.alerting.notices import AlertNotice
from queuewarden.engine.alerting.rules import SEVERITIES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from queuewarden.engine.alerting.lives import Turn
    from queuewarden.engine.alerting.notices import About, Alert, Change, Observation, Suppression
    from queuewarden.engine.alerting.rules import AlertRule

HISTORY = 200
"""Alerts that ended which are kept of each environment."""

REMEMBER = 86_400.0
"""Seconds for which it is remembered how often an alert came and went unannounced."""

NONE = Lives()


@dataclass(frozen=True, slots=True)
class Policy:
    """By what alerts are decided.

    Attributes:
        rules: their names are unique.
        remind_after: seconds until people are told again of an alert that nobody has acknowledged; 0: never.
        silent: nothing is announced but the end of what was; alerts fire and end all the same.
        standby: another daemon announces; of this one, only the end of what it has told itself.
    """

    rules: tuple[AlertRule, ...]
    suppressions: tuple[Suppression, ...] = ()
    remind_after: float = 3600.0
    silent: bool = False
    standby: bool = False


@dataclass(frozen=True, slots=True)
class AlertState:
    """The alerts of one environment; a value: deciding makes a new one.

    Attributes:
        ended: those that ended, the latest last; at most `HISTORY`.
        lives: by rule: what fires, and what is remembered for the next decision.
        at: when it was decided last.
    """

    ended: tuple[Alert, ...] = ()
    lives: Mapping[str, Lives] = field(default_factory=dict)
    at: float | None = None

    @property
    def alerts(self) -> tuple[Alert, ...]:
        """Those that fire, the loudest first, then the oldest."""
        firing = [life.alert for lives in self.lives.values() for life in lives.firing.values()]
        return tuple(sorted(firing, key=lambda alert: (_quietness(alert), alert.since)))


def decide(
    state: AlertState, observation: Observation, now: float, policy: Policy
) -> tuple[AlertState, list[AlertNotice]]:
    """Take in what is known now.

    Args:
        state: what was known; of the same environment.
        observation: what is known now.
        now: a monotonic moment, not before the last one.
        policy: by what to decide.

    Returns:
        the new state, and what is to be told: the loudest first, and what is over before what is new.
    """
    elapsed = max(0.0, now - state.at) if state.at is not None else 0.0
    known = {
        rule.name: lives
        for rule in policy.rules
        if (lives := state.lives.get(rule.name)) is not None and lives.metric in {None, rule.metric}
    }
    turns = {
        rule.name: turn(rule, known.get(rule.name, NONE), observation, now, elapsed)
        for rule in policy.rules
        if rule.name in known or rule.metric in observation.readings
    }
    muted = mutes(
        policy.rules,
        {name: taken.firing for name, taken in turns.items()},
        policy.suppressions,
        observation.environment,
        observation.maintenance,
        now,
    )
    notices: list[AlertNotice] = []
    ended: list[Alert] = []
    after = {}
    for rule in policy.rules:
        if rule.name not in turns:
            continue
        taken = turns[rule.name]
        told = _after(rule, taken, known.get(rule.name, NONE).told, now)
        _tell(rule, taken, told, muted.get(rule.name, Mute()), now, policy, notices)
        after[rule.name] = Lives(rule.metric, taken.pending, taken.firing, told)
        for life in taken.ended:
            _end(life, rule.channels, now, ended, notices)
    for name, lives in state.lives.items():
        if name not in known:
            # Its rule is gone, or is about something else: and with it what was wrong.
            for life in lives.firing.values():
                _end(life, _channels(life), now, ended, notices)
    notices.sort(key=lambda notice: (_quietness(notice.alert), notice.change != "resolved"))
    return AlertState((*state.ended, *ended)[-HISTORY:], after, now), notices


def acknowledge(state: AlertState, id: str, by: str, now: float) -> tuple[AlertState, AlertNotice]:  # noqa: A002
    """Take note of an alert: people are neither reminded of it nor is it escalated, until it ends.

    Raises:
        LookupError: none of this id fires.
    """
    for name, lives in state.lives.items():
        for about, life in lives.firing.items():
            if life.alert.id == id:
                alert = replace(life.alert, acked_by=by)
                known = life._replace(alert=alert, told_at=now)
                changed = replace(lives, firing={**lives.firing, about: known})
                notice = AlertNotice("acknowledged", alert, _channels(life))
                return replace(state, lives={**state.lives, name: changed}), notice
    raise LookupError(f"no alert {id} fires")


def _after(rule: AlertRule, taken: Turn, before: Mapping[About, Told], now: float) -> dict[About, Told]:
    """What is remembered of former lives, once those that ended just now are among them."""
    cooldown = rule.cooldown.total_seconds()
    after = {
        about: told
        for about, told in before.items()
        if about in taken.firing or now - told.at < (max(cooldown, REMEMBER) if told.times else cooldown)
    }
    for life in taken.ended:
        about = life.alert.about
        if life.announced_at is not None:
            after[about] = Told(life.announced_at)
        elif about in after and life.alert.muted is None:
            after[about] = Told(after[about].at, after[about].times + 1)
    return after


def _tell(
    rule: AlertRule,
    taken: Turn,
    told: dict[About, Told],
    mute: Mute,
    now: float,
    policy: Policy,
    notices: list[AlertNotice],
) -> None:
    """What is to be told of alerts that fire; they remember it."""
    cooldown = rule.cooldown.total_seconds()
    for about, life in taken.firing.items():
        muted = mute.why(about)
        if muted != life.alert.muted:
            life = taken.firing[about] = life._replace(alert=replace(life.alert, muted=muted))  # noqa: PLW2901
        if (
            muted is not None
            or policy.silent
            or policy.standby
            or about in taken.unknown
            or life.alert.acked_by is not None
        ):
            continue
        times = 0
        if life.announced_at is None:
            former = told.get(about)
            if former is not None:
                if now - former.at < cooldown:
                    continue
                times = told.pop(about).times
            change: Change = "fired"
        elif _escalates(rule, life, now):
            change = "escalated"
        elif policy.remind_after > 0 and now - (life.told_at or 0.0) >= policy.remind_after:
            change = "reminded"
        else:
            continue
        alert = replace(life.alert, announced=True, escalated=life.alert.escalated or change == "escalated")
        announced_at = now if life.announced_at is None else life.announced_at
        taken.firing[about] = Life(alert, life.rule, announced_at, now)
        notices.append(AlertNotice(change, alert, rule.channels, times))


def _escalates(rule: AlertRule, life: Life, now: float) -> bool:
    if rule.escalate_after is None or life.alert.escalated:
        return False
    # Where it was announced late, people have as long to answer.
    told = max(life.alert.since, life.announced_at or 0.0)
    return now - told >= rule.escalate_after.total_seconds()


def _end(
    life: Life,
    channels: tuple[str, ...],
    now: float,
    ended: list[Alert],
    notices: list[AlertNotice],
) -> None:
    alert = replace(life.alert, resolved=now)
    ended.append(alert)
    if alert.announced:
        notices.append(AlertNotice("resolved", alert, channels))


def _channels(life: Life) -> tuple[str, ...]:
    return life.rule.channels if life.rule is not None else ()


def _quietness(alert: Alert) -> int:
    return -SEVERITIES.index(alert.severity)
