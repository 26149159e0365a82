"""From the draft of a mapping and what the database answered to its variables, each with its reason."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from queuewarden.queues.proposal.lanes import LanesFound
from queuewarden.queues.proposal.words import STATES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from queuewarden.queues.proposal.columns import Columns
    from queuewarden.queues.proposal.facts import StatesFound, Sure, Table
    from queuewarden.queues.proposal.fleet import Fleet
    from queuewarden.queues.proposal.lanes import Numbered
    from queuewarden.queues.proposal.score import Likeness
    from queuewarden.queues.proposal.words import State

_BARE_NAME = re.compile(r"""[^\s"',;:.=<>()#\x00-\x1f\x7f]+""")
_BARE_VALUE = re.compile(r"[\w.-]+", re.ASCII)
_ROLES = (
    "worker", "started_at", "heartbeat", "enqueued_at", "scheduled_at", "finished_at", "failed_at",
    "updated_at", "attempts", "max_attempts", "timeout_seconds", "heartbeat_seconds", "error",
)  # fmt: skip
_PAST = ("started_at", "heartbeat", "enqueued_at", "finished_at", "updated_at")
_LEAST_STUCK = 90.0
"""Seconds of the longest runs above which the default limit, of three minutes, would be too short."""
_LIMITS = (300, 600, 900, 1800, 3600, 7200, 14_400, 28_800, 43_200, 86_400, 172_800, 345_600, 604_800)
_UNITS = ((86_400, "d"), (3600, "h"), (60, "m"))
AHEAD = 60.0
"""Seconds by which a time of the past may be ahead of the clock."""
_STALE = 3600.0
_ENOUGH, _HOLDS = 5, 0.95


@dataclass(frozen=True, slots=True)
class Choice:
    """One proposed variable (below the queue), with its value, why, and how far to trust it."""

    variable: str
    value: str
    why: str
    sure: Sure


@dataclass(frozen=True, slots=True)
class Draft:
    """A table that tells states and has what can be judged; what is still to be asked about it."""

    table: Table
    states: StatesFound
    columns: Columns
    like: Likeness
    numbered: Numbered | None

    def role(self, name: str) -> str | None:
        """The column for a role."""
        picked = self.columns.roles.get(name)
        return picked.column if picked is not None else None

    @property
    def naive(self) -> bool:
        """Some of its times have no zone."""
        columns = (self.table.column(picked.column) for picked in self.columns.roles.values())
        return any(column.family == "naive" for column in columns)

    @property
    def ahead(self) -> float:
        """By how many seconds the latest time without a zone, of what has happened, is ahead of UTC."""
        ahead = self.table.sample.ahead if self.table.sample else {}
        return max(
            (ahead[name] for role in _PAST if (name := self.role(role)) in ahead and name), default=0.0
        )


@dataclass(frozen=True, slots=True)
class Answers:
    """What further questions to the database brought.

    Attributes:
        fleet: the workers table, where there is one.
        lanes: what explains the positions; or why nothing does.
        longest: seconds that one run in a hundred took, or more.
        zone: the server's own time zone, and by how many seconds it is ahead of UTC.
    """

    fleet: Fleet | None = None
    lanes: LanesFound | str | None = None
    longest: float | None = None
    zone: tuple[str, float] = ("UTC", 0.0)


def spelled(name: str) -> str:
    """A column or a part of a table's name, as a variable spells it."""
    if _BARE_NAME.fullmatch(name) and not name.isdecimal():
        return name
    return '"' + name.replace('"', '""') + '"'


def spelled_table(schema: str, name: str) -> str:
    """A table, with its schema."""
    return f"{spelled(schema)}.{spelled(name)}"


def spelled_value(value: str) -> str:
    """A status value."""
    return value if _BARE_VALUE.fullmatch(value) else '"' + value.replace('"', '""') + '"'


def span(seconds: float) -> str:
    """Some time for a person: ``2.5 h``."""
    size, unit = next(((size, unit) for size, unit in _UNITS if seconds >= size), (1, "s"))
    return f"{seconds / size:.3g} {unit}"


def zone(draft: Draft, answers: Answers) -> str | None:
    """The zone of times without one, where they are ahead of UTC by as much as the server's zone is."""
    name, offset = answers.zone
    fits = draft.naive and max(AHEAD, offset - _STALE) < draft.ahead <= offset + AHEAD
    return name if fits else None


def choices(draft: Draft, answers: Answers) -> Iterator[Choice]:
    """All variables, in the order of the reference."""
    table, states = draft.table, draft.states
    yield Choice("JOBS__TABLE", spelled_table(table.schema, table.name), "this table", "sure")
    yield Choice("JOBS__ID", ", ".join(map(spelled, table.key)), "its key", "sure")
    if states.status is not None:
        sure = "sure" if states.sure["waiting"] == "sure" else states.sure["running"]
        yield Choice("JOBS__STATUS", spelled(states.status), "its name and its values", sure)
    for role in _ROLES:
        if (picked := draft.columns.roles.get(role)) is not None:
            yield Choice(f"JOBS__{role.upper()}", spelled(picked.column), picked.why, picked.sure)
    yield from _further(draft, answers)
    for state in STATES:
        if values := states.values.get(state):
            text = ", ".join(map(spelled_value, values) if states.status is not None else values)
            yield Choice(f"STATES__{state.upper()}", text, states.why[state], states.sure[state])
    if answers.fleet is not None:
        yield from _workers(answers.fleet)
    if draft.numbered is not None and isinstance(answers.lanes, LanesFound):
        yield from _lanes(draft.numbered.column, answers.lanes)
    if states.fail:
        yield Choice("FAIL", states.fail, "what makes a job failed", "likely")
    yield from _judging(draft, answers)


