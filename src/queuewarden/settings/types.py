"""Plain strings to typed values, and back. Each reader raises ValueError, and never repeats what it read."""

from __future__ import annotations

import math
import re
from datetime import timedelta
from pathlib import Path
from string import Formatter
from typing import TYPE_CHECKING, Literal, TypeVar, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from queuewarden.engine.alerting.rules import PLACEHOLDERS
from queuewarden.engine.cron import expression
from queuewarden.queues.mapping import OrderTerm

if TYPE_CHECKING:
    from collections.abc import Callable

NAME = re.compile(r"(?!.*__)[a-z0-9_]{1,63}")
"""Names of environments and queues, lower-cased; no longer than PostgreSQL keeps an application's name."""

NAME_RULE = "names of environments and queues are made of a-z, 0-9 and single underscores, 63 at most"
"""What `NAME` says, in words."""

_UNITS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_DURATION = re.compile(r"([0-9]{1,12})(ms|s|m|h|d)")
_LONGEST = timedelta(days=3650)
_PIECE = re.compile(r'"(?:[^"]|"")*"|.', re.DOTALL)

T = TypeVar("T")


def duration(text: str) -> timedelta:
    """``30s``, ``3m``, ``2h``, ``1d`` or ``100ms``: positive, at most ten years."""
    found = _DURATION.fullmatch(text.strip())
    if not found:
        raise ValueError("not a duration: write a whole number and its unit, as in 100ms, 30s, 3m, 2h or 1d")
    number, unit = found.groups()
    if not int(number):
        raise ValueError("a duration must be longer than zero")
    if int(number) * _UNITS[unit] > _LONGEST / timedelta(milliseconds=1):
        raise ValueError("a duration of more than 3650d")
    return timedelta(milliseconds=int(number) * _UNITS[unit])


def span(text: str) -> timedelta:
    """A duration, or none at all: ``0`` or ``0s``."""
    return timedelta(0) if re.fullmatch(r"0+(ms|s|m|h|d)?", text.strip()) else duration(text)


def duration_or_never(text: str) -> timedelta | Literal["never"]:
    """A duration, or the word ``never``."""
    if text.strip().lower() == "never":
        return "never"
    try:
        return duration(text)
    except ValueError as error:
        raise ValueError(f"{error}; or write never") from None


def boolean(text: str) -> bool:
    """``true`` or ``false``, and the usual other words for them."""
    word = text.strip().lower()
    if word in {"true", "yes", "on", "1"}:
        return True
    if word in {"false", "no", "off", "0"}:
        return False
    raise ValueError("neither true nor false")


def number(least: int, most: int) -> Callable[[str], int]:
    """A reader of whole numbers from ``least`` to ``most``."""

    def read(text: str) -> int:
        digits = text.strip()
        if not re.fullmatch(r"[0-9]{1,12}", digits) or not least <= int(digits) <= most:
            raise ValueError(f"not a whole number from {least} to {most}")
        return int(digits)

    return read


def factor(text: str) -> float:
    """A positive number, fractions allowed."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise ValueError("not a positive number, such as 2 or 1.5")
    return value


def choice(*words: str, also: dict[str, str] | None = None) -> Callable[[str], str]:
    """A reader of one of ``words``, in any case; ``also`` maps further spellings to them."""

    def read(text: str) -> str:
        word = text.strip().lower()
        word = (also or {}).get(word, word)
        if word not in words:
            raise ValueError(f"not one of {', '.join(words)}")
        return word

    return read


def path(text: str) -> Path:
    """An absolute path."""
    value = Path(text.strip())
    if not value.is_absolute():
        raise ValueError("not an absolute path")
    return value


def threshold(text: str) -> float:
    """A number, fractions allowed."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError("not a number, such as 0, 2.5 or 100")
    return value


def summary(text: str) -> str:
    """A sentence with placeholders."""
    try:
        parts = [part[1:] for part in Formatter().parse(text) if part[1] is not None]
    except ValueError:
        raise ValueError("a brace without its other half; write {{ for a brace") from None
    if not {name for name, _, _ in parts} <= PLACEHOLDERS or any(part[1:] != ("", None) for part in parts):
        raise ValueError(f"a placeholder other than {', '.join(sorted(PLACEHOLDERS))}")
    return text.strip()


def time_zone(text: str) -> str:
    """A time zone that this machine knows by name."""
    try:
        ZoneInfo(text.strip())
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("not a time zone, such as UTC or Europe/Berlin") from None
    return text.strip()


def cron(text: str) -> str | None:
    """A cron expression of five fields, or a name such as ``@daily``; None: ``off``."""
    return None if text.strip().lower() == "off" else expression(text)


def split(text: str, separator: str) -> list[str]:
    """The parts of a text between separators, those inside double quotes excepted; blanks around are cut."""
    parts, at = [""], 0
    while at < len(text):
        if text.startswith(separator, at):
            parts.append("")
            at += len(separator)
        else:
            piece = cast("re.Match[str]", _PIECE.match(text, at)).group()
            parts[-1] += piece
            at += len(piece)
    return [part.strip() for part in parts]


def listed(read: Callable[[str], T]) -> Callable[[str], tuple[T, ...]]:
    """A reader of comma lists: at least one item, none empty, none twice."""

    def read_all(text: str) -> tuple[T, ...]:
        items = split(text, ",")
        if "" in items:
            raise ValueError("an empty item in a comma-separated list")
        values = tuple(read(item) for item in items)
        if len(set(values)) < len(values):
            raise ValueError("the same item twice in a list")
        return values

    return read_all


def name(text: str) -> str:
    """The name of an environment or queue."""
    lowered = text.strip().lower()
    if not NAME.fullmatch(lowered):
        raise ValueError(NAME_RULE)
    return lowered


def shown(text: str) -> str:
    """An item of a list as a fault may show it: only what looks like a word, since anything may be pasted."""
    return repr(text) if re.fullmatch(r"[\w.-]{1,40}", text) else "an item"


def spelled(value: object) -> str:
    """A value as its variable would spell it."""
    match value:
        case bool():
            return str(value).lower()
        case timedelta():
            return _spelled_duration(value)
        case OrderTerm():
            direction = " desc" if value.descending else ""
            return f"{value.column}{direction}{f' nulls {value.nulls}' if value.nulls else ''}"
        case tuple():
            return ", ".join(spelled(item) for item in value)
        case float():
            return f"{value:g}"
    return str(value)


def _spelled_duration(value: timedelta) -> str:
    milliseconds = value // timedelta(milliseconds=1)
    unit = next(unit for unit, size in _UNITS.items() if milliseconds % size == 0)
    return f"{milliseconds // _UNITS[unit]}{unit}"
