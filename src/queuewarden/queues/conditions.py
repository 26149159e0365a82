"""Conditions and writes in the few words in which a mapping speaks of columns. Parsed here, rendered in SQL.

A table without a status column tells a job's state by other columns: ``locked_at is not null``. A release
may have to write further columns than the mapped ones: ``run_at = not before now``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal, cast

Operator = Literal["=", "<>", "<", "<=", ">", ">="]
Word = Literal["null", "now", "not before now", "+1", "keep", "text", "column"]

WORDS = ("null", "now", "not before now", "+1", "keep")

_NAME = r'("(?:[^"]|"")+"|[A-Za-z_][\w$]*)'
_TEXT = r"'((?:[^']|'')*)'"
_NULL = re.compile(rf"{_NAME}\s+is\s+(not\s+)?null", re.IGNORECASE)
_COMPARED = re.compile(rf"{_NAME}\s*(=|<>|<=|>=|<|>)\s*(?:{_TEXT}|(-?\d+)|{_NAME})")
_HAS = re.compile(rf"{_NAME}\s+has\s+{_TEXT}", re.IGNORECASE)
_LOCKED = re.compile(r"(not\s+)?locked", re.IGNORECASE)
_WRITTEN = re.compile(rf"{_NAME}\s*=\s*(?:{_TEXT}|(.+))", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Null:
    """A column is NULL, or is not."""

    column: str
    wanted: bool = True


@dataclass(frozen=True, slots=True)
class Compared:
    """A column compared with a value of its own type, or with another column."""

    column: str
    operator: Operator
    value: str = ""
    other: str | None = None


@dataclass(frozen=True, slots=True)
class Has:
    """A column of type jsonb has a key."""

    column: str
    key: str


@dataclass(frozen=True, slots=True)
class Locked:
    """Somebody holds the job's advisory lock, or nobody does."""

    wanted: bool = True


Condition = Null | Compared | Has | Locked


@dataclass(frozen=True, slots=True)
class Written:
    """What one column becomes; ``text`` is the text, or the other column, of the words of these names."""

    column: str
    word: Word
    text: str = ""

    def __str__(self) -> str:
        match self.word:
            case "text":
                said = "'" + self.text.replace("'", "''") + "'"
            case "column":
                said = _quoted(self.text)
            case _:
                said = self.word
        return f"{_quoted(self.column)} = {said}"


@cache
def condition(text: str) -> Condition:
    """``column is [not] null``, ``column >= 3``, ``column < other``, ``column = 'text'``,
    ``column has 'key'`` (of jsonb) or ``[not] locked`` (see `mapping.Alive`).

    Raises:
        ValueError: it is none of these.
    """
    text = text.strip()
    if found := _LOCKED.fullmatch(text):
        return Locked(found[1] is None)
    if found := _HAS.fullmatch(text):
        return Has(_name(found[1]), found[2].replace("''", "'"))
    if found := _NULL.fullmatch(text):
        return Null(_name(found[1]), found[2] is None)
    if found := _COMPARED.fullmatch(text):
        column, operator, quoted, digits, other = found.groups()
        if other is not None:
            return Compared(_name(column), cast("Operator", operator), other=_name(other))
        value = digits if digits is not None else quoted.replace("''", "'")
        return Compared(_name(column), cast("Operator", operator), value)
    raise ValueError("not a condition such as: locked_at is null, or attempts >= max_attempts")


def columns(text: str) -> tuple[str, ...]:
    """The columns that a condition looks at."""
    one = condition(text)
    if isinstance(one, Locked):
        return ()
    if isinstance(one, Compared) and one.other is not None:
        return (one.column, one.other)
    return (one.column,)


_OPPOSITE: dict[Operator, Operator] = {"=": "<>", "<>": "=", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}


def contradict(one: Condition, other: Condition) -> bool:
    """One of the two is plainly the opposite of the other."""
    match one, other:
        case (Null(a, wanted), Null(b, too)) if a == b:
            return wanted != too
        case (Locked(wanted), Locked(too)):
            return wanted != too
        case Compared(), Compared():
            return replace(one, operator=_OPPOSITE[one.operator]) == other
        case _:
            return False


def written(text: str) -> Written:
    """``column = null``, ``now``, ``not before now``, ``+1``, ``keep``, ``'text'`` or another column.

    Raises:
        ValueError: it is none of these.
    """
    found = _WRITTEN.fullmatch(text.strip())
    if found:
        column, quoted, word = found.groups()
        if quoted is not None:
            return Written(_name(column), "text", quoted.replace("''", "'"))
        said = " ".join(word.lower().split())
        if said in WORDS:
            return Written(_name(column), cast("Word", said))
        if re.fullmatch(_NAME, word):
            return Written(_name(column), "column", _name(word))
    raise ValueError(
        f"not a write such as: run_at = now; the words are {', '.join(WORDS)}, 'text' and another column"
    )


def _quoted(name: str) -> str:
    plain = re.fullmatch(r"[A-Za-z_][\w$]*", name) and name.lower() not in WORDS
    return name if plain else '"' + name.replace('"', '""') + '"'


def _name(text: str) -> str:
    return text[1:-1].replace('""', '"') if text.startswith('"') else text
