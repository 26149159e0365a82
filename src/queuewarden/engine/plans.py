"""Plans: what a dry run listed is applied later, exactly that, and only to rows that are as they were.

Beside the rows' images the rule's own condition is repeated under the lock: a worker that has beaten since
keeps its jobs, though their rows have not changed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from queuewarden.checks import CHECKS
from queuewarden.engine import lanes, parking, render, replay
from queuewarden.engine.ledger.alone import left_alone
from queuewarden.engine.ledger.book import Book, entry_of
from queuewarden.engine.pile import Guard, Pile, Step
from queuewarden.engine.violations import TRANSIENT, violates
from queuewarden.errors import BusyError
from queuewarden.model import Outcome
from queuewarden.queues.sqltext import every, negate
from queuewarden.queues.terms import ALIAS, owns, relation, shape
from queuewarden.writes import Call

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from psycopg.sql import Composable

    from queuewarden.adapters.db.session import Session
    from queuewarden.adapters.db.transaction import Transaction
    from queuewarden.engine.runner import Confirm
    from queuewarden.model import Finding, Rule
    from queuewarden.queues.target import Target

CHANGED = "it has changed since the plan was made"
HELD = "it is not at fault any more, or somebody holds it locked"
LANE = "its lane has changed since the plan was made"
CALLED = "its library has a part in this change, which no plan can promise: use `queuewarden repair`"
GONE = "no check of this queue finds such rows any more"

_UNBOOKED = Book("", "")


class _NotThatError(Exception):
    """What was begun is not what was planned: it is rolled back."""


@dataclass(frozen=True, slots=True)
class Applied:
    """One planned row: put, or refused and why."""

    finding: Finding
    refused: str | None = None


class Planner:
    """Applies the findings of a plan to one queue.

    Args:
        session: the connection.
        target: the queue as it is now, prepared for a sweep.
        book: records the changes; None where there is no ledger.
        held: why a rule must not write now, if it must not.
        confirm: see `runner.Confirm`.
    """

    def __init__(
        self,
        session: Session,
        target: Target,
        book: Book | None,
        held: Callable[[Rule], str | None],
        confirm: Confirm | None = None,
    ) -> None:
        self._session = session
        self._target = target
        self._book = book
        self._held = held
        self._confirm = confirm

    async def apply(self, planned: Sequence[Finding]) -> list[Outcome]:
        """Apply them, lanes first, since a job that is released joins its lane; an outcome for each rule.

        Raises:
            psycopg.OperationalError, QueuewardenError: the connection was lost.
        """
        rules = {
            (check.name, rule.code): rule
            for check in CHECKS.values()
            for rule in check.rules(self._target)
            if rule.write is not None
        }
        outcomes = []
        of_lanes = [one for one in planned if _is_laned(rules.get((one.check, one.code)))]
        others = [one for one in planned if not _is_laned(rules.get((one.check, one.code)))]
        for (check, code), group in groupby([*of_lanes, *others], key=lambda one: (one.check, one.code)):
            outcomes.append(await self._outcome(rules.get((check, code)), check, code, list(group)))
        return outcomes

    async def _outcome(self, rule: Rule | None, check: str, code: str, planned: list[Finding]) -> Outcome:
        held = error = None
        if rule is None:
            applied = [Applied(one, GONE) for one in planned]
        elif isinstance(rule.write, Call) or (rule.write is not None and rule.write.beside is not None):
            applied = [Applied(one, CALLED) for one in planned]
        elif (held := self._held(rule)) is not None:
            applied = [Applied(one) for one in planned]
        else:
            try:
                applied = await self._apply(rule, check, planned)
            except BusyError:
                held, applied = "busy", [Applied(one) for one in planned]
            except psycopg.Error as failure:
                if failure.sqlstate is None or not self._session.usable:
                    raise
                error, applied = (
                    failure.sqlstate,
                    [Applied(one, f"SQLSTATE {failure.sqlstate}") for one in planned],
                )
        done = [one.finding for one in applied if one.refused is None and held is None]
        left = [
            replace(one.finding, after=None, facts={**one.finding.facts, "refused": one.refused})
            for one in applied
            if one.refused is not None or held is not None
        ]
        return Outcome(
            self._target.environment,
            self._target.queue,
            check,
            code,
            rule.event if rule is not None else "",
            reason=rule.reason if rule is not None else check,
            found=len(planned),
            mended=len(done),
            skipped=len(left),
            sample=(*done, *left),
            error=error,
            held=held,
        )

    async def _apply(self, rule: Rule, check: str, planned: list[Finding]) -> list[Applied]:
        if rule.rank is not None:
            columns = rule.rank.lane
            by_lane: dict[lanes.Lane, list[Finding]] = {}
            for one in planned:
                by_lane.setdefault(tuple(one.before.get(name) for name in columns), []).append(one)
            return [
                one
                for lane, members in by_lane.items()
                for one in await self._lane(rule, check, lane, members)
            ]
        size = self._target.limits.batch
        batches = [planned[at : at + size] for at in range(0, len(planned), size)]
        return [one for batch in batches for one in await self._rows(rule, check, batch)]

    async def _rows(self, rule: Rule, check: str, planned: list[Finding]) -> list[Applied]:
        pile = self._pile(rule, check, planned)
        if pile is None:
            return [Applied(one, CHANGED) for one in planned]
        try:
            done = await self._put(rule, pile)
        except psycopg.Error as error:
            if not violates(error) and error.sqlstate not in TRANSIENT:
                raise
            if len(planned) > 1 and violates(error):
                middle = len(planned) // 2
                halves = (planned[:middle], planned[middle:])
                return [one for half in halves for one in await self._rows(rule, check, half)]
            return [
                Applied(one, f"refused by the database with SQLSTATE {error.sqlstate}") for one in planned
            ]
        told = await replay.reasons(self._session, pile, HELD) if len(done) < len(planned) else {}
        return [Applied(one, None if at in done else told.get(at, HELD)) for at, one in enumerate(planned)]

    async def _put(self, rule: Rule, pile: Pile) -> set[int]:
        target = self._target
        async with self._session.transaction(role_path=pile.shape.role_path) as transaction:
            if rule.absent is not None or rule.cleared is not None:
                # Where absence decides, the row is locked first and the condition looked at anew.
                keys = [step.key for step in pile.steps]
                await transaction.execute(render.lock(target, rule, render.Scope(len(keys), only=keys)))
            rows = await replay.put(transaction, replace(pile, guard=self._guard(rule)))
            if self._confirm is not None and target.fleet is not None and rows:
                at = pile.entry.columns.index(str(target.mapping.jobs.worker))
                named = {pile.steps[row[0]].expect[at] for row in rows} - {None, *target.fleet.live}
                if not await self._confirm(target, {name for name in named if name is not None}):
                    raise BusyError("a worker beat again before the commit")
        return {row[0] for row in rows}

    async def _lane(self, rule: Rule, check: str, lane: lanes.Lane, planned: list[Finding]) -> list[Applied]:
        """A lane whole or not at all: numbering around what has changed would leave gaps and doubles."""
        target, pile = self._target, self._pile(rule, check, planned)
        if pile is None:
            return [Applied(one, CHANGED) for one in planned]
        try:
            async with self._session.transaction(role_path=target.jobs.role_path) as transaction:
                await self._put_lane(transaction, rule, lane, pile)
        except _NotThatError:
            return [Applied(one, LANE) for one in planned]
        except psycopg.Error as error:
            if not violates(error) and error.sqlstate not in TRANSIENT:
                raise
            return [
                Applied(one, f"refused by the database with SQLSTATE {error.sqlstate}") for one in planned
            ]
        return [Applied(one) for one in planned]

    async def _put_lane(self, transaction: Transaction, rule: Rule, lane: lanes.Lane, pile: Pile) -> None:
        target = self._target
        await transaction.execute(lanes.lock_lane(target, rule, lane))
        guarded = replace(pile, guard=Guard(rule.where))
        rows = await replay.put(transaction, guarded, parked=parking.must_park(target, rule))
        if len(rows) < len(pile.steps):
            raise _NotThatError
        if await transaction.execute(lanes.faulty_lanes(target, rule, 1, lane)):
            raise _NotThatError

    def _pile(self, rule: Rule, check: str, planned: Sequence[Finding]) -> Pile | None:
        """The rows as steps; None where the mapping has other columns by now."""
        entry = entry_of(self._target, check, rule, self._book or _UNBOOKED)
        if entry is None or any(
            one.after is None or set(one.before) != set(entry.columns) or set(one.after) != set(entry.columns)
            for one in planned
        ):
            return None
        steps = [
            Step(
                one.key,
                tuple(one.before[name] for name in entry.columns),
                tuple((one.after or {})[name] for name in entry.columns),
            )
            for one in planned
        ]
        return Pile(shape(self._target, rule.table), entry, steps, booked=self._book is not None)

    def _guard(self, rule: Rule) -> Guard:
        target = self._target
        parts: list[Composable] = [rule.where]
        parts += [one for one in (rule.absent, rule.cleared) if one is not None]
        alone = left_alone(target, rule.table)
        if alone is not None:
            parts.append(negate(alone))
        if not rule.with_worker:
            return Guard(every(parts), alias=ALIAS[rule.table])
        join = sql.SQL(" JOIN {} AS w ON {}").format(relation(shape(target, "workers")), owns(target))
        return Guard(every(parts), join, ("w",), ALIAS[rule.table])


def _is_laned(rule: Rule | None) -> bool:
    return rule is not None and rule.rank is not None


def _refused(one: Finding, error: psycopg.Error) -> Applied:
    return Applied(one, f"refused by the database with SQLSTATE {error.sqlstate}")
