"""The runner of lane rules: one transaction a lane, the lane whole or not at all."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

import psycopg

from queuewarden.adapters.db.session import Query
from queuewarden.engine import lanes, parking, render
from queuewarden.engine.runner import BREATH, SAMPLE, TRANSIENT, Tally, label_of, violates
from queuewarden.errors import BusyError
from queuewarden.model import Finding, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
    from datetime import datetime

    from queuewarden.adapters.db.session import Row, Session, Transaction
    from queuewarden.engine.lanes import Lane
    from queuewarden.engine.memory import Memory
    from queuewarden.model import Rule
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
    """

    def __init__(self, session: Session, now: datetime) -> None:
        self.session = session
        self.now = now
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
        self, target: Target, check: str, rule: Rule, limit: int, only: Lane | None = None
    ) -> list[Finding]:
        """List faulty members, lane by lane, read-only."""
        rows = await self.session.rows(lanes.faulty_rows(target, rule, only, limit))
        return [
            _finding(target, check, rule, row[0], row[2], row[3], lane=row[1], rank=row[4]) for row in rows
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
        begun = time.monotonic()
        tally = Tally()
        if not partial:
            memory.keep_lanes(rule.code, found)
        left = sum(faulty for faulty, _ in found.values())
        room = most = target.limits.position_rows
        for lane in memory.in_turn(rule.code, found):
            faulty, size = found[lane]
            alone = size > most and room == most and memory.may_go_alone(lane, self.now, ALONE_EVERY)
            if size > room and not alone:
                continue
            done = await self._attempt(target, check, rule, lane, faulty, memory, tally)
            if tally.busy or tally.error is not None:
                break
            if done:
                left -= faulty
                room -= size
                memory.lane_done(rule.code, lane)
            if room <= 0:
                break
            await asyncio.sleep(BREATH)
        return Outcome(
            target.environment,
            target.queue,
            check,
            rule.code,
            rule.event,
            reason=rule.reason,
            found=tally.mended + max(left, 0),
            mended=tally.mended,
            skipped=max(left - tally.set_aside, 0),
            set_aside=tally.set_aside,
            sample=tuple(tally.sample[:SAMPLE]),
            seconds=time.monotonic() - begun,
            error=tally.error,
            held="busy" if tally.busy else None,
        )

    async def _attempt(
        self,
        target: Target,
        check: str,
        rule: Rule,
        lane: Lane,
        faulty: int,
        memory: Memory,
        tally: Tally,
    ) -> bool:
        """One lane with its own failure: a violation sets it aside, other errors end this rule's sweep."""
        try:
            return await self._lane(target, check, rule, lane, memory, tally)
        except BusyError:
            tally.busy = True
        except psycopg.Error as error:
            if error.sqlstate is None or not self.session.usable:
                raise
            if violates(error):
                tally.set_aside += faulty
                await self._tell_set_aside(target, check, rule, lane, error.sqlstate, tally)
            elif error.sqlstate not in TRANSIENT:
                tally.error = error.sqlstate
        return False

    async def _lane(
        self, target: Target, check: str, rule: Rule, lane: Lane, memory: Memory, tally: Tally
    ) -> bool:
        """One lane; False where it is left as it was: a member is locked elsewhere, or it is shunned."""
        locked = _Locked(0, "", "")
        room = max(0, SAMPLE - len(tally.sample))
        try:
            async with self.session.transaction() as transaction:
                (values,) = await transaction.execute(self._lock(target, rule, lane))
                locked = _Locked(*values)
                if memory.is_shunned(rule.code, lane, locked.order, locked.versions):
                    return False
                if memory.times_written(rule.code, lane, locked.order) >= FIGHT:
                    memory.shun(rule.code, lane, locked.order, "fight")
                    return False
                rows = await self._written(transaction, target, rule, lane, locked, room)
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
            tally.mended += rows[0][4]
        columns = render.found_columns(target, rule)
        for row in rows[:room]:
            finding = _finding(target, check, rule, row[0], row[1], row[2], lane=lane)
            after = dict(zip(columns, row[3], strict=True))
            position = rule.rank.position if rule.rank is not None else None
            facts = {**finding.facts, "becomes": after[position]} if position is not None else finding.facts
            tally.sample.append(replace(finding, after=after, facts=facts))
        return bool(rows)

    async def _written(
        self, transaction: Transaction, target: Target, rule: Rule, lane: Lane, locked: _Locked, room: int
    ) -> Sequence[Row]:
        """Write a locked lane; as many rows as the sample has room for, each with the count of all."""
        write = self._about(
            "write with images" if room else "write",
            target,
            rule,
            lane,
            lambda: lanes.write_lane(target, rule, lane, locked.size, room),
            locked=locked.size,
            sample=max(1, room),
        )
        if not parking.must_park(target, rule):
            return await transaction.execute(write)
        top = 0
        if parking.parks_above(target, rule):
            ((top,),) = await transaction.execute(parking.highest(target, rule, lane))
            write = parking.unpark(target, rule, lane, top, room)
        parked = await transaction.execute(parking.park(target, rule, lane, locked.size, top, room))
        if not parked:
            return []
        rows = await transaction.execute(write)
        if not rows or rows[0][4] != parked[0][4]:
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

    async def _tell_set_aside(
        self, target: Target, check: str, rule: Rule, lane: Lane, sqlstate: str, tally: Tally
    ) -> None:
        """Name a few members of a lane whose write violated something."""
        room = SAMPLE - len(tally.sample)
        if room <= 0:
            return
        (rows,) = await self.session.read([lanes.faulty_rows(target, rule, lane, room)])
        for row in [] if isinstance(rows, psycopg.Error) else rows:
            finding = _finding(target, check, rule, row[0], row[2], row[3], lane=lane, rank=row[4])
            tally.sample.append(replace(finding, facts={**finding.facts, "set_aside": sqlstate}))


def _finding(
    target: Target,
    check: str,
    rule: Rule,
    key: list[str],
    image: list[str | None],
    facts: list[str | None],
    *,
    lane: Iterable[str | None],
    rank: str | None = None,
) -> Finding:
    told: dict[str, str | None] = dict(zip(rule.facts, facts, strict=True))
    told["lane"] = ",".join("NULL" if part is None else part for part in lane)
    if rank is not None:
        told["rank"] = rank
    columns = render.found_columns(target, rule)
    return Finding(
        target.environment,
        target.queue,
        check,
        rule.code,
        rule.table,
        tuple(key),
        before := dict(zip(columns, image, strict=True)),
        facts=told,
        label=label_of(target, rule, before),
    )
