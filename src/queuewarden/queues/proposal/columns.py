"""Columns by their names and types, held against what the rows of each state have in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from queuewarden.queues.proposal.facts import TIMES
from queuewarden.queues.proposal.names import (
    NUMBERS,
    TEXTS,
    WORKER,
    called,
    normal,
    people,
    time_weight,
    weight,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from queuewarden.queues.proposal.facts import Column, StatesFound, Sure, Table
    from queuewarden.queues.proposal.words import State

NOTE_WIDTH = 64
"""Characters that a noted reason takes."""

_MOST, _HALF, _FEW = 0.9, 0.5, 0.1
_TIMED = ("heartbeat", "started_at", "finished_at", "failed_at", "scheduled_at", "updated_at", "enqueued_at")
_SOME, _ENOUGH = 3, 5
"""Rows from which on a share says something; and from which on it says enough."""


@dataclass(frozen=True, slots=True)
class Picked:
    """A column for one role.

    Attributes:
        weight: how clearly its name says so, 1 to 3.
    """

    column: str
    weight: int
    why: str
    sure: Sure


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a jobs table, by role (a field of `mapping.Jobs`).

    Attributes:
        clear: what else a release must empty.
        lease: a time until which the job is held: the application's own remedy, perhaps.
        epoch: the unit of times that are whole numbers.
        doubtful: columns that look like a role and whose rows say otherwise, each with the reason.
    """

    roles: dict[str, Picked]
    clear: tuple[Picked, ...] = ()
    lease: str | None = None
    epoch: str | None = None
    doubtful: tuple[str, ...] = ()


def find_columns(table: Table, states: StatesFound) -> Columns:
    """The column for each role."""
    return _Finder(table, states).found()


