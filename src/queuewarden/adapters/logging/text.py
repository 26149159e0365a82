"""An event's fields on one line, short enough for a person: for the console and the journal's MESSAGE."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from queuewarden.adapters.logging.jsonlines import dumps

WIDTH = 160
"""Columns that a line keeps to where it can."""

_BARE = re.compile(r"[^\s\"'=\[\]{};]+")
_NOT_FIELDS = frozenset({"timestamp", "level", "event", "exception", "more", "sweep"})


def humanise(duration: timedelta) -> str:
    """A duration by its two leading units: ``350ms``, ``3.2s``, ``3m12s``, ``2h05m``, ``3d4h``."""
    if duration < timedelta(0):
        return "-" + humanise(-duration)
    seconds = duration.total_seconds()
    if seconds < 1:
        return f"{int(seconds * 1000)}ms"
    if seconds < 10:  # noqa: PLR2004 -- below, a tenth still says something
        return f"{int(seconds * 10) / 10:g}s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d{hours}h"
    if hours:
        return f"{hours}h{minutes:02d}m"
    return f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"


def value_text(value: Any) -> str:
    """One value; quoted where it would not read as one word."""
    if isinstance(value, timedelta):
        return humanise(value)
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    if isinstance(value, float):
        return f"{value:.3f}".rstrip("0").rstrip(".")
    if isinstance(value, str):
        return value if _BARE.fullmatch(value) else dumps(value)
    if isinstance(value, Mapping):
        return "{" + _mapping_text(value) + "}"
    if isinstance(value, list):
        return "[" + "; ".join(_item_text(item) for item in value) + "]"
    return dumps(value).strip('"')


def name_text(event: object) -> str:
    """The event's name, which may come from a library and must not start a second line."""
    text = str(event)
    return text if text.isprintable() else dumps(text)


def pairs(event: Mapping[str, Any], room: int, leave_out: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    """The fields as ``(name, text)``: plain ones, then lists, shortened to ``room`` columns, then the sweep.

    What is cut from lists is added to ``more``, the number that the caller did not list itself.
    """
    fields = {
        name: value for name, value in event.items() if name not in _NOT_FIELDS and name not in leave_out
    }
    samples = {name: value for name, value in fields.items() if _is_sample(value)}
    result = [(value_text(name), value_text(value)) for name, value in fields.items() if name not in samples]
    last = [("sweep", value_text(event["sweep"]))] if "sweep" in event else []
    more = event.get("more", 0)
    for name, sample in samples.items():
        taken = sum(len(known) + len(text) + 2 for known, text in [*result, *last]) + len(" more=1000")
        shown = _fitting([_item_text(item) for item in sample], room - taken - len(name) - 3)
        if isinstance(more, int):
            more += len(sample) - len(shown)
        result.append((value_text(name), "[" + "; ".join(shown) + "]"))
    if more:
        result.append(("more", value_text(more)))
    return result + last


def _is_sample(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(item, Mapping) for item in value)


def _fitting(items: list[str], room: int) -> list[str]:
    """As many of the first items as fit; at least one."""
    for count, item in enumerate(items):
        room -= len(item) + len("; ")
        if room < 0:
            return items[: max(count, 1)]
    return items


def _item_text(item: Any) -> str:
    return _mapping_text(item) if isinstance(item, Mapping) else value_text(item)


def _mapping_text(mapping: Mapping[str, Any]) -> str:
    return " ".join(
        f"{value_text(name)}={value_text(value)}" for name, value in mapping.items() if value is not None
    )
