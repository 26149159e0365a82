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
    from collections.abc import Collection, Iterable, Mapping

    from queuewarden.settings.listening import Secrets
    from queuewarden.settings.sections import Settings
    from queuewarden.settings.sources import Given, VariablePath

_URL = re.compile(r"[a-z][a-z0-9+.-]*://\S", re.IGNORECASE | re.ASCII)
_CHANGEABLE = [field.name for field in fields(AlertRule) if field.name in RuleSection.model_fields]


def channels(
    settings: Settings,
    given: Mapping[VariablePath, Given],
    secrets: Secrets,
    environments: Collection[str],
    credentials: Iterable[str],
) -> tuple[tuple[ChannelConfig, ...], list[str]]:
    """The channels, and all that is wrong with them; a credential ``alert_ops`` makes a channel, too."""
    faults: list[str] = []
    found = []
    named = {name.removeprefix("alert_") for name in credentials if name.startswith("alert_")}
    for name in sorted({path[1] for path in given if path[0] == "alert"} | named):
        section = settings.alert.get(name, ChannelSection())
        path = ("alert", name, "url")
        url = secrets.find(path, section.url, section.url_file, f"alert_{name}")
        if url is None:
            faults.append(
                f"channel {name} has no URL: set {variable(path)}, {variable((*path[:-1], 'url_file'))}"
                f" or the credential alert_{name}"
            )
            continue
        if url.value is not None and not _URL.match(url.value):
            faults.append(
                f"{url.origin}: not a URL in the grammar of Apprise, such as slack://… or mailtos://…"
            )
        faults += [
            f"{given[*path[:-1], 'environments']}: unknown environment {types.shown(one)};"
            f" {nearest(one, environments)}"
            for one in section.environments or ()
            if one not in environments
        ]
        found.append(
            ChannelConfig(
                name,
                url,
                frozenset(section.severities),
                frozenset(section.environments or ()),
                section.hourly,
                section.timeout,
            )
        )
    if found and (fault := missing_extra("notify", "apprise")):
        faults.append(f"{found[0].url.origin}: {fault}")
    return tuple(found), faults


def rules(
    settings: Settings, given: Mapping[VariablePath, Given], channel_names: Collection[str]
) -> tuple[tuple[AlertRule, ...], list[str]]:
    """The rules that are enabled, the default ones included, and all that is wrong with them."""
    faults: list[str] = []
    found = {rule.name: rule for rule in RULES}
    for name, section in settings.rule.items():
        rule, wrong = _rule(name, section, found.get(name), given, channel_names)
        faults += wrong
        if rule is not None:
            found[name] = rule
        if not section.enabled:
            found.pop(name, None)
    return tuple(found.values()), faults + _reversed(found.values(), given)


def _rule(
    name: str,
    section: RuleSection,
    known: AlertRule | None,
    given: Mapping[VariablePath, Given],
    channel_names: Collection[str],
) -> tuple[AlertRule | None, list[str]]:
    faults = _unknown(name, section, given, channel_names)
    changed = _changed(section)
    if known is None:
        lacking = [field for field in ("metric", "threshold") if field not in changed]
        if lacking and not any(("rule", name, field) in given for field in lacking):
            wanted = " and ".join(variable(("rule", name, field)) for field in lacking)
            faults.append(f"rule {name} is no default rule, so that it needs {wanted}")
        if lacking or faults:
            return None, faults
        summary = (
            f"{{environment}} {{queue}} {{subject}}: {changed['metric']} is {{value}}, not {{threshold}}"
        )
        known = AlertRule(name, changed["metric"], "above", 0.0, "warning", summary)
    rule = replace(known, **changed)
    if section.threshold is not None and section.clear is None:
        rule = replace(rule, clear=None)
    if rule.clear is not None and (
        rule.clear > rule.threshold if rule.comparison == "above" else rule.clear < rule.threshold
    ):
        culprit = given.get(("rule", name, "clear")) or given["rule", name, "comparison"]
        faults.append(f"{culprit}: CLEAR must lie on the good side of the threshold {rule.threshold:g}")
    return rule, faults


def _unknown(
    name: str, section: RuleSection, given: Mapping[VariablePath, Given], channel_names: Collection[str]
) -> list[str]:
    faults = [
        f"{given['rule', name, 'channels']}: unknown channel {types.shown(one)};"
        f" {nearest(one, channel_names)}"
        for one in section.channels or ()
        if one not in channel_names
    ]
    if section.metric is not None and section.metric not in READINGS:
        faults.append(
            f"{given['rule', name, 'metric']}: unknown reading; {nearest(section.metric, READINGS)}"
        )
    return faults


def _changed(section: RuleSection) -> dict[str, Any]:
    """What the section sets, by the names of `AlertRule`."""
    changed = {field: value for field in _CHANGEABLE if (value := getattr(section, field)) is not None}
    if changed.get("escalate_after") == "never":
        changed["escalate_after"] = None
    return changed


def _reversed(found: Iterable[AlertRule], given: Mapping[VariablePath, Given]) -> list[str]:
    """Of two rules on one reading, the louder one must need more.

    A rule of somebody's own may lie anywhere beside the default ones: whatever it is, it was meant.
    """
    faults = []
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
            own = [
                str(one)
                for name in (quiet.name, loud.name)
                if (one := given.get(("rule", name, "threshold"))) is not None
            ]
            faults.append(
                f"{' and '.join(own) or quiet.name}: rule {quiet.name} ({quiet.severity}) would come after"
                f" {loud.name} ({loud.severity}): the {quiet.severity} threshold must be reached first"
            )
    return faults
