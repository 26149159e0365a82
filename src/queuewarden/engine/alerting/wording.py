"""Wording: what a rule's summary says of one reading, for a person."""

from __future__ import annotations

import math
import re
from functools import lru_cache
from string import Formatter
from typing import TYPE_CHECKING

from queuewarden.engine.alerting.readings import unit

if TYPE_CHECKING:
    from queuewarden.engine.alerting.notices import About
    from queuewarden.engine.alerting.rules import AlertRule

LONGEST = 120
"""Characters of a name that are shown."""

_UNITS = ((86_400.0, "d"), (3_600.0, "h"), (60.0, "m"))
_FEW = 10
_ABSENT = "\ue000"
_TIDY = (
    (re.compile(rf"\(\s*{_ABSENT}\s*\)|\[\s*{_ABSENT}\s*\]|'{_ABSENT}'|\"{_ABSENT}\"|`{_ABSENT}`"), _ABSENT),
    (re.compile(rf"[/.:,|#-]?{_ABSENT}[/|#]?"), ""),
    (re.compile(r"\s+(?=[:;,.)])"), ""),
    (re.compile(r"\s{2,}"), " "),
    (re.compile(r"^[\s:;,/|-]+|[\s:,/|-]+$"), ""),
)
_MENTION = re.compile(r"@(?=(?:all|channel|everyone|here)\b|[!&]?\d)", re.IGNORECASE)
"""What calls people in chats: a worker or a lane may be named so, by whoever may name it."""

_MARKS = re.compile("[\ue000-\ue00f]")
_FIELDS = {
    "environment": "\ue001",
    "queue": "\ue002",
    "subject": "\ue003",
    "value": "\ue004",
    "threshold": "\ue005",
}
"""Each placeholder as one character, the fields of `About` first."""

_VALUE = 3
_NAMED = re.compile("[\ue001-\ue005]")


def summary(rule: AlertRule, about: About, value: float) -> str:
    """The rule's summary, filled in; what does not apply leaves no gap."""
    pattern, fields = _pattern(rule.summary, not about.environment, not about.queue, not about.subject)
    said = []
    for field in fields:
        if field < _VALUE:
            said.append(_clean(about[field]))
        else:
            said.append(shown(rule.metric, value if field == _VALUE else rule.threshold))
    return pattern % tuple(said) or rule.name


@lru_cache(maxsize=4096)
def shown(metric: str, value: float) -> str:
    """A reading as a person says it: ``14 m``, ``2.5 %``, ``12``."""
    if math.isnan(value):
        return "unknown"
    counted_in = unit(metric)
    if counted_in == "seconds":
        return _span(value)
    return f"{_number(value * 100)} %" if counted_in == "share" else _number(value)


def _span(seconds: float) -> str:
    for size, word in _UNITS:
        if size <= abs(seconds) < math.inf:
            return f"{_number(seconds / size)} {word}"
    if 0 < abs(seconds) < 1:
        return f"{_number(seconds * 1000)} ms"
    return f"{_number(seconds)} s"


def _number(value: float) -> str:
    """Few digits: whole from 10 on, two significant ones below 1."""
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if value == int(value) or abs(value) >= _FEW:
        return str(round(value))
    text = f"{value:.1f}" if abs(value) >= 1 else f"{value:.2g}"
    return text.rstrip("0").rstrip(".") if "." in text and "e" not in text else text


@lru_cache(maxsize=1024)
def _pattern(template: str, *absent: bool) -> tuple[str, tuple[int, ...]]:
    """A template as a pattern and the fields it takes, without those that are absent and what they leave."""
    missing = {name for name, gone in zip(("environment", "queue", "subject"), absent, strict=True) if gone}
    text = ""
    for literal, name, _, _ in _parsed(_MARKS.sub("", template)):
        text += literal
        if name is not None:
            text += _ABSENT if name in missing else _FIELDS.get(name, "")
    if _ABSENT in text:
        for pattern, with_ in _TIDY:
            text = pattern.sub(with_, text)
    fields = tuple(ord(mark) - ord("\ue001") for mark in _NAMED.findall(text))
    return _NAMED.sub("%s", text.replace("%", "%%")), fields


def _parsed(template: str) -> list[tuple[str, str | None, str | None, str | None]]:
    try:
        return list(Formatter().parse(template))
    except ValueError:
        return [(template, None, None, None)]


def _clean(text: str) -> str:
    """A name on one line, without what a terminal or a chat would obey."""
    if "@" in text:
        text = _MENTION.sub("@ ", text)
    if text.isprintable() and len(text) <= LONGEST:
        return text
    if not text.isprintable():
        text = " ".join("".join(one if one.isprintable() else " " for one in text).split())
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
