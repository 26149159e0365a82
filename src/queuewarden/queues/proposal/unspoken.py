"""The states of rows where no word tells them: by a start, a worker and an end that are set or are not."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING

from queuewarden.queues.proposal.facts import StatesFound
from queuewarden.queues.proposal.names import WORKER, called, flag, time_weight, weight
from queuewarden.queues.proposal.words import STATES, State

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from queuewarden.queues.proposal.facts import Column, Group, Sure, Table, Word

_MOST, _FEW = 0.9, 0.1
_MANY = 3
"""Rows of a state from which on they prove something."""
_SHOWN = 8
_SHORT = re.compile(r"[\w-]{1,12}")
_PLAIN = re.compile(r"[A-Za-z_][\w$]*", re.ASCII)
_ENDS: tuple[State, ...] = ("done", "failed", "cancelled")


def rows(number: int) -> str:
    """So many rows, in words."""
    return f"{number} row{'s' * (number != 1)}"


def counts(table: Table, column: str) -> dict[str, int]:
    """How many rows were seen of each value."""
    found: dict[str, int] = defaultdict(int)
    for group in table.sample.groups if table.sample else ():
        value = group.values.get(column)
        if value is not None:
            found[value] += group.count
    return found


def evident(table: Table, status: str) -> dict[str, State]:
    """What the rows themselves tell of each status value: held, ended, or neither."""
    held, fails = [*_starts(table), *_workers(table)], _ended(table, "failed")
    ends = _ended(table, "done", least=1)
    groups: dict[str, list[Group]] = defaultdict(list)
    for group in table.sample.groups if table.sample else ():
        value = group.values.get(status)
        if value is not None:
            groups[value].append(group)
    found: dict[str, State] = {}
    for value, some in groups.items():
        if _share(some, fails) >= _MOST:
            found[value] = "failed"
        elif _share(some, ends) >= _MOST:
            found[value] = "done"
        elif _share(some, ends) <= _FEW and _share(some, held) >= _MOST:
            found[value] = "running"
        elif _share(some, ends) <= _FEW and _share(some, held) <= _FEW:
            found[value] = "waiting"
    return found


def by_rows(table: Table, column: Column, words: Mapping[str, Word]) -> StatesFound | str:
    """Numbers and letters say nothing: what their rows have does, where a held one is among them."""
    known = ", ".join(sorted(map(repr, words))[:_SHOWN])
    dumb = f"{column.name} has values that say nothing ({known})"
    if not all(map(_SHORT.fullmatch, words)):
        return dumb
    if not _ended(table, "done") or not (_starts(table) or _workers(table)):
        return f"{dumb}, and no column tells start and end"
    chosen: dict[State, list[str]] = defaultdict(list)
    for value, state in evident(table, column.name).items():
        chosen[state].append(value)
    fresh = [value for value in chosen["waiting"] if value == column.default]
    if len(chosen["running"]) != 1 or not (fresh or len(chosen["waiting"]) == 1):
        return f"{dumb}, and no rows show which of them runs and which waits: look again while a job runs"
    if column.default is not None and not fresh and column.default in words:
        return f"{dumb}, and a new row would look as if it were held or ended"
    chosen["waiting"] = fresh or chosen["waiting"]
    values: dict[State, tuple[str, ...]] = {state: tuple(chosen[state]) for state in STATES if chosen[state]}
    seen: dict[State, int] = {
        state: sum(counts(table, column.name)[one] for one in some) for state, some in values.items()
    }
    told = {
        "waiting": "neither held nor ended",
        "running": "held, not ended",
        "done": "ended",
        "failed": "failed",
    }
    many = min(seen["waiting"], seen["running"]) >= _MANY
    why: dict[State, str] = {state: f"{told[state]}; {rows(number)}" for state, number in seen.items()}
    return StatesFound(
        column.name,
        values,
        why,
        dict.fromkeys(values, "likely" if many else "guess"),
        3.0 if many else 1.5,
        tuple(value for value in words if not any(value in some for some in values.values())),
    )


def by_conditions(table: Table) -> StatesFound | str:
    """Without a status column: what is set, and what is not."""
    held = _marker(table, [one.name for one in table.of(("flag",)) if flag(one.name) == "running"])
    if held is None:
        return "no status column, and no column that tells which jobs run"
    told = _Conditions(table)
    ends = {state: marks[0] for state in _ENDS if (marks := _ended(table, state))}
    open_ = [told.unset(name) for name in ends.values()]
    values: dict[State, tuple[str, ...]] = {
        "waiting": (told.unset(held), *open_),
        "running": (told.set(held), *open_),
    }
    before: list[str] = []
    for state in reversed(_ENDS):  # a job that failed may have an end, too
        if state in ends:
            values[state] = (told.set(ends[state]), *before)
            before.append(told.unset(ends[state]))
    found = told.found(values)
    if held in _workers(table) and found.sure["running"] == "guess":
        return f"no status column, and no rows show that {held} is set only while a job runs"
    return found


def under_status(table: Table, column: Column, waiting: str, ends: Mapping[State, str]) -> StatesFound | None:
    """A status that has no word for running, and a column that is set while a job runs; None if none is.

    Args:
        table: the table.
        column: the status column.
        waiting: its value for jobs that wait, and for those that run.
        ends: its value for each state of those that ended.
    """
    held = _marker(table, [])
    if held is None or not (called(held, "lock") or held in _workers(table)):
        return None  # a start alone may be set for good
    told = _Conditions(table)
    values: dict[State, tuple[str, ...]] = {
        "waiting": (told.equal(column.name, waiting), told.unset(held)),
        "running": (told.equal(column.name, waiting), told.set(held)),
        **{state: (told.equal(column.name, value),) for state, value in ends.items()},
    }
    fail = told.equal(column.name, ends["failed"]) if "failed" in ends else ""
    found = told.found(values, fail)
    return found if column.name in table.closed or found.sure["running"] == "likely" else None


class _Conditions:
    """Conditions on columns, as a mapping spells them, and whether rows fulfil them."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._flags = {one.name for one in table.of(("flag",))}
        self._holds: dict[str, Callable[[Group], bool]] = {}

    def set(self, name: str) -> str:
        """The column is set."""
        if name in self._flags:
            return self.equal(name, "true")
        return self._told(f"{_quoted(name)} is not null", lambda group: name in group.present)

    def unset(self, name: str) -> str:
        """It is not."""
        if name in self._flags:
            return self.equal(name, "false")
        return self._told(f"{_quoted(name)} is null", lambda group: name not in group.present)

    def equal(self, name: str, value: str) -> str:
        """It has a value."""
        said = value.replace("'", "''")
        return self._told(f"{_quoted(name)} = '{said}'", lambda group: group.values.get(name) == value)

    def found(self, values: Mapping[State, tuple[str, ...]], fail: str = "") -> StatesFound:
        """The states, with what the rows say of them."""
        ordered: dict[State, tuple[str, ...]] = {state: values[state] for state in STATES if state in values}
        found = StatesFound(None, ordered, {}, {}, 0, holds=self._holds)
        seen: dict[State | None, int] = defaultdict(int)
        for group in self._table.sample.groups if self._table.sample else ():
            seen[found.of(group)] += group.count
        proven = bool(seen["waiting"] and seen["running"])
        sure: dict[State, Sure] = dict.fromkeys(ordered, "likely" if proven else "guess")
        why: dict[State, str] = {state: f"by what is set; {rows(seen[state])}" for state in ordered}
        return StatesFound(
            None,
            ordered,
            why,
            sure,
            3.0 if proven else 2.0,
            fail=fail,
            holds=self._holds,
        )

    def _told(self, text: str, holds: Callable[[Group], bool]) -> str:
        self._holds[text] = holds
        return text


