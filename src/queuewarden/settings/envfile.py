"""The grammar of a configuration file: that of systemd's ``EnvironmentFile=``.

Quotes, backslashes and line continuation as there; nothing is expanded, so that a ``$`` in a password
stays one; ``#`` and ``;`` begin a comment only at the start of a line. Stricter than systemd in what
would lose settings without a word: a line without name or ``=``, and a quote that is never closed. What
was meant as a comment behind a value is part of it, and marked as such.
"""

from __future__ import annotations

from dataclasses import dataclass, field

_NEWLINES = "\n\r"
_WHITESPACE = " \t\n\r"
_ESCAPABLE = '"\\`$'


@dataclass(frozen=True, slots=True)
class Assignment:
    """One ``key=value``, and the line on which it begins.

    Attributes:
        commented: a ``#`` outside of quotes and after a blank is part of the value.
    """

    key: str
    value: str = field(repr=False)
    line: int
    commented: bool = False


class EnvFileError(ValueError):
    """The text is not of this grammar; the message tells the line, never its content."""


def parse(text: str) -> list[Assignment]:
    """The assignments of a file, in its order.

    Raises:
        EnvFileError: a line has no name or no ``=``, or a quote is not closed.
    """
    return _Reader(text).assignments()


class _Reader:
    """Walks through the text once, a character at a time."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1

    def assignments(self) -> list[Assignment]:
        found = []
        while (first := self._take()) is not None:
            if first in "#;":
                self._rest_of_line()
            elif first not in _WHITESPACE:
                line = self._line
                key = self._key(first)
                value, commented = self._value()
                found.append(Assignment(key, value, line, commented))
        return found

    def _take(self) -> str | None:
        if self._at == len(self._text):
            return None
        character = self._text[self._at]
        self._at += 1
        if character == "\n":
            self._line += 1
        return character

    def _rest_of_line(self) -> None:
        while (character := self._take()) is not None and character not in _NEWLINES:
            pass

    def _key(self, first: str) -> str:
        key, line = first, self._line
        if key == "=":
            raise EnvFileError(f"line {line}: no name in front of '='")
        while (character := self._take()) != "=":
            if character is None or character in _NEWLINES:
                raise EnvFileError(f"line {line}: no '=' in it; write NAME=value, or # before a comment")
            key += character
        return key.rstrip(_WHITESPACE)

    def _value(self) -> tuple[str, bool]:
        # A quote opens only where no bare text has begun; blanks are dropped around quotes and after bare
        # text, never where a backslash stands behind them.
        value, blanks, bare, commented = "", "", False, False
        while (character := self._take()) is not None and character not in _NEWLINES:
            if character == "\\":
                value, blanks, bare = value + blanks + self._escaped(), "", True
            elif character in "'\"" and not bare:
                value += self._quoted(character)
            elif character not in _WHITESPACE:
                commented |= character == "#" and self._text[self._at - 2] in _WHITESPACE
                value, blanks, bare = value + blanks + character, "", True
            elif bare:
                blanks += character
        return value, commented

    def _escaped(self) -> str:
        character = self._take()
        return "" if character is None or character in _NEWLINES else character

    def _quoted(self, quote: str) -> str:
        value, line = "", self._line
        while (character := self._take()) != quote:
            if character is None:
                raise EnvFileError(f"line {line}: a quote is opened and never closed")
            if character == "\\" and quote == '"':
                character = self._take() or ""
                if character == "\n":
                    continue
                if character not in _ESCAPABLE:
                    value += "\\"
            value += character
        return value
