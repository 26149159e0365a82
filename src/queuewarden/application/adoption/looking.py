"""A look at one database: libraries that are known, tables that look like jobs, and why others do not."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING

from queuewarden.application.discovery import recognise
from queuewarden.engine.discover import of_strangers
from queuewarden.engine.survey import details, questions, rows, tables
from queuewarden.queues.mapping import TableName
from queuewarden.queues.presets import presets
from queuewarden.queues.proposal.choices import Answers, Draft
from queuewarden.queues.proposal.fleet import candidates, chosen
from queuewarden.queues.proposal.lanes import explained
from queuewarden.queues.proposal.names import time_weight, worker_like
from queuewarden.queues.proposal.propose import Proposal, Refusal, draft, propose
from queuewarden.queues.proposal.score import NEAR, likeness, worth_a_look, worth_a_word

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from queuewarden.adapters.db.session import Session
    from queuewarden.application.discovery import Recognised
    from queuewarden.engine.survey.tables import Survey
    from queuewarden.queues.mapping import Mapping
    from queuewarden.queues.proposal.facts import Table
    from queuewarden.queues.proposal.fleet import Fleet

MOST_LOOKED_AT = 16
"""Tables whose rows are looked at, the likeliest first."""

PATIENCE = 30.0
"""Seconds after which no further table is begun with."""

MOST_PROPOSED = 5
MOST_REFUSED = 5

_MOST_FLEETS = 8
_LATE = "the tables before it took all the time there was"
_STRANGE = (
    "it belongs to another role, whose code could run with your rights, and you are a superuser: connect as"
    " another role, or name it to say that you trust its owner"
)


@dataclass(frozen=True, slots=True)
class Looked:
    """What a database has.

    Attributes:
        count: tables there are.
        near: how many of them were looked at closely.
        recognised: libraries by their presets; those that differ are not proposed, only told.
        mapped: tables that a configured queue has already, and the queue.
        proposals: the likeliest first.
        refusals: tables that look like jobs and are not proposed, the likeliest first.
        unknown: tables that were asked for and are not there, with the nearest name.
    """

    count: int
    near: int
    seconds: float
    recognised: tuple[Recognised, ...] = ()
    mapped: tuple[tuple[TableName, str], ...] = ()
    proposals: tuple[Proposal, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    unknown: tuple[str, ...] = ()


async def look(session: Session, mappings: Sequence[Mapping], wanted: Collection[TableName] = ()) -> Looked:
    """Look at a database.

    Args:
        session: a connection to it.
        mappings: the queues that are configured there.
        wanted: only these tables, however unlikely they are.

    Raises:
        psycopg.Error: the catalog could not be read.
    """
    begun = time.monotonic()
    found = await tables.survey(session)
    recognised = [] if wanted else await recognise(session)
    known = _library_tables(recognised)
    mapped = {
        (table.schema, table.name): mapping.name
        for table in found.tables
        for mapping in mappings
        if _is(mapping.jobs.table, table)
    }
    free = [one for one in found.tables if not {(one.schema, one.name)} & (known | set(mapped))]
    if wanted:
        near = [one for one in found.tables if any(_is(name, one) for name in wanted)]
    else:
        near = sorted(filter(worth_a_look, free), key=lambda one: -likeness(one).score)[:MOST_LOOKED_AT]
    # Who owns a table can have code of his run by whoever reads it; a superuser's rights have no bounds.
    names = [one.name for one in (*near, *_fleets(found.tables, near))]
    strangers = await of_strangers(session, names) if found.superuser and not wanted else set()
    looker = _Looker(session, found, frozenset(strangers), guessing=bool(wanted))
    proposals, refusals = await looker.all(near, _fleets(found.tables, near))
    refusals += [Refusal(_name(one), _no_sign(one)) for one in free if not wanted and _only_a_word(one)]
    kept = [one for one in proposals if wanted or one.confidence != "weak"]
    fleets = {one.fleet for one in kept}
    refusals += [_too_weak(one) for one in proposals if one not in kept and one.table not in fleets]
    return Looked(
        found.count,
        len(near),
        time.monotonic() - begun,
        tuple(one for one in recognised if _place(one) not in mapped),
        tuple((TableName(name, schema), queue) for (schema, name), queue in sorted(mapped.items())),
        tuple(sorted(kept, key=lambda one: -one.score)[:MOST_PROPOSED]),
        tuple(sorted(_told(refusals, wanted), key=lambda one: -one.near)[:MOST_REFUSED]),
        tuple(_unknown(wanted, found.tables)),
    )


@dataclass(frozen=True, slots=True)
class _Looker:
    """Looks at one table after the other."""

    session: Session
    survey: Survey
    strangers: frozenset[tuple[str, str]]
    guessing: bool

    async def all(
        self, near: Sequence[Table], beating: Sequence[Table]
    ) -> tuple[list[Proposal], list[Refusal]]:
        proposals: list[Proposal] = []
        refusals: list[Refusal] = []
        together = {one.oid: one for one in (*near, *beating)}
        full = await details.described(self.session, list(together.values()))
        own = [full[one.oid] for one in beating if one.oid in full and self._trusted(one)]
        fleets = [await rows.sampled(self.session, one, self.survey.version) for one in own]
        until = time.monotonic() + PATIENCE
        for one in near:
            if time.monotonic() > until:
                result: Proposal | Refusal = Refusal(_name(one), _LATE, likeness(one).score)
            else:
                result = await self._one(full[one.oid], fleets) if one.oid in full else _locked(one)
            if isinstance(result, Proposal):
                proposals.append(result)
            else:
                refusals.append(result)
        return proposals, refusals

    async def _one(self, table: Table, fleets: Sequence[Table]) -> Proposal | Refusal:
        if not table.readable:
            # What its names and constraints tell may be enough; the rows are for whoever may read them.
            return _told_unreadable(draft(table, guessing=self.guessing), table)
        if not self._trusted(table):
            one = draft(table)
            return one if isinstance(one, Refusal) else Refusal(_name(table), _STRANGE, one.like.score)
        if table.kind in ("r", "p"):
            table = await rows.sampled(self.session, table, self.survey.version)
        first = draft(table, guessing=self.guessing)
        if isinstance(first, Refusal):
            return first
        table = await rows.running_too(self.session, table, first.states)
        one = draft(table, guessing=self.guessing)
        if isinstance(one, Refusal):
            return one
        return propose(one, await self._answers(one, fleets))

    def _trusted(self, table: Table) -> bool:
        return (table.schema, table.name) not in self.strangers

    async def _answers(self, one: Draft, fleets: Sequence[Table]) -> Answers:
        fleet: Fleet | None = None
        if (worker := one.role("worker")) is not None:
            likely = candidates(fleets, one.table, worker)
            fleet = chosen([await questions.matched(self.session, one, each) for each in likely])
        lanes = None
        if one.numbered is not None:
            lanes = explained(one.numbered, await questions.positioned(self.session, one, one.numbered))
        longest = await questions.longest(self.session, one)
        return Answers(fleet, lanes, longest, self.survey.zone)


def _fleets(found: Iterable[Table], near: Sequence[Table]) -> list[Table]:
    """The tables in which workers may beat."""

    def likely(table: Table) -> int:
        beats = max((time_weight(one.name, "heartbeat") for one in table.of(("instant", "naive"))), default=0)
        touched = any(time_weight(one.name, "updated_at") for one in table.of(("instant", "naive")))
        near_by = any(one.schema == table.schema for one in near)
        named = worker_like(table.name)
        return (beats or (named and touched)) and beats + 3 * named + near_by

    fitting = [one for one in found if one.kind in ("r", "p") and likely(one)]
    return sorted(fitting, key=lambda one: -likely(one))[:_MOST_FLEETS]


def _place(one: Recognised) -> tuple[str, str]:
    return one.schema, one.mapping.jobs.table.name


def _library_tables(recognised: Iterable[Recognised]) -> set[tuple[str, str]]:
    """The tables of libraries that were fully recognised."""
    every = presets()
    return {
        (one.schema, name.rpartition(".")[2])
        for one in recognised
        if one.full and (print_ := every[one.preset].fingerprint) is not None
        for name in print_.tables
    }


def _is(name: TableName, table: Table) -> bool:
    return name.name == table.name and name.schema in (None, table.schema)


def _name(table: Table) -> TableName:
    return TableName(table.name, table.schema)


def _locked(table: Table) -> Refusal:
    return Refusal(_name(table), "somebody holds it locked just now: look again", likeness(table).score)


def _only_a_word(table: Table) -> bool:
    return worth_a_word(table) and not worth_a_look(table)


def _no_sign(table: Table) -> str:
    if not likeness(table).timed:
        return "it has no column for a start, a worker or a heartbeat"
    return "too little speaks for jobs"


def _told_unreadable(one: Draft | Refusal, table: Table) -> Proposal | Refusal:
    if isinstance(one, Refusal):
        grant = "this role may not read it, so that only its catalog was looked at"
        return replace(one, why=f"{one.why} ({grant})")
    return replace(propose(one, Answers()), rows=table.rows)


def _too_weak(one: Proposal) -> Refusal:
    signs = ", ".join(one.signs[:3]) or "nothing"
    return Refusal(one.table, f"too little speaks for a queue ({signs})", one.score)


def _told(refusals: Iterable[Refusal], wanted: Collection[TableName]) -> list[Refusal]:
    return [one for one in refusals if wanted or one.near >= NEAR]


def _unknown(wanted: Iterable[TableName], found: Sequence[Table]) -> Iterator[str]:
    """What to say of tables that were asked for and are not there."""
    for name in wanted:
        if not any(_is(name, one) for one in found):
            known = {one.name if name.schema is None else str(_name(one)): str(_name(one)) for one in found}
            close = get_close_matches(str(name), known, n=1)
            meant = f"; did you mean {known[close[0]]}?" if close else ""
            yield f"no table {name} that this role may use and that has a status, a start or a worker{meant}"
