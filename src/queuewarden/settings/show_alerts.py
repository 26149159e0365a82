"""What is told of outside, as a person may read it: HTTP API, pings, channels, rules; secrets masked."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from queuewarden.engine.alerting.defaults import RULES
from queuewarden.redact import visible
from queuewarden.settings import types
from queuewarden.settings.alert_sections import ChannelSection, RuleSection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from queuewarden.settings.configuration import ChannelConfig
    from queuewarden.settings.load import Loaded
    from queuewarden.settings.secret import SecretSource
    from queuewarden.settings.sources import VariablePath

Entry = tuple[str, dict[str, str]]
"""A name with its value and origin."""

_MASK = "***"
_HTTP = ("http_open_read", "http_rate")


def hidden(source: SecretSource) -> dict[str, str]:
    """A secret: of a URL the scheme, else only that there is one."""
    if source.value is None:
        value = f"(read from {visible(str(source.path))})"
    else:
        scheme = re.match(r"\s*([A-Za-z][A-Za-z0-9+.-]{0,20}://)", source.value)
        value = f"{scheme[1] if scheme else ''}{_MASK}"
    return {"value": value, "origin": source.origin}


def listening(loaded: Loaded) -> Iterator[Entry]:
    """The HTTP API, where there is one."""
    http = loaded.configuration.http
    if http is None:
        return
    yield "http", _value(loaded, ("http",), loaded.settings.http)
    for kind, source in (("read", http.read_token), ("write", http.write_token)):
        if source is not None:
            yield f"http_{kind}_token", hidden(source)
    for name in _HTTP:
        yield name, _value(loaded, (name,), getattr(loaded.settings, name))


def channel(loaded: Loaded, one: ChannelConfig) -> Iterator[Entry]:
    """A channel."""
    yield "url", hidden(one.url)
    section = loaded.settings.alert.get(one.name, ChannelSection())
    for name in ("severities", "environments", "hourly", "timeout"):
        value = getattr(section, name)
        if value is not None:
            yield name, _value(loaded, ("alert", one.name, name), value)


def rule(loaded: Loaded, name: str) -> Iterator[Entry]:
    """What was set of a rule."""
    section = loaded.settings.rule[name]
    for field, info in RuleSection.model_fields.items():
        spelled = info.alias or field
        path = ("rule", name, spelled)
        if path in loaded.given:
            yield spelled, _value(loaded, path, getattr(section, field))


def changed_rules(loaded: Loaded) -> list[str]:
    """The rules that are other than the default ones: new, changed or switched off."""
    default = {one.name: one for one in RULES}
    now = {one.name: one for one in loaded.configuration.rules}
    return [name for name in sorted(loaded.settings.rule) if default.get(name) != now.get(name)]


def _value(loaded: Loaded, path: VariablePath, value: object) -> dict[str, str]:
    given = loaded.given.get(path)
    return {"value": visible(types.spelled(value)), "origin": str(given) if given else "default"}
