"""The runner of lane rules: one transaction a lane, the lane whole or not at all."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

import psycopg

from queuewarden.adapters.db.session import Query
from queuewarden.engine import lanes, parking
from queuewarden.engine.ledger.book import booking, correction, entry_of
from queuewarden.engine.runner import BREATH
from queuewarden.engine.violations import TRANSIENT, violates
from queuewarden.engine.work import Work, finding
from queuewarden.errors import BusyError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
    from datetime import datetime

    from queuewarden.adapters.db.session import Row, Session
    from queuewarden.adapters.db.transaction import Transaction
    from queuewarden.engine.lanes import Lane
    from queuewarden.engine.ledger.book import Book, Entry
    from queuewarden.engine.memory import Memory
    from queuewarden.model import Finding, Outcome, Rule
    from queuewarden.queues.target import Target

FIGHT = 3
"""Sweeps running in which what we wrote was changed back before a lane is left alone."""

ALONE_EVERY = timedelta(hours=1)
"""How often a lane that is too long for a sweep is done."""

MOST_LANES = 10_000
"""Lanes looked at in one sweep."""


def found_lanes(rows: Iterable[Row]) -> dict[Lane, tuple[int, int]]:
    """From rows of `lanes.faulty_lanes`: lane to faulty members and members."""
    return {tuple(row[0]): (int(row[1]), int(row[2])) for row in rows}


class _LaneLeftError(Exception):
    """What was begun with a lane must not stand: it is rolled back."""


@dataclass(frozen=True, slots=True)
class _Locked:
    """A lane as its locked members are: see `lanes.lock_lane`."""

    size: int
    order: str
    versions: str


class LaneRunner:
    """Finds and mends lanes in one environment.

    Args:
        session: the connection.
        now: the database's clock at this sweep's start.
        book: records what is changed in the ledger; None where there is none.
    """

    def __init__(self, session: Session, now: datetime, book: Book | None = None) -> None:
        self.session = session
        self.now = now
        self._book = book
        self._queries: dict[Hashable, Query] = {}

    def _about(
        self, name: str, target: Target, rule: Rule, lane: Lane, compose: Callable[[], Query], **values: int
    ) -> Query:
        """A query about a lane: composed for the first one of its kind, given other values for the next."""
        kind = (name, target.queue, rule.code, tuple(part is None for part in lane))
        if kind not in self._queries:
            self._queries[kind] = compose()
        query = self._queries[kind]
        return Query(query.text, query.params | lanes.lane_values(lane) | values)

    async def findings(
        self,
        target: Target,
        check: str,
        rule: Rule,
        limit: int,
        only: Lane | None = None,
        *,
        intend: bool = False,
    ) -> list[Finding]:
        """List faulty members, lane by lane, read-only; with ``intend`` also what they would become."""
        rows = await self.session.rows(lanes.faulty_rows(target, rule, only, limit, become=intend))
        return [
            _in_lane(finding(target, check, rule, row[0], row[2], row[3], row[5]), row[1], rank=row[4])
            for row in rows
        ]

    async def mend(
        self,
        target: Target,
        check: str,
        rule: Rule,
        memory: Memory,
        found: Mapping[Lane, tuple[int, int]],
        *,
        partial: bool = False,
    ) -> Outcome:
        """Write the faulty members of as many lanes as a sweep may, those that have waited longest first.

        Lanes of up to ``position_rows`` members in all, or a single longer one, at most once an hour.

        Args:
            target: the queue.
            check: the check's name.
            rule: a rule with a rank.
            memory: what is remembered of the queue.
            found: faulty lanes, with the number of faulty members and of members.
            partial: ``found`` does not speak of all lanes.
        """
        work = Work(target, check, rule, memory)
        if not partial:
            memory.keep_lanes(rule.code, found)
        left = sum(faulty for faulty, _ in found.values())
        room = most = target.limits.position_rows
        for lane in memory.in_turn(rule.code, found):
            faulty, size = found[lane]
            alone = size > most and room == most and memory.may_go_alone(lane, self.now, ALONE_EVERY)
            if size > room and not alone:
                continue
            done = await self._attempt(work, lane, faulty)
            if work.held is not None or work.error is not None:
                break
            if done:
                left -= faulty
                room -= size
                memory.lane_done(rule.code, lane)
            if room <= 0:
                break
            await asyncio.sleep(BREATH)
        return work.outcome(found=work.mended + max(left, 0), skipped=max(left - work.set_aside, 0))

    async def _attempt(self, work: Work, lane: Lane, faulty: int) -> bool:
        """One lane with its own failure: a violation sets it aside, other errors end this rule's sweep."""
        try:
            return await self._lane(work, lane)
        except BusyError as error:
            work.wait(error)
        except psycopg.Error as error:
            if error.sqlstate is None or not self.session.usable:
                raise
            if violates(error):
                work.set_aside += faulty
                await self._tell_set_aside(work, lane, error.sqlstate)
            elif error.sqlstate not in TRANSIENT:
                work.fail(error)
        return False

    async def _lane(self, work: Work, lane: Lane) -> bool:
        """One lane; False where it is left as it was: a member is locked elsewhere, or it is shunned."""
        target, rule, memory = work.target, work.rule, work.memory
        locked, room = _Locked(0, "", ""), work.room
        try:
            async with self.session.transaction(role_path=target.jobs.role_path) as transaction:
                (values,) = await transaction.execute(self._lock(target, rule, lane))
                locked = _Locked(*values)
                if memory.is_shunned(rule.code, lane, locked.order, locked.versions):
                    return False
                if memory.times_written(rule.code, lane, locked.order) >= FIGHT:
                    memory.shun(rule.code, lane, locked.order, "fight")
                    return False
                entry = entry_of(target, work.check, rule, self._book)
                rows = await self._written(transaction, target, rule, lane, locked, room, entry)
                if rows and rows[0][4] is None:
                    raise psycopg.errors.RaiseException("a trigger refuses a member of the lane")
                if rows and rule.rank is not None and rule.rank.position is not None:
                    await self._comes_to_rest(transaction, target, rule, lane, locked, memory)
        except _LaneLeftError:
            return False
        except psycopg.Error as error:
            if violates(error):
                memory.shun(rule.code, lane, locked.versions, error.sqlstate or "")
            raise
        if rows:
            memory.note_lane(rule.code, lane, locked.order)
            work.mended += rows[0][4]
        position = rule.rank.position if rule.rank is not None else None
        for row in rows[:room]:
            mended = work.finding(row[0], row[1], row[2], row[3])
            becomes = {"becomes": (mended.after or {})[position]} if position is not None else {}
            work.sample.append(_in_lane(mended, lane, **becomes))
        return bool(rows)

    async def _written(
        self,
        transaction: Transaction,
        target: Target,
        rule: Rule,
        lane: Lane,
        locked: _Locked,
        room: int,
        entry: Entry | None,
    ) -> Sequence[Row]:
        """Write a locked lane; as many rows as the sample has room for, each with the count of all."""
        if parking.must_park(target, rule):
            return await self._parked(transaction, target, rule, lane, locked, room, entry)
        write = self._about(
            "write with images" if room else "write",
            target,
            rule,
            lane,
            lambda: lanes.write_lane(target, rule, lane, locked.size, room, booking(entry)),
            locked=locked.size,
            sample=max(1, room),
        )
        return await transaction.execute(write)

    async def _parked(
        self,
        transaction: Transaction,
        target: Target,
        rule: Rule,
        lane: Lane,
        locked: _Locked,
        room: int,
        entry: Entry | None,
    ) -> Sequence[Row]:
        """Write it in two steps: out of the way of a unique index, then to its numbers."""
        top = 0
        above = parking.parks_above(target, rule)
        if above:
            ((top,),) = await transaction.execute(parking.highest(target, rule, lane))
        book = booking(entry)
        parked = await transaction.execute(parking.park(target, rule, lane, locked.size, top, room, book))
        if not parked:
            return []
        if entry is not None:
            book = correction(entry, *parked[0][5:7])
        rows = await transaction.execute(
            parking.unpark(target, rule, lane, top, room, book)
            if above
            else lanes.write_lane(target, rule, lane, locked.size, room, book)
        )
        told = rows[0][4:6] if rows else ()
        if told != (parked[0][4], parked[0][4] if entry is not None else None):
            # A job came into the lane in between; what is parked must not stay so.
            raise _LaneLeftError
        return [(*before[:3], *after[3:]) for before, after in zip(parked, rows, strict=True)]

    def _lock(self, target: Target, rule: Rule, lane: Lane) -> Query:
        return self._about("lock", target, rule, lane, lambda: lanes.lock_lane(target, rule, lane))

    async def _comes_to_rest(
        self,
        transaction: Transaction,
        target: Target,
        rule: Rule,
        lane: Lane,
        locked: _Locked,
        memory: Memory,
    ) -> None:
        """Roll a lane back that had to be written in two sweeps running and whose order our write changes.

        An order by the position itself, or by a time that a trigger sets, could go round for ever.
        """
        if not memory.was_written(rule.code, lane):
            return
        (values,) = await transaction.execute(self._lock(target, rule, lane))
        if _Locked(*values).order != locked.order:
            memory.shun(rule.code, lane, locked.order, "fight")
            raise _LaneLeftError

    async def _tell_set_aside(self, work: Work, lane: Lane, sqlstate: str) -> None:
        """Name a few members of a lane whose write violated something."""
        if not work.room:
            return
        query = lanes.faulty_rows(work.target, work.rule, lane, work.room)
        (rows,) = await self.session.read([query])
        for row in [] if isinstance(rows, psycopg.Error) else rows:
            member = work.finding(row[0], row[2], row[3])
            work.tell_set_aside(_in_lane(member, lane, rank=row[4]), sqlstate)


def _in_lane(found: Finding, lane: Iterable[str | None], **facts: str | None) -> Finding:
    """A finding that says which lane it is in."""
    name = ",".join("NULL" if part is None else part for part in lane)
    return replace(found, facts={**found.facts, "lane": name, **facts})
