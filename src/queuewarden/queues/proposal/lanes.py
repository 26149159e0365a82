"""Positions: which column numbers the waiting jobs, in which lanes, by which order. The numbers tell."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

from queuewarden.queues.proposal.names import NUMBERS, called, normal, weight

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from queuewarden.queues.proposal.columns import Columns
    from queuewarden.queues.proposal.facts import Table

MOST_ROWS = 2000
"""Waiting rows that are looked at."""

_ENOUGH = 5
_WRONG = 0.1

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Numbered:
    """A column of positions, and what may explain its numbers.

    Attributes:
        lanes: sets of columns that may name a lane; the empty one: there is one lane.
        ranks, times: columns that may decide the order inside a lane.
    """

    column: str
    lanes: tuple[tuple[str, ...], ...]
    ranks: tuple[str, ...]
    times: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns whose values are needed."""
        lanes = (name for lane in self.lanes for name in lane)
        return tuple(dict.fromkeys([self.column, *lanes, *self.ranks, *self.times]))


@dataclass(frozen=True, slots=True)
class LanesFound:
    """Lane and order that explain the numbers.

    Attributes:
        order: columns, each with a minus before it where the greater comes first.
        dense: lanes begin at 1.
        fitting, rows: how many of the rows looked at have the number that they should.
    """

    lane: tuple[str, ...]
    order: tuple[tuple[str, bool], ...]
    dense: bool
    fitting: int
    rows: int


def numbered(table: Table, columns: Columns, status: str | None) -> Numbered | None:
    """What to ask about positions; None where no column is called so."""
    known = {one.column for one in columns.roles.values()} | {*table.key, status}
    ranked = [
        (weight(one.name, NUMBERS["position"]), one.name)
        for one in table.of(("number",))
        if one.name not in known and weight(one.name, NUMBERS["position"])
    ]
    if not ranked:
        return None
    column = max(ranked, key=lambda one: one[0])[1]
    unique = [tuple(sorted(one - {column, status})) for one in table.unique if column in one and len(one) > 1]
    keys = [
        one.columns[0]
        for one in table.foreign
        if len(one.columns) == 1 and one.columns[0] not in known and one.table != (table.schema, table.name)
    ]
    lanelike = [one.name for one in table.columns if called(one.name, "lane") and one.name != column]
    other = [one.name for one in table.columns if normal(one.name).endswith("_id") and one.name not in known]
    single = list(dict.fromkeys([*keys, *lanelike, *other]))[:5]
    lanes = [*unique, (), *((one,) for one in single), *combinations(keys[:3], 2)]
    times = [columns.roles[one].column for one in ("enqueued_at", "scheduled_at") if one in columns.roles]
    ranks = [one.name for one in table.of(("number",)) if weight(one.name, NUMBERS["priority"])]
    serial = [name for name in table.key[:1] if table.column(name).family == "number"]
    return Numbered(column, tuple(dict.fromkeys(lanes)), tuple(ranks[:2]), (*times, *serial))


def explained(asked: Numbered, rows: Sequence[Row]) -> LanesFound | str:
    """The lane and the order under which the rows have the numbers they have; or why there are none."""
    rows = [row for row in rows if row[asked.column] is not None]
    if len(rows) < _ENOUGH:
        return f"{len(rows)} waiting rows have a position, too few to tell lanes and order"
    best: LanesFound | None = None
    orders = _orders(asked, rows)
    for lane in asked.lanes:
        groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
        for row in rows:
            groups[tuple(row[name] for name in lane)].append(row)
        if all(len(group) == 1 for group in groups.values()):
            continue
        starts = [min(row[asked.column] for row in group) for group in groups.values()]
        if sum(start < 1 for start in starts) > len(starts) * _WRONG:
            continue
        dense = sum(start == 1 for start in starts) >= len(starts) * (1 - _WRONG)
        for order in orders:
            fitting = sum(_fitting(group, asked.column, order, dense=dense) for group in groups.values())
            if best is None or fitting > best.fitting:
                best = LanesFound(lane, order, dense, fitting, len(rows))
    if best is None or best.fitting < len(rows) * (1 - _WRONG):
        return "no lane and order were found that explain its numbers"
    return best


def _orders(asked: Numbered, rows: Sequence[Row]) -> list[tuple[tuple[str, bool], ...]]:
    """The orders to try: each rank that is not the same everywhere, either way, then time alone."""
    times = [(name, False) for name in asked.times]
    ranks = [
        (name, down) for name in asked.ranks if len({row[name] for row in rows}) > 1 for down in (True, False)
    ]
    return [*((rank, one) for rank in ranks for one in times), *((one,) for one in times)]


def _fitting(group: Sequence[Row], column: str, order: Sequence[tuple[str, bool]], *, dense: bool) -> int:
    """How many rows of a lane have the number that the order gives them."""

    def place(row: Mapping[str, Any]) -> list[tuple[bool, Any]]:
        return [(row[name] is None, _turned(row[name], down=down)) for name, down in order]

    first = 1 if dense else min(row[column] for row in group)
    ordered = sorted(group, key=place)
    return sum(row[column] == first + at for at, row in enumerate(ordered))


def _turned(value: Any, *, down: bool) -> Any:
    if value is None:
        return 0
    return -value if down else value
