"""Succession: who announces goes on where another daemon, or this one before a restart, ended. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from queuewarden.engine.alerting.decide import HISTORY, AlertState
from queuewarden.engine.alerting.lives import Life, Lives, Told

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from queuewarden.engine.alerting.notices import About, Alert


def restore(
    alerts: Iterable[Alert], now: float, before: Mapping[str, Mapping[About, Told]] | None = None
) -> AlertState:
    """What was known before a restart: nothing is announced twice, and what is over by now will be told.

    The cooldown of what had ended goes on, from when it began.

    Args:
        alerts: of one environment; their times by the clock of this process.
        now: a monotonic moment.
        before: what this process remembers of former lives, by rule.
    """
    firing: dict[str, dict[About, Life]] = {}
    told = {rule: dict(known) for rule, known in (before or {}).items()}
    ended = []
    for alert in alerts:
        if alert.resolved is not None:
            ended.append(alert)
            if alert.announced:
                known, last = told.setdefault(alert.rule, {}), Told(_announced(alert))
                known[alert.about] = max(known.get(alert.about, last), last)
            continue
        life = Life(alert, None, _announced(alert), now) if alert.announced else Life(alert, None)
        firing.setdefault(alert.rule, {})[alert.about] = life
    lives = {
        rule: Lives(firing=firing.get(rule, {}), told=told.get(rule, {}))
        for rule in firing.keys() | told.keys()
    }
    return AlertState(tuple(ended[-HISTORY:]), lives, now)


def _announced(alert: Alert) -> float:
    """When people were told: what had been muted was told late, and they have as long to answer."""
    if alert.told is None:
        return alert.since
    return alert.told if alert.resolved is None else min(alert.told, alert.resolved)


def handed_over(state: AlertState, ids: Collection[str]) -> AlertState:
    """What another daemon announces from now on: it will tell the end of these alerts, too."""
    lives = {}
    for rule, known in state.lives.items():
        firing = {
            about: life._replace(alert=replace(life.alert, announced=False)) if life.alert.id in ids else life
            for about, life in known.firing.items()
        }
        lives[rule] = replace(known, firing=firing)
    return replace(state, lives=lives)
