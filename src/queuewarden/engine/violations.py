"""What an error of a write says of its rows: one of them is at fault, or somebody was in the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psycopg

LOCKED = "55P03"
TIMEOUT = "57014"
TRANSIENT = frozenset({"40001", "40P01", LOCKED})

_VIOLATIONS = ("22", "23", "44", "54", "P0")
_OTHERS = frozenset({"42501", "53200", "XX000"})
"""A right that is missing for some rows; no memory; a value of more than a gigabyte, which has no code."""


def violates(error: psycopg.Error) -> bool:
    """Whether a statement failed by what it wrote, so that a smaller batch tells which row it was.

    Or it was too large: rows may hold megabytes, and the ledger takes in those of a whole batch.
    """
    state = error.sqlstate or ""
    return state[:2] in _VIOLATIONS or state in _OTHERS
