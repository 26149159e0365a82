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
from queuewarden.queues import conditions
from queuewarden.queues.mapping import Backend, OrderTerm, Reference, RowLock, TableName

if TYPE_CHECKING:
    from collections.abc import Callable

    from queuewarden.queues.conditions import Written

NAME = re.compile(r"(?!.*__)[a-z0-9_]{1,63}")
"""Names of environments and queues, lower-cased; no longer than PostgreSQL keeps an application's name."""

NAME_RULE = "names of environments and queues are made of a-z, 0-9 and single underscores, 63 at most"
"""What `NAME` says, in words."""

_UNITS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_DURATION = re.compile(r"([0-9]{1,12})(ms|s|m|h|d)")
_LONGEST = timedelta(days=3650)
_PIECE = re.compile(r'"(?:[^"]|"")*"|.', re.DOTALL)
_QUOTED = re.compile(r'"((?:[^"]|"")+)"')
_PLAIN = re.compile(r"""[^\s"',;:.=<>()]+""")
_ORDER = re.compile(
    r'("(?:[^"]|"")+"|[^\s"]+)(?:\s+(asc|desc))?(?:\s+nulls\s+(first|last))?', re.IGNORECASE | re.ASCII
)
_IDENTIFIER_BYTES = 63

T = TypeVar("T")


class UnquotedError(ValueError):
    """The name of a table or column lacks double quotes."""


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


def column(text: str) -> str:
    """A column, spelled as the catalog spells it; double quotes around it are optional."""
    text = text.strip()
    if quoted := _QUOTED.fullmatch(text):
        text = quoted.group(1).replace('""', '"')
    elif not _PLAIN.fullmatch(text):
        raise UnquotedError('not a name; put "double quotes" around one with blanks, dots or other signs')
    if len(text.encode()) > _IDENTIFIER_BYTES:
        raise ValueError(f"a name of more than {_IDENTIFIER_BYTES} bytes, which PostgreSQL cuts off")
    return text


def table(text: str) -> TableName:
    """``[schema.]name``."""
    parts = [column(part) for part in split(text, ".")]
    if len(parts) == 1:
        return TableName(parts[0])
    if len(parts) > 2:  # noqa: PLR2004 -- a schema and a name
        raise UnquotedError('a table is [schema.]name; put "double quotes" around a part with a dot in it')
    return TableName(parts[1], parts[0])


def status(text: str) -> str:
    """A status value; double quotes around it are optional and protect a comma."""
    text = text.strip()
    if quoted := _QUOTED.fullmatch(text):
        return quoted.group(1).replace('""', '"')
    return text


def column_or_number(text: str) -> str | int:
    """A column, or a number that holds for all rows."""
    return number(0, 1_000_000)(text) if text.strip().isdecimal() else column(text)


def order_term(text: str) -> OrderTerm:
    """``column [asc|desc] [nulls first|last]``."""
    found = _ORDER.fullmatch(text)
    if not found:
        raise ValueError("not an order such as: priority desc, joined_at")
    direction, nulls = ((word or "").lower() for word in found.group(2, 3))
    return OrderTerm(
        column(found.group(1)),
        descending=direction == "desc",
        nulls=cast("Literal['first', 'last'] | None", nulls or None),
    )


def reference(text: str) -> Reference:
    """``column -> [schema.]parent.column``."""
    own, *rest = split(text, "->")
    target = split(rest[0], ".") if len(rest) == 1 else []
    if not 2 <= len(target) <= 3:  # noqa: PLR2004 -- schema, table, column
        raise ValueError("not a reference such as: student_id -> students.id")
    return Reference(column(own), table(".".join(target[:-1])), column(target[-1]))


def lock_key(text: str) -> str:
    """A column, or a text with columns in braces."""
    if "{" not in text:
        return column(text)
    try:
        parts = list(Formatter().parse(text))
    except ValueError:
        raise ValueError("a brace without its other half; write {{ for a brace") from None
    for _, name, spec, conversion in parts:
        if name is not None:
            column(name)
            if spec or conversion:
                raise ValueError("a column in braces takes no format: {id}")
    return text.strip()


def row_lock(text: str) -> RowLock:
    """``column -> [schema.]table.column``."""
    found = reference(text)
    return RowLock(found.column, found.parent, found.parent_column)


def backend(text: str) -> Backend:
    """``application_name = column`` or ``pid = column``."""
    by, *rest = split(text, "=")
    if by.lower() not in {"application_name", "pid"} or len(rest) != 1:
        raise ValueError("not a session such as: application_name = worker_id, or pid = backend_pid")
    return Backend(cast("Literal['application_name', 'pid']", by.lower()), column(rest[0]))


def condition(text: str) -> str:
    """A condition on columns; see `queues.conditions`."""
    conditions.condition(text)
    return text.strip()


def written(text: str) -> tuple[Written, ...]:
    """A list of writes, commas between them; none where the text is empty."""
    if not text.strip():
        return ()
    return listed(conditions.written)(text)


def timestamp(text: str) -> tuple[str, str]:
    """``status=column``."""
    parts = split(text, "=")
    if len(parts) != 2 or "" in parts:  # noqa: PLR2004 -- a status and a column
        raise ValueError("not a pair such as: in_progress=started_at")
    return status(parts[0]), column(parts[1])


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
