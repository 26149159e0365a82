"""Alerts without a database: one rule, or a few, and readings over time."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from queuewarden.engine.alerting.decide import AlertState, Policy, acknowledge, decide
from queuewarden.engine.alerting.notices import About, Observation
from queuewarden.engine.alerting.rules import AlertRule

if TYPE_CHECKING:
    from collections.abc import Mapping

    from queuewarden.engine.alerting.notices import Alert, AlertNotice

MAIL = About("prod", "mail")
NEWS = About("prod", "news")
METRIC = "waiting_jobs"


def rule(name: str = "backlog", threshold: float = 10, **changes: Any) -> AlertRule:
    """A rule that fires at once above 10 waiting jobs, and has no cooldown."""
    known = AlertRule(
        name, METRIC, "above", threshold, "warning", "{queue}: {value} wait", cooldown=timedelta(0)
    )
    return replace(known, **changes)


def told(notices: list[AlertNotice]) -> list[str]:
    """Notices in short: ``fired backlog mail``."""
    return [
        " ".join(part for part in (one.change, one.alert.rule, one.alert.about.queue) if part)
        for one in notices
    ]


@dataclass
class Story:
    """The alerts of one environment, observed again and again."""

    policy: Policy
    state: AlertState = field(default_factory=AlertState)
    now: float = 0.0

    @staticmethod
    def of(*rules: AlertRule, **policy: Any) -> Story:
        return Story(Policy(rules, **policy))

    def sees(
        self,
        readings: Mapping[About, float] | float | None,
        at: float | None = None,
        metric: str = METRIC,
        **observation: Any,
    ) -> list[AlertNotice]:
        """Observe, at a moment or a second later; a plain number is queue ``mail``'s, None is missing."""
        self.now = self.now + 1 if at is None else at
        if readings is None:
            readings = {}
        elif not isinstance(readings, dict):
            readings = {MAIL: float(readings)}  # type: ignore[arg-type]
        seen = Observation("prod", {metric: readings}, **observation)
        self.state, notices = decide(self.state, seen, self.now, self.policy)
        return notices

    def hears(self, *args: Any, **kwargs: Any) -> list[str]:
        """As `sees`, in short."""
        return told(self.sees(*args, **kwargs))

    def acks(self, by: str = "ann", about: About = MAIL) -> AlertNotice:
        (alert,) = [one for one in self.state.alerts if one.about == about]
        self.state, notice = acknowledge(self.state, alert.id, by, self.now)
        return notice

    def reloads(self, **changes: Any) -> None:
        """Another policy from now on."""
        self.policy = replace(self.policy, **changes)

    @property
    def alert(self) -> Alert:
        """The only one that fires."""
        (alert,) = self.state.alerts
        return alert

    @property
    def firing(self) -> list[str]:
        return [one.rule for one in self.state.alerts]
