"""As much of PromQL as it takes to tell which metrics and labels a query is about; promtool does the rest."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_SELECTOR = re.compile(r"\b([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(\{[^}]*\})?")
_GROUPING = re.compile(r"\b(by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_MATCHER = re.compile(r"\s*([a-zA-Z_]\w*)\s*(=~|!~|!=|=)\s*S\s*")


@dataclass
class Query:
    """What a query speaks of.

    Attributes:
        selectors: metrics, each with the labels that it is chosen by.
        grouped: labels that something is grouped or joined by.
    """

    selectors: list[tuple[str, set[str]]] = field(default_factory=list)
    grouped: set[str] = field(default_factory=set)


def parsed(text: str, prefix: str = "queuewarden") -> Query:
    """Metrics are the words that begin with the prefix, and Prometheus' own ``up``."""
    plain = _STRING.sub("S", text)
    found = Query()
    for _, labels in _GROUPING.findall(plain):
        found.grouped |= {label.strip() for label in labels.split(",") if label.strip()}
    for name, braces in _SELECTOR.findall(_GROUPING.sub(" ", plain)):
        if name.startswith(prefix) or name == "up":
            found.selectors.append((name, _labels(braces, text)))
    return found


def _labels(braces: str, text: str) -> set[str]:
    matchers = [one for one in braces.strip("{}").split(",") if one.strip()]
    found = [_MATCHER.fullmatch(matcher) for matcher in matchers]
    assert all(found), f"{braces} is not understood in {text}"
    return {match[1] for match in found if match}
