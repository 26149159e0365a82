"""The runner: does for every rule what is the same for every rule.

It batches, skips what is locked, repeats the condition under the lock, bisects a batch that violates
something, sets the row at fault aside, and reports what was changed, never what was meant.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import psycopg

from queuewarden.engine import guarded, render
from queuewarden.engine.batch import Batch
from queuewarden.engine.ledger.book import entry_of
from queuewarden.engine.render import Scope
from queuewarden.engine.violations import LOCKED, TIMEOUT, TRANSIENT, violates
from queuewarden.engine.work import Work, finding
from queuewarden.errors import BusyError
from queuewarden.queues.terms import shape
from queuewarden.writes import Call

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from queuewarden.adapters.db.session import Row, Session
    from queuewarden.adapters.db.transaction import Transaction
    from queuewarden.engine.ledger.book import Book, Entry
    from queuewarden.engine.memory import Memory
    from queuewarden.model import Finding, Key, Outcome, Rule
    from queuewarden.queues.target import Target

BREATH = 0.001
"""Seconds between batches, outside any transaction: long enough to let waiting writers in."""

AHEAD, LISTED = 50, 100_000
"""One look lists the rows of so many batches, and so many rows, which take about 15 MB, at most."""

HOLD = 0.05
"""Seconds after which a transaction takes no further batch: half of what we ourselves wait for a lock."""

WAITS = 30
"""Lock timeouts that one rule may meet in one sweep: three rows at fault in three full batches, or 3 s."""

Confirm = Callable[["Target", "Collection[str]"], Awaitable[bool]]
"""Asked for the workers of the rows just before each commit; False: what was decided on no longer holds."""


class Runner:
    """Finds and mends in one environment.

    Args:
        session: the connection.
        now: the database's clock at this sweep's start.
        confirm: see `Confirm`; needed where workers register in another database.
        book: records what is changed in the ledger; None where there is none.
    """

    def __init__(
        self,
        session: Session,
        now: datetime,
        confirm: Confirm | None = None,
        book: Book | None = None,
    ) -> None:
        self.session = session
        self.now = now
        self._confirm = confirm
        self._book = book

    async def findings(
        self, target: Target, check: str, rule: Rule, memory: Memory, limit: int, *, intend: bool = False
    ) -> list[Finding]:
        """List rows at fault, read-only, in the order of work; with ``intend`` also what they become."""
        listed: list[Finding] = []
        scope = await self._scope(target, rule, memory)
        while scope is not None and len(listed) < limit:
            limited = min(target.limits.batch, limit - len(listed))
            scope = replace(scope, limit=limited, intended=intend)
            rows = await self.session.rows(render.find(target, rule, scope))
            listed += [finding(target, check, rule, *_parts(row), row[5]) for row in rows]
            if len(rows) < scope.limit:
                break
            scope = replace(scope, after=tuple(rows[-1][1]))
        return listed

    async def mend(self, target: Target, check: str, rule: Rule, memory: Memory) -> Outcome:
        """Repair the rows of one rule, batch by batch."""
        work = Work(target, check, rule, memory)
        scope = await self._scope(target, rule, memory)
        left: list[Row] = []
        if scope is not None:
            try:
                await self._batches(work, scope)
            except BusyError as error:
                work.wait(error)
            except psycopg.Error as error:
                if error.sqlstate is None or not self.session.usable:
                    raise
                if error.sqlstate not in TRANSIENT:
                    work.fail(error)
            memory.pace(rule.code, target.limits.batch, slow=work.error == TIMEOUT)
            if work.error is None:
                rest = replace(
                    scope,
                    limit=target.limits.batch,
                    images=True,
                    sample=work.room,
                    aside=memory.aside[rule.table],
                )
                left = await self.session.rows(render.find(target, rule, rest))
        if work.held is None:
            keys = [_key(row) for row in left]
            memory.note_skips(rule.table, keys, [row.key for row in work.sample] + keys)
        return work.outcome(
            found=work.mended + len(left) + work.set_aside,
            skipped=len(left),
            left=[work.finding(*_parts(row)) for row in left[: work.room]],
        )

    async def _scope(self, target: Target, rule: Rule, memory: Memory) -> Scope | None:
        """Which rows are up for repair; None where the rule's patience lets none be touched yet."""
        aside = memory.aside[rule.table]
        scope = Scope(memory.batches.get(rule.code, target.limits.batch), aside=aside)
        if rule.patience is None:
            return scope
        rows = await self.session.rows(render.find(target, rule, replace(scope, images=False)))
        ripe = memory.ripe(rule.code, {_key(row): row[4] for row in rows}, rule.patience, self.now)
        return replace(scope, unchanged=ripe) if ripe else None

    async def _batches(self, work: Work, scope: Scope) -> None:
        """One batch; where it is full, the rows of many more are listed, lest each looks for its own rows."""
        taken, place = await self._alone(work, scope)
        wide = max(scope.limit, min(scope.limit * AHEAD, LISTED))
        while place and taken >= scope.limit:
            await asyncio.sleep(BREATH)
            ahead = render.ahead(work.target, work.rule, replace(scope, limit=wide, after=place))
            (row,) = await self.session.rows(ahead)
            width = len(render.listed_by(work.target, work.rule))
            rows = list(zip(*row[:width], strict=True)) if row[0] is not None else []
            await self._listed(work, scope, rows)
            if len(rows) < wide:
                return
            taken, place = scope.limit, tuple(row[width:])

    async def _listed(self, work: Work, scope: Scope, rows: Sequence[tuple[str, ...]]) -> None:
        """Batches of listed rows, several in one transaction as long as that is short."""
        size = scope.limit
        batches = [replace(scope, listed=rows[at : at + size]) for at in range(0, len(rows), size)]
        while batches:
            tried: list[Batch] = []
            try:
                await self._transaction(work, batches, tried)
                taken = len(tried)
            except psycopg.Error as error:
                if not _divides(error, work):
                    raise
                # One of those that were tried: each of them by itself, lest they be tried again and again.
                taken = len(tried) + 1
                for one in batches[:taken]:
                    await self._alone(work, one)
                    await asyncio.sleep(BREATH)
            batches = batches[taken:]
            await asyncio.sleep(BREATH)

    async def _alone(self, work: Work, scope: Scope) -> tuple[int, tuple[str, ...]]:
        """A batch in a transaction of its own, or in parts: how many rows it took, the place of the last."""
        try:
            (batch,) = await self._transaction(work, [scope], [])
        except psycopg.Error as error:
            if not _divides(error, work):
                raise
            found = await self.session.rows(render.find(work.target, work.rule, scope))
            await self._bisect(work, replace(scope, after=()), found)
            return len(found), tuple(found[-1][1]) if found else ()
        return batch.taken, batch.place

    async def _transaction(self, work: Work, scopes: Sequence[Scope], done: list[Batch]) -> list[Batch]:
        """Batches in one transaction, which holds rows for `HOLD` and one statement at most.

        ``done`` takes in what was written, though it may not have been committed in the end.
        """
        path = shape(work.target, work.rule.table).role_path
        async with self.session.transaction(role_path=path) as transaction:
            begun = time.monotonic()
            for scope in scopes:
                done.append(await self._write(transaction, work, scope))
                if time.monotonic() - begun > HOLD:
                    break
            await self._confirmed(work, done)
        for batch in done:
            self._note(work, batch)
        return done

    async def _confirmed(self, work: Work, done: Sequence[Batch]) -> None:
        """Ask for the workers of all that was written, last of all: each later statement may have taken long.

        Raises:
            BusyError: one of them beat again.
        """
        fleet = work.target.fleet
        if self._confirm is None or not any(batch.mended for batch in done):
            return
        named = set[str]().union(*(batch.workers() for batch in done if batch.mended))
        if not await self._confirm(work.target, named - set(fleet.live if fleet is not None else ())):
            raise BusyError("a worker beat again before the commit: the next sweep looks anew")

    async def _write(self, transaction: Transaction, work: Work, scope: Scope) -> Batch:
        """One batch. Where absence decides, the write is the second statement."""
        target, rule = work.target, work.rule
        locked: list[Row] | None = None
        scope = replace(scope, images=work.room > 0, sample=work.room)
        entry = entry_of(target, work.check, rule, self._book)
        if rule.absent is not None or rule.cleared is not None:
            locked = await transaction.execute(render.lock(target, rule, scope))
            if not locked:
                return Batch()
            scope = replace(scope, only=[_key(row) for row in locked])
        if isinstance(rule.write, Call):
            batch = await self._call(transaction, work, scope, entry)
        elif scope.images:
            rows = await transaction.execute(guarded.write(target, rule, scope, entry))
            batch = Batch.of_rows(rule, rows)
        else:
            facts = guarded.lean_facts(rule) if entry is None or target.fleet is not None else ()
            lean = guarded.write_lean(target, rule, scope, entry, facts=facts, keys=entry is None)
            (row,) = await transaction.execute(lean)
            batch = Batch.of_arrays(row, facts)
        return batch if locked is None else replace(batch, taken=len(locked), place=tuple(locked[-1][1]))

    async def _call(self, transaction: Transaction, work: Work, scope: Scope, entry: Entry | None) -> Batch:
        """A batch that the library's own function changes, one row after the other."""
        target, rule = work.target, work.rule
        rows = await transaction.execute(guarded.call(target, rule, scope, entry))
        if not rows:
            return Batch()
        keys, ids = [_key(row) for row in rows], (rows[0][5], rows[0][6])
        after = await transaction.execute(guarded.called(target, rule, scope, entry, keys, ids))
        images = {_key(row): row[1] for row in after if row[2]}
        if len(images) < len(keys) or (entry is not None and after[0][3] != len(keys)):
            # Raised as the server would, so that the batch is halved until the row stands alone.
            raise psycopg.errors.RaiseException("the library's own function left a job as it was")
        return Batch.of_rows(rule, [(*row[:5], images[_key(row)]) for row in rows])

    async def _bisect(self, work: Work, scope: Scope, found: Sequence[Row]) -> None:
        """Halve a batch until the row at fault stands alone: set aside, or left if it only waits."""
        if not found:
            return
        try:
            await self._transaction(work, [replace(scope, only=[_key(row) for row in found])], [])
        except psycopg.Error as error:
            if not _divides(error, work):
                raise
            if len(found) > 1:
                middle = len(found) // 2
                await self._bisect(work, scope, found[:middle])
                await self._bisect(work, scope, found[middle:])
            elif error.sqlstate != LOCKED:
                _set_aside(work, found[0], error, self.now)

    def _note(self, work: Work, batch: Batch) -> None:
        """Take in what was committed."""
        rule, memory = work.rule, work.memory
        work.mended += batch.mended
        for row in batch.rows[: work.room]:
            work.sample.append(work.finding(row[0], row[3], row[4], row[5]))
        if self._book is not None:
            return  # the ledger remembers
        if rule.write is not None and rule.write.estimated:
            memory.note_estimated(batch.keys)
        if rule.event == "jobs.reset" and rule.reason != "by_hand":
            known = zip(batch.keys, batch.fact("worker"), batch.fact("started"), strict=True)
            memory.note_resets(known, self.now)


def _set_aside(work: Work, row: Row, error: psycopg.Error, now: datetime) -> None:
    work.memory.set_aside(work.rule.table, _key(row), row[4], now)
    work.set_aside += 1
    work.tell_set_aside(work.finding(*_parts(row)), error.sqlstate)


def _divides(error: psycopg.Error, work: Work) -> bool:
    """Whether a smaller batch may succeed; a lock may be on one row's key, or on the whole table."""
    if error.sqlstate != LOCKED:
        return violates(error)
    work.waits += 1
    return work.waits <= WAITS


def _key(row: Row) -> Key:
    return tuple(row[0])


def _parts(row: Row) -> tuple[Sequence[str], Sequence[str | None], Sequence[str | None]]:
    """Key, image and facts of a row of `render.find`."""
    return row[0], row[2], row[3]
