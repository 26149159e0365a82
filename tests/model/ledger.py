"""The ledger as the model reads it: change by change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import datetime as dt

    import psycopg
    from model.tables import Place, Row

BY_HAND = "by_hand"

_SINCE = """
SELECT first_id, last_id, at, check_name, rule, event, reason, sweep, actor, epoch, part, columns, keys,
       before, after, undoes
  FROM queuewarden.changes WHERE last_id > %s ORDER BY first_id"""


@dataclass(frozen=True)
class Booked:
    """One change, as the ledger has it."""

    id: int
    at: dt.datetime
    check: str
    rule: str
    event: str
    reason: str
    sweep: str
    actor: str
    epoch: int | None
    place: Place
    before: Row
    after: Row
    undoes: int | None

    @property
    def is_rescue(self) -> bool:
        """A reset that counts against the job's rescue budget, unless it is taken back."""
        return self.event == "jobs.reset" and self.reason != BY_HAND


def booked_since(connection: psycopg.Connection[Any], last: int) -> list[Booked]:
    """The changes behind one, in their order."""
    found = []
    for first, end, at, *told, columns, keys, before, after, undoes in connection.execute(_SINCE, (last,)):
        assert end - first + 1 == len(keys) == len(before) == len(after), (first, end, keys)
        part = told.pop()
        found += [
            Booked(
                first + nr,
                at,
                *told,
                (part, keys[nr][0]),
                dict(zip(columns, before[nr], strict=True)),
                dict(zip(columns, after[nr], strict=True)),
                undoes[nr] if undoes is not None else None,
            )
            for nr in range(len(keys))
        ]
    return found