def _further(draft: Draft, answers: Answers) -> Iterator[Choice]:
    labels = [name for role in ("kind", "queue") if (name := draft.role(role)) is not None]
    if labels:
        yield Choice("JOBS__LABEL", ", ".join(map(spelled, labels)), "names a job to a person", "likely")
    if cleared := draft.columns.clear:
        least = min(cleared, key=lambda one: one.weight)
        names = ", ".join(spelled(one.column) for one in cleared)
        yield Choice("JOBS__CLEAR", names, least.why, least.sure)
    if draft.columns.epoch is not None:
        yield Choice("JOBS__EPOCH", draft.columns.epoch, "whole numbers of that size", "sure")
    if (name := zone(draft, answers)) is not None:
        yield Choice("JOBS__TIME_ZONE", name, "latest times are so far ahead", "likely")


def _workers(fleet: Fleet) -> Iterator[Choice]:
    place = spelled_table(fleet.table.schema, fleet.table.name)
    yield Choice("WORKERS__TABLE", place, fleet.why, fleet.sure)
    yield Choice("WORKERS__ID", spelled(fleet.id), "unique, of a fitting type", fleet.sure)
    yield Choice("WORKERS__HEARTBEAT", spelled(fleet.heartbeat), "its name and type", fleet.sure)
    if fleet.status is not None:
        column, gone = fleet.status
        yield Choice("WORKERS__STATUS", spelled(column), "its name and its values", fleet.sure)
        yield Choice("WORKERS__OFFLINE_VALUE", spelled_value(gone), "word for one that is gone", "likely")
    if fleet.current_job is not None:
        yield Choice("WORKERS__CURRENT_JOB", spelled(fleet.current_job), "its name", "likely")
    if fleet.started_at is not None:
        yield Choice("WORKERS__STARTED_AT", spelled(fleet.started_at), "its name and type", "likely")


def _lanes(column: str, lanes: LanesFound) -> Iterator[Choice]:
    sure: Sure = "sure" if lanes.fitting == lanes.rows else "likely"
    why = f"explains {lanes.fitting} of {lanes.rows} positions"
    yield Choice("POSITIONS__COLUMN", spelled(column), "its name and its numbers", sure)
    order = ", ".join(f"{spelled(name)}{' desc' if down else ''}" for name, down in lanes.order)
    yield Choice("POSITIONS__ORDER_BY", order, why, sure)
    if lanes.lane:
        yield Choice("POSITIONS__LANE", ", ".join(map(spelled, lanes.lane)), why, sure)
    if not lanes.dense:
        yield Choice("POSITIONS__DENSE", "false", "lanes do not begin at 1", sure)


def _judging(draft: Draft, answers: Answers) -> Iterator[Choice]:
    """What keeps the checks from finding a fault in rows that are as this application leaves them."""
    holding, broken = _stamps(draft)
    if broken and holding:
        pairs = ", ".join(f"{spelled_value(value)}={spelled(column)}" for value, column in holding)
        yield Choice("TIMESTAMPS", pairs, f"not so for {'; '.join(broken)}", "likely")
    elif broken:
        checks = "dead_workers, stuck_jobs, orphans, lanes, positions"
        yield Choice("CHECKS", checks, f"all but timestamps: {'; '.join(broken)}", "likely")
    longest = answers.longest
    if longest is not None and longest > _LEAST_STUCK and draft.role("started_at") is not None:
        limit = next((one for one in _LIMITS if one >= 2 * longest), _LIMITS[-1])
        size, unit = next((size, unit) for size, unit in _UNITS if limit % size == 0)
        why = f"1 run in 100 takes {span(longest)}"
        yield Choice("STUCK_AFTER", f"{limit // size}{unit}", why, "likely")


def _stamps(draft: Draft) -> tuple[list[tuple[str, str]], list[str]]:
    """Status values whose rows have the time that goes with them; and, in words, those whose rows lack it."""
    holding: list[tuple[str, str]] = []
    broken: list[str] = []
    if draft.states.status is None:
        return holding, broken
    pairs: tuple[tuple[State, str | None], ...] = (
        ("running", draft.role("started_at")),
        ("done", draft.role("finished_at")),
    )
    for state, column in pairs:
        for value in draft.states.values.get(state, ()) if column is not None else ():
            only = replace(draft.states, values={state: (value,)})
            present, total = only.share(draft.table, state, column or "")
            if total >= _ENOUGH and present < _HOLDS * total:
                broken.append(f"{total - present} of {total} {value} rows have no {column}")
            else:
                holding.append((value, column or ""))
    return holding, broken
