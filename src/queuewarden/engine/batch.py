"""What one guarded write did: rows with images while a sample is wanted, counts and a few arrays else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from queuewarden.engine import guarded
from queuewarden.engine.effect import require_effect

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from queuewarden.adapters.db.session import Row
    from queuewarden.model import Key, Rule


@dataclass(frozen=True, slots=True)
class Batch:
    """What one guarded write did.

    Attributes:
        taken: how many rows it locked.
        place: the place of the last of them in the order of work.
        mended: how many rows it wrote.
        keys: their keys, where somebody has to remember them.
        facts: for each of `guarded.lean_facts`, its value for each of them.
        rows: the same rows as `guarded.write` reports them, where images were wanted.
    """

    taken: int = 0
    place: tuple[str, ...] = ()
    mended: int = 0
    keys: Sequence[Key] = ()
    facts: Mapping[str, Sequence[str | None]] = field(default_factory=dict)
    rows: Sequence[Row] = ()

    @classmethod
    def of_rows(cls, rule: Rule, rows: Sequence[Row]) -> Batch:
        """From the rows of `guarded.write`.

        Raises:
            psycopg.errors.RaiseException: see `require_effect`.
        """
        if not rows:
            return cls()
        require_effect(all(row[2] is not None for row in rows))
        written = [row for row in rows if row[2]]
        columns = {name: number for number, name in enumerate(rule.facts)}
        facts = {name: [row[4][columns[name]] for row in written] for name in guarded.lean_facts(rule)}
        keys = [tuple(row[0]) for row in written]
        return cls(len(rows), tuple(rows[-1][1]), len(written), keys, facts, written)

    @classmethod
    def of_arrays(cls, row: Row, names: Sequence[str]) -> Batch:
        """From the one row of `guarded.write_lean`, which was asked for facts of these names.

        Raises:
            psycopg.errors.RaiseException: see `require_effect`.
        """
        taken, place, mended, *arrays = row
        require_effect(mended is not None)
        if not mended:
            return cls(taken, tuple(place or ()))
        keys = arrays[: len(arrays) - len(names)]
        facts = dict(zip(names, arrays[len(keys) :], strict=True))
        return cls(taken, tuple(place), mended, list(zip(*keys, strict=True)), facts)

    def fact(self, name: str) -> Sequence[str | None]:
        """One of the facts, for each row that was written; None where the queue has no such fact."""
        return self.facts.get(name, (None,) * self.mended)

    def workers(self) -> set[str]:
        """The workers that the rows named."""
        return {worker for worker in self.fact("worker") if worker is not None}
