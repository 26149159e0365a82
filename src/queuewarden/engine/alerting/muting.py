"""Why an alert is not announced: something louder says it already, or nobody wants to hear of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from queuewarden.engine.alerting.rules import SEVERITIES
from queuewarden.engine.alerting.suppression import fits, holding, told

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from queuewarden.engine.alerting.notices import About, Suppression
    from queuewarden.engine.alerting.rules import AlertRule


@dataclass(slots=True)
class Mute:
    """What mutes the alerts of one rule just now.

    Attributes:
        all: why all of them are muted, whatever they are about.
        under: what each louder rule on the same reading fires for.
        suppressions: those that hold for the rule.
        else_: why all of them are muted that nothing else mutes.
    """

    all: str | None = None
    under: list[tuple[str, Collection[About]]] = field(default_factory=list)
    suppressions: Sequence[Suppression] = ()
    else_: str | None = None

    def why(self, about: About) -> str | None:
        """Why one alert is muted; None where it is not."""
        if self.all is not None:
            return self.all
        for why, covered in self.under:
            if about in covered:
                return why
        for suppression in self.suppressions:
            if fits(suppression.queue, about.queue):
                return told(suppression)
        return self.else_


def mutes(
    rules: Iterable[AlertRule],
    firing: Mapping[str, Collection[About]],
    suppressions: Sequence[Suppression],
    environment: str,
    maintenance: str | None,
    now: float,
) -> dict[str, Mute]:
    """What mutes each rule under which something fires.

    Args:
        rules: all.
        firing: rule to what it fires for.
        suppressions: all.
        environment: whose alerts these are.
        maintenance: why nothing of it is announced, if so.
        now: a monotonic moment.
    """
    loudest_first = sorted(
        (rule for rule in rules if firing.get(rule.name)), key=lambda rule: -SEVERITIES.index(rule.severity)
    )
    parent = next((rule for rule in loudest_first if rule.mutes), None)
    found = {}
    for number, rule in enumerate(loudest_first):
        mute = Mute(suppressions=holding(suppressions, rule.name, environment, now))
        if parent is not None and rule is not parent:
            mute.all = f"under {parent.name}"
        mute.under = [
            (f"under {other.name}", firing[other.name])
            for other in loudest_first[:number]
            if other.severity != rule.severity
            and (other.metric, other.comparison) == (rule.metric, rule.comparison)
        ]
        if maintenance is not None:
            mute.else_ = f"maintenance: {maintenance}"
        found[rule.name] = mute
    return found
