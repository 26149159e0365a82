"""What to ask of a table's rows: which columns may tell a state, and which of them are set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from queuewarden.queues.proposal.names import (
    NUMBERS,
    TIME_ROLES,
    WORKER,
    called,
    flag,
    normal,
    time_weight,
    weight,
)
from queuewarden.queues.proposal.states import status_columns

if TYPE_CHECKING:
    from queuewarden.queues.proposal.facts import Column, Table

_MOST_VALUES, _MOST_PRESENT, _MOST_NUMBERS = 4, 40, 8


@dataclass(frozen=True, slots=True)
class Asked:
    """Columns by what is asked of them.

    Attributes:
        values: their values: status columns and flags.
        present: whether they are NULL.
        numbers: their least and greatest value.
        naive: how far ahead of the clock in UTC they are.
    """

    values: tuple[str, ...]
    present: tuple[str, ...]
    numbers: tuple[str, ...]
    naive: tuple[str, ...]


def asked(table: Table) -> Asked:
    """What to ask of a table's rows."""
    flags = [one.name for one in table.of(("flag",)) if flag(one.name)]
    status = [one.name for one in status_columns(table)]
    return Asked(
        (*status[:_MOST_VALUES], *flags[:_MOST_VALUES]),
        tuple([one.name for one in table.columns if not one.not_null and _tells(one)][:_MOST_PRESENT]),
        tuple([one.name for one in table.of(("number",)) if _counts(one)][:_MOST_NUMBERS]),
        tuple(one.name for one in table.of(("naive",))),
    )


def _tells(column: Column) -> bool:
    """Whether NULL in it, or not, says something about the job."""
    return (
        _timed(column)
        or weight(column.name, WORKER) > 0
        or called(column.name, "lock")
        or called(column.name, "token")
        or normal(column.name).startswith(("worker_", "lock"))
    )


def _counts(column: Column) -> bool:
    return _timed(column) or weight(column.name, NUMBERS["attempts"]) > 0


def _timed(column: Column) -> bool:
    return any(time_weight(column.name, role) for role in TIME_ROLES)
