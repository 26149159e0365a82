"""What a terminal or a reader's eye obeys: sequences for tests, and whether a text is free of them."""

from __future__ import annotations

import unicodedata

ESCAPES = {
    "CSI": "\x1b[31;5mX\x1b[2J\x1b[H",
    "CSI of eight bits": "\x9b31mX\x9b2J",
    "OSC 0": "\x1b]0;title\x07",
    "OSC 8": "\x1b]8;;https://example.com/\x1b\\click\x1b]8;;\x1b\\",
    "OSC 52": "\x1b]52;c;cm0gLXJmIC8=\x07",
    "OSC of eight bits": "\x9d52;c;cm0gLXJmIC8=\x9c",
    "DCS": "\x1bPq#0\x1b\\",
    "DCS of eight bits": "\x90q#0\x9c",
    "reset": "\x1bc",
    "all C1": "".join(map(chr, range(0x80, 0xA0))),
    "all C0 but NUL": "".join(map(chr, range(1, 0x20))),
    "DEL": "rm\x7f\x7f",
    "overrides": "\u202a\u202b\u202c\u202d\u202etxt.exe",
    "isolates": "\u2066\u2067\u2068abc\u2069",
    "marks": "\u200e\u200f\u061c",
    "hidden": "a\u200bb\u2060c\ufeffd\u00ade",
    "separators": "one\u2028two\u2029three\u0085four",
    "tags": "\U000e0001\U000e0041\U000e007f",
    "annotations": "\ufff9a\ufffab\ufffbc",
    "forged line": "x\n2026-01-02T03:04:05Z error environment.down prod",
    "overwritten": "harmful\rharmless",
    "backspaces": "evil\b\b\b\bgood",
    "NUL in words": "\\x00 \\0 \u2400",
}
"""By name; PostgreSQL itself refuses NUL."""
RIGHT_TO_LEFT = "שלום עולם مرحبا بالعالم"
"""Letters that run from right to left are not harmful, and are shown as they are."""


_TEXT = "\u200c\u200d\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2"
_TEXT += "\U000110bd\U000110cd" + "".join(map(chr, range(0x13430, 0x13440)))


def harmless_line(text: str) -> bool:
    """One line that a terminal shows and does not obey, in the order in which it is read."""
    return all(map(_harmless, text))


def _harmless(character: str) -> bool:
    category = unicodedata.category(character)
    # Those format characters are text that hold letters together, or stand visibly before a number.
    return category not in {"Cc", "Cs", "Zl", "Zp"} and (category != "Cf" or character in _TEXT)