def _starts(table: Table) -> list[str]:
    """Columns that a start leaves behind; one that is never NULL tells nothing."""
    fitting = [
        one.name for one in table.times() if not one.not_null and time_weight(one.name, "started_at") > 1
    ]
    return sorted(fitting, key=lambda name: -time_weight(name, "started_at"))


def _workers(table: Table) -> list[str]:
    fitting = [
        one.name
        for one in table.of(("text", "number", "uuid"))
        if not one.not_null and weight(one.name, WORKER) > 1
    ]
    return sorted(fitting, key=lambda name: -weight(name, WORKER))


def _ended(table: Table, state: State, *, least: int = 2) -> list[str]:
    """Columns that an end leaves behind, a time or else a flag; ``least``: how clearly they must say so."""
    role = {"done": "finished_at", "failed": "failed_at", "cancelled": "cancelled_at"}[state]
    times = [one.name for one in table.times() if not one.not_null and time_weight(one.name, role) >= least]
    flags = [one.name for one in table.of(("flag",)) if flag(one.name) == state]
    return [*sorted(times, key=lambda name: -time_weight(name, role)), *flags]


def _marker(table: Table, flags: list[str]) -> str | None:
    """The column that is set while a job runs, and only then: a flag, a lock, a start, a worker."""
    locks = [name for name in _starts(table) if called(name, "lock")]
    candidates = list(dict.fromkeys([*flags, *locks, *_starts(table), *_workers(table)]))
    groups = table.sample.groups if table.sample else ()
    often = {name: sum(one.count for one in groups if _is_set(one, name)) for name in candidates}
    # What stays set when a job goes back, or ends, is set in more rows.
    used = [name for name in candidates if often[name]]
    return min(used or candidates, key=lambda name: often[name], default=None)


def _is_set(group: Group, name: str) -> bool:
    return group.values[name] == "true" if name in group.values else name in group.present


def _share(groups: Iterable[Group], columns: Collection[str]) -> float:
    """Of some rows, the share in which the column that is set most often is set."""
    some = list(groups)
    total = sum(one.count for one in some)
    return max(
        (sum(one.count for one in some if _is_set(one, name)) / total for name in columns), default=0.0
    )


def _quoted(name: str) -> str:
    return name if _PLAIN.fullmatch(name) else '"' + name.replace('"', '""') + '"'
