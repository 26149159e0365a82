"""What a rule writes: columns of its rows, by one UPDATE or by a library's own function; what is beside."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from psycopg.sql import Composable


@dataclass(frozen=True, slots=True)
class Beside:
    """What is written in another table with a job, by the same statement: a row that is freed, a note of it.

    Attributes:
        held: what is kept of the locked job for it, by name, in terms of ``j``.
        statement: in terms of ``done``, the jobs that were written, their keys as ``k0``, ``k1`` …
    """

    held: Mapping[str, Composable]
    statement: Composable


@dataclass(frozen=True, slots=True)
class Put:
    """One UPDATE of the rows that a rule holds: column to its new value, in terms of alias ``j`` or ``w``.

    Attributes:
        values: new value for each column, already of the column's type.
        estimated: columns whose new value is a guess, to be marked as such.
        beside: what else is freed with them.
    """

    values: Mapping[str, Composable]
    estimated: frozenset[str] = frozenset()
    beside: Beside | None = None


@dataclass(frozen=True, slots=True)
class Call(Put):
    """The library's own function does the write; ``values`` is what it is known to write, for a dry run.

    The rows' images are read around the calls, in the same transaction.

    Attributes:
        call: a call in terms of ``h.k0``, ``h.k1`` …, the columns of the key.
    """

    call: Composable = field(kw_only=True)
