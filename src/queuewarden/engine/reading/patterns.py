"""Patterns of error texts: what differs from one failure to the next becomes a placeholder. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from queuewarden.engine.reading.failures import LONGEST

if TYPE_CHECKING:
    from collections.abc import Iterable

    from queuewarden.engine.reading.failures import Failure

ALIKE = 0.7
"""Texts of the same length that share so much of their words are one pattern."""

_FEWEST = 4
_RIVALS = 50
"""Patterns that one text is held against at most: the cost must not grow with the square of the texts."""

_ANY = "<*>"
_NO_TEXT = "(no text)"

# The order matters: what is found first hides what it is made of.
_PLACEHOLDERS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), word)
    for pattern, word in (
        (r"\b[a-z][a-z0-9+.-]{1,20}://[^\s'\"<>]+", "<url>"),
        (r"[\w.+%-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+", "<email>"),
        (r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b", "<uuid>"),
        (r"\b\d{4}-\d\d-\d\d[t ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:z|[+-]\d\d:?\d\d)?", "<time>"),
        (r"'(?:[^'\\\n]|\\.){1,200}'(?!\w)", "<text>"),
        (r'"(?:[^"\\\n]|\\.){1,200}"', "<text>"),
        (r"`[^`\n]{1,200}`", "<text>"),
        (r"\b(?:\d{1,3}\.){3}\d{1,3}(?::\d+)?\b", "<ip>"),
        (r"(?<![\w:])(?:[0-9a-f]{0,4}:){2,7}[0-9a-f]{1,4}(?![\w:])", "<ip>"),
        (r"(?<![\w/.])(?:[a-z]:\\|\.{0,2}/)(?:[\w.@+-]+[/\\])*[\w.@+-]+", "<path>"),
        (r"\b0x[0-9a-f]+\b", "<hex>"),
        (r"\b(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{6,}\b", "<hex>"),
        (r"(?<![\w.])[-+]?\d+(?:[.,]\d+)*", "<n>"),
        (r"\d+", "<n>"),
    )
)


@dataclass(slots=True)
class Pattern:
    """Failures that say the same.

    Attributes:
        first, last: when it was seen first and last; None where no time is known.
        example_id: the job that was seen last.
    """

    pattern: str
    count: int
    first: str | None
    last: str | None
    example_id: str
    environment: str
    queue: str
    _words: tuple[str, ...] = field(default=(), repr=False)

    def take(self, other: Pattern) -> None:
        """Count another pattern's failures to this one."""
        self.count += other.count
        if (other.last or "") > (self.last or ""):
            self.environment, self.queue, self.example_id = other.environment, other.queue, other.example_id
        self.first = min((one for one in (self.first, other.first) if one), default=None)
        self.last = max((one for one in (self.last, other.last) if one), default=None)


def normalised(text: str | None) -> str:
    """The line of a text that tells what went wrong, with placeholders for what is one failure's own."""
    line = _telling_line(text or "")[:LONGEST]
    for pattern, word in _PLACEHOLDERS:
        line = pattern.sub(word, line)
    return " ".join(line.split()) or _NO_TEXT


def patterns(failures: Iterable[tuple[str, str, Failure]], most: int = 50) -> list[Pattern]:
    """The patterns of failures (environment, queue, failure; the latest first), the most frequent first.

    Args:
        failures: what failed.
        most: patterns that are told.
    """
    exact: dict[str, Pattern] = {}
    for environment, queue, one in failures:
        text = normalised(one.error)
        found = Pattern(text, 1, one.at, one.at, one.id, environment, queue, tuple(text.split()))
        if text in exact:
            exact[text].take(found)
        else:
            exact[text] = found
    merged = _merged(sorted(exact.values(), key=lambda one: -one.count))
    return sorted(merged, key=lambda one: (-one.count, one.pattern))[:most]


def _telling_line(text: str) -> str:
    """The first line; of a traceback the last."""
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        return ""
    return lines[-1] if lines[0].startswith("Traceback") else lines[0]


def _merged(found: Iterable[Pattern]) -> list[Pattern]:
    """Patterns that differ in a few words as one, with those words left open."""
    rooms: dict[tuple[int, str], list[Pattern]] = {}
    for one in found:
        # Which words are names of things nobody knows; the first one nearly always says what happened.
        room = rooms.setdefault((len(one._words), one._words[0]), [])  # noqa: SLF001 -- same room
        for known in room[:_RIVALS]:
            if (words := _common(known._words, one._words)) is not None:  # noqa: SLF001
                known.take(one)
                known._words, known.pattern = words, " ".join(words)  # noqa: SLF001
                break
        else:
            room.append(one)
    return [one for room in rooms.values() for one in room]


def _common(some: tuple[str, ...], others: tuple[str, ...]) -> tuple[str, ...] | None:
    """The words of both, None where they have too little in common."""
    if len(some) < _FEWEST:
        return None
    same = sum(a == b != _ANY for a, b in zip(some, others, strict=True))
    if same < ALIKE * len(some):
        return None
    return tuple(a if a == b else _ANY for a, b in zip(some, others, strict=True))
