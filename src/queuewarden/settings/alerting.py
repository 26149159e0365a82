"""From settings to alert channels and alert rules, with all that is wrong with them."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from itertools import permutations
from typing import TYPE_CHECKING, Any

from queuewarden.engine.alerting.defaults import RULES
from queuewarden.engine.alerting.readings import READINGS
from queuewarden.engine.alerting.rules import SEVERITIES, AlertRule
from queuewarden.settings import types
from queuewarden.settings.alert_sections import ChannelSection, RuleSection
from queuewarden.settings.configuration import ChannelConfig
from queuewarden.settings.listening import missing_extra
from queuewarden.settings.names import nearest, variable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from queuewarden.settings.listening import Secrets
    from queuewarden.settings.sections import Settings
    from queuewarden.settings.sources import Given, VariablePath

CREDENTIAL = "alert_"
"""What the credential of a channel's URL is called, and behind it the channel."""

_URL = re.compile(r"[a-z][a-z0-9+.-]*://\S", re.IGNORECASE | re.ASCII)
_CHANGEABLE = [field.name for field in fields(AlertRule) if field.name in RuleSection.model_fields]


class Reader:
    """Reads channels and rules.

    Args:
        settings: the tree.
        given: every value, by its path.
        bad: the paths of those that were refused, about which enough was said.

    Attributes:
        names: all channels, those that are wrong, too, once they are read.
        faults: what is wrong with what was read so far.
    """

    def __init__(
        self, settings: Settings, given: Mapping[VariablePath, Given], bad: Collection[VariablePath]
    ) -> None:
        self._settings = settings
        self._given = given
        self._bad = bad
        self.names: list[str] = []
        self.faults: list[str] = []

    def channels(self, secrets: Secrets, environments: Collection[str]) -> tuple[ChannelConfig, ...]:
        """The channels; a credential ``alert_ops`` makes a channel, too."""
        credentials = {name.removeprefix(CREDENTIAL) for name in secrets.names if name.startswith(CREDENTIAL)}
        self.faults += [
            f"credential {types.shown(CREDENTIAL + name)}: {types.NAME_RULE}"
            for name in sorted(credentials)
            if not types.NAME.fullmatch(name)
        ]
        there = {path[1] for path in (*self._given, *self._bad) if path[0] == "alert"}
        self.names = sorted(there | {name for name in credentials if types.NAME.fullmatch(name)})
        found = [
            one for name in self.names if (one := self._channel(name, secrets, environments)) is not None
        ]
        if found and (fault := missing_extra("notify", "apprise")):
            self.faults.append(f"{found[0].url.origin}: {fault}")
        return tuple(found)

    def rules(self) -> tuple[AlertRule, ...]:
        """The rules that are enabled, the default ones included; channels are read before."""
        found = {rule.name: rule for rule in RULES}
        for name in sorted({path[1] for path in (*self._given, *self._bad) if path[0] == "rule"}):
            section = self._settings.rule.get(name, RuleSection())
            rule = self._rule(name, section, found.get(name))
            if rule is not None:
                found[name] = rule
            if not section.enabled:
                found.pop(name, None)
        self.faults += self._reversed(found.values())
        return tuple(found.values())

    def _channel(self, name: str, secrets: Secrets, environments: Collection[str]) -> ChannelConfig | None:
        section = self._settings.alert.get(name, ChannelSection())
        path, filed = ("alert", name, "url"), ("alert", name, "url_file")
        for one in section.environments or ():
            if one not in environments:
                self.faults.append(
                    f"{self._given['alert', name, 'environments']}: unknown environment {types.shown(one)};"
                    f" {nearest(one, environments)}"
                )
        url = secrets.find(path, section.url, section.url_file, f"{CREDENTIAL}{name}")
        if url is None:
            if not {path, filed} & set(self._bad):
                self.faults.append(
                    f"channel {name} has no URL: set {variable(path)}, {variable(filed)}"
                    f" or the credential {CREDENTIAL}{name}{secrets.note}"
                )
            return None
        if url.value is not None and not _URL.match(url.value.strip()):
            self.faults.append(
                f"{url.origin}: not a URL in the grammar of Apprise, such as slack://… or mailtos://…"
            )
        return ChannelConfig(
            name,
            url,
            frozenset(section.severities),
            frozenset(section.environments or ()),
            section.hourly,
            section.timeout,
        )

    def _rule(self, name: str, section: RuleSection, known: AlertRule | None) -> AlertRule | None:
        faults = [*self._unknown(name, section)]
        changed = _changed(section)
        if known is None:
            lacking = [field for field in ("metric", "threshold") if field not in changed]
            unsaid = [path for field in lacking if (path := ("rule", name, field)) not in self._bad]
            if unsaid:
                wanted = " and ".join(map(variable, unsaid))
                faults.append(f"rule {name} is no default rule, so that it needs {wanted}")
            self.faults += faults
            if lacking or faults:
                return None
            summary = (
                f"{{environment}} {{queue}} {{subject}}: {changed['metric']} is {{value}} ({{threshold}})"
            )
            known = AlertRule(name, changed["metric"], "above", 0.0, "warning", summary)
        else:
            self.faults += faults
        rule = replace(known, **changed)
        # Where only the threshold is moved, the place where a default alert ends says nothing any more.
        if section.threshold is not None and section.clear is None:
            rule = replace(rule, clear=None)
        if rule.clear is not None and (
            rule.clear > rule.threshold if rule.comparison == "above" else rule.clear < rule.threshold
        ):
            culprit = " and ".join(self._spelled([name], ("clear", "comparison")))
            self.faults.append(
                f"{culprit}: CLEAR must lie on the good side of the threshold {rule.threshold:g}"
            )
        return rule

    def _unknown(self, name: str, section: RuleSection) -> Iterator[str]:
        for one in section.channels or ():
            if one not in self.names:
                yield (
                    f"{self._given['rule', name, 'channels']}: unknown channel {types.shown(one)};"
                    f" {nearest(one, self.names)}"
                )
        if section.metric is not None and section.metric not in READINGS:
            yield (
                f"{self._given['rule', name, 'metric']}: unknown reading; {nearest(section.metric, READINGS)}"
            )

    def _reversed(self, found: Iterable[AlertRule]) -> Iterator[str]:
        """Of two rules on one reading, the louder one must need more.

        A rule of somebody's own may lie anywhere beside the default ones: whatever it is, it was meant.
        """
        default = {rule.name for rule in RULES}
        for quiet, loud in permutations(found, 2):
            if (quiet.metric, quiet.comparison) != (loud.metric, loud.comparison):
                continue
            if SEVERITIES.index(quiet.severity) >= SEVERITIES.index(loud.severity):
                continue
            if (quiet.name in default) != (loud.name in default):
                continue
            over = (
                quiet.threshold > loud.threshold
                if quiet.comparison == "above"
                else quiet.threshold < loud.threshold
            )
            if over:
                culprits = self._spelled(
                    [quiet.name, loud.name], ("threshold", "severity", "metric", "comparison")
                )
                yield (
                    f"{' and '.join(culprits)}: rule {quiet.name} ({quiet.severity}) would come after"
                    f" {loud.name} ({loud.severity}): the {quiet.severity} threshold must be reached first"
                )

    def _spelled(self, rules: Iterable[str], names: Iterable[str]) -> list[str]:
        """The variables of some rules that were set, as faults name them."""
        paths = [("rule", rule, name) for rule in rules for name in names]
        return [str(self._given[path]) for path in paths if path in self._given]


def _changed(section: RuleSection) -> dict[str, Any]:
    """What the section sets, by the names of `AlertRule`."""
    changed = {field: value for field in _CHANGEABLE if (value := getattr(section, field)) is not None}
    if changed.get("escalate_after") == "never":
        changed["escalate_after"] = None
    return changed