class _Finder:
    """Goes through the roles, the ones that rows can prove first; a column has one role."""

    def __init__(self, table: Table, states: StatesFound) -> None:
        self._table = table
        self._states = states
        # A time may be part of the key, as where a table is partitioned by it.
        keys = [name for name in table.key if table.column(name).family not in TIMES]
        self._taken = {*keys, *([states.status] if states.status else ())}
        self._roles: dict[str, Picked] = {}
        self._doubtful: dict[str, str] = {}

    def found(self) -> Columns:
        self._time("heartbeat")
        self._time("started_at", "running", kept=True)
        self._worker()
        self._time("finished_at", "done", "running", kept=True)
        self._time("failed_at", "failed", "running")
        for role in ("scheduled_at", "updated_at", "enqueued_at"):
            self._time(role)
        for role in ("max_attempts", "attempts", "timeout_seconds", "heartbeat_seconds"):
            self._plain(role, NUMBERS[role], ("number",))
        self._plain("error", TEXTS["error"], ("text",), least=NOTE_WIDTH)
        for role in ("kind", "queue"):
            self._plain(role, TEXTS[role], ("text", "enum"))
        lease = next((one.name for one in self._table.of(TIMES) if time_weight(one.name, "lease")), None)
        return Columns(
            self._roles,
            tuple(self._cleared()),
            lease,
            self._table.epoch if any(map(self._is_number, _TIMED)) else None,
            tuple(f"{name} {why}" for name, why in self._doubtful.items() if name not in self._taken),
        )

    def _is_number(self, role: str) -> bool:
        picked = self._roles.get(role)
        return picked is not None and self._table.column(picked.column).family == "number"

    def _free(self, families: Sequence[str]) -> list[Column]:
        return [one for one in self._table.of(families) if one.name not in self._taken]

    def _take(self, role: str, column: str, by_name: int, why: str, sure: Sure) -> None:
        self._roles[role] = Picked(column, by_name, why, sure)
        self._taken.add(column)

    def _time(
        self, role: str, shown_by: State | None = None, refuted_by: State | None = None, *, kept: bool = False
    ) -> None:
        """A time: of the columns called so, the one that rows of a state have, those of another have not.

        Args:
            role: the role.
            shown_by: the state whose rows have it.
            refuted_by: the state whose rows have it not.
            kept: a column that most rows of the state lack is none.
        """
        ranked: list[tuple[float, int, Column, str, Sure]] = []
        for at, column in enumerate(one for one in self._table.times() if one.name not in self._taken):
            by_name = time_weight(column.name, role)
            if not by_name or (role == "started_at" and column.not_null):
                continue
            proof, why = self._shown(column.name, shown_by)
            against, total = self._share(refuted_by, column.name)
            if total and against / total >= _HALF:
                self._doubtful[column.name] = f"is set in {against} of {total} running rows"
                continue
            if kept and proof < 0:
                self._doubtful[column.name] = why
                continue
            sure = _sure(by_name, proof, asked=shown_by is not None)
            ranked.append((by_name + 2 * proof, -at, column, why, sure))
        if not ranked:
            return
        _, _, column, why, sure = max(ranked, key=lambda one: one[:2])
        self._take(role, column.name, time_weight(column.name, role), why, sure)

    def _worker(self) -> None:
        ranked: list[tuple[float, int, Column, str, Sure, int]] = []
        for at, column in enumerate(self._free(("text", "number", "uuid"))):
            by_name = weight(column.name, WORKER)
            if not by_name or column.not_null or column.name in people(self._table):
                continue  # what is never NULL names no worker: a job that waits has none
            proof, why = self._shown(column.name, "running")
            held, total = self._share("waiting", column.name)
            if proof < 0 or (by_name == 1 and proof < 1) or (total >= _ENOUGH and held / total > _MOST):
                continue
            sure = _sure(by_name, proof, asked=True)
            ranked.append((by_name + proof, -at, column, why, sure, by_name))
        if ranked:
            _, _, column, why, sure, by_name = max(ranked, key=lambda one: one[:2])
            self._take("worker", column.name, by_name, why, sure)

    def _plain(self, role: str, names: Mapping[str, int], families: Sequence[str], *, least: int = 0) -> None:
        fitting = [
            (weight(one.name, names), -at, one)
            for at, one in enumerate(self._free(families))
            if weight(one.name, names) and (one.width is None or one.width >= least)
        ]
        if fitting:
            by_name, _, column = max(fitting, key=lambda one: one[:2])
            self._take(role, column.name, by_name, "its name and type", _sure(by_name, 0, asked=False))

    def _cleared(self) -> Iterator[Picked]:
        """What says that the job is held, beside worker and start: nobody would take it while that is set."""
        for column in self._table.columns:
            if column.not_null or column.generated or column.name in self._taken:
                continue
            lock = column.family in TIMES and called(column.name, "lock")
            token = called(column.name, "token")
            lease = column.family in TIMES and time_weight(column.name, "lease") > 0
            other = weight(column.name, WORKER) > 0 or normal(column.name).startswith(("worker_", "lock"))
            held, running = self._share("running", column.name)
            kept, waiting = self._share("waiting", column.name)
            if waiting and kept / waiting > _FEW:
                continue
            if running and waiting and held / running >= _MOST and (lock or token or lease or other):
                yield Picked(column.name, 2, "set only while a job runs", "sure")
            elif (lock or token or lease) and (not running or held):
                yield Picked(column.name, 1, "its name: it holds a job", "guess")

    def _shown(self, column: str, state: State | None) -> tuple[int, str]:
        """Whether rows speak for a column (1), against it (-1) or not at all (0), and in words."""
        present, total = self._share(state, column)
        if state is None or not total:
            return 0, "its name and type"
        rows = f"{present} of {total} {state} rows"
        if present == total:
            rows = f"the 1 {state} row" if total == 1 else f"all {total} {state} rows"
        if present / total >= _MOST:
            return 1, f"set in {rows}"
        if present / total < _HALF and total >= _SOME:
            return -1, f"is empty in {total - present} of {total} {state} rows"
        return 0, f"its name; set in {rows}"

    def _share(self, state: State | None, column: str) -> tuple[int, int]:
        if state is None:
            return 0, 0
        return self._states.share(self._table, state, column)


def _sure(by_name: int, proof: int, *, asked: bool) -> Sure:
    if by_name == 1:
        return "likely" if proof > 0 else "guess"
    if not asked:
        return "sure" if by_name > 1 else "likely"
    return "sure" if proof > 0 else "likely"
