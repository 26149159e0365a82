"""What is to be replayed: rows of one table, each with what it is expected to be and what it shall be."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg.sql import Composable

    from queuewarden.engine.ledger.book import Entry
    from queuewarden.model import Key
    from queuewarden.queues.target import Shape


@dataclass(frozen=True, slots=True)
class Step:
    """One row: what it is expected to be, and what it shall be, in the order of the images' columns."""

    key: Key
    expect: tuple[str | None, ...]
    put: tuple[str | None, ...]
    undoes: int | None = None


@dataclass(frozen=True, slots=True)
class Guard:
    """A further condition on the rows of a replay, repeated under their lock.

    Attributes:
        where: in terms of ``j`` or ``w``, as rules have it.
        join: what else is joined, such as the job's worker.
        locked: aliases of what is locked with the rows.
        alias: of the rows themselves.
    """

    where: Composable
    join: Composable = field(default_factory=lambda: sql.SQL(""))
    locked: tuple[str, ...] = ()
    alias: str = "j"


@dataclass(frozen=True, slots=True)
class Pile:
    """Rows of one table to be put together.

    Attributes:
        alone: note that they are to be left alone until they change.
    """

    shape: Shape
    entry: Entry
    steps: Sequence[Step]
    guard: Guard | None = None
    alone: bool = False
    booked: bool = True

    @property
    def written(self) -> tuple[str, ...]:
        """The columns in which a row changes."""
        return tuple(
            name
            for at, name in enumerate(self.entry.columns)
            if any(step.expect[at] != step.put[at] for step in self.steps)
        )
