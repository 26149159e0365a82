"""The runner of lane rules: one transaction a lane, the lane whole or not at all."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import psycopg

from queuewarden.engine import lanes, render
from queuewarden.engine.runner import BREATH, SAMPLE, TRANSIENT, Tally, label_of, violates
from queuewarden.errors import BusyError
from queuewarden.model import Finding, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from queuewarden.adapters.db.session import Row, Session
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


class LaneRunner:
    """Finds and mends lanes in one environment.

    Args:
        session: the connection.
        now: the database's clock at this sweep's start.
    """

    def __init__(self, session: Session, now: datetime) -> None:
        self.session = session
        self.now = now

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
        """Write the faulty members of as many lanes as a sweep may.

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
        for lane in self._chosen(target, found, memory):
            try:
                done = await self._lane(target, check, rule, lane, memory, tally)
            except BusyError:
                tally.busy = True
                break
            except psycopg.Error as error:
                if error.sqlstate is None or not self.session.usable:
                    raise
                if error.sqlstate in TRANSIENT:
                    continue
                if not violates(error):
                    tally.error = error.sqlstate
                    break
                tally.set_aside += found[lane][0]
                memory.shun(rule.code, lane, error.sqlstate)
                continue
            left -= found[lane][0] if done else 0
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

    def _chosen(
        self, target: Target, found: Mapping[Lane, tuple[int, int]], memory: Memory
    ) -> Iterable[Lane]:
        """Lanes for this sweep: short ones up to the row limit, else one long one, at most once an hour."""
        room = target.limits.position_rows
        chosen: list[Lane] = []
        for lane, (_, size) in found.items():
            if size <= room:
                room -= size
                chosen.append(lane)
            elif size > target.limits.position_rows and not chosen:
                last = memory.alone.get(lane)
                if last is None or self.now - last >= ALONE_EVERY:
                    memory.alone[lane] = self.now
                    return [lane]
        return chosen

    async def _lane(
        self, target: Target, check: str, rule: Rule, lane: Lane, memory: Memory, tally: Tally
    ) -> bool:
        """One lane; False where a member is locked elsewhere, or the lane is a fight."""
        before: dict[tuple[str, ...], Row] = {}
        async with self.session.transaction() as transaction:
            ((locked, digest),) = await transaction.execute(lanes.lock_lane(target, rule, lane))
            times = memory.note_lane(rule.code, lane, digest)
            if memory.shunned.get((rule.code, lane), ("", ""))[0] == digest:
                return False
            if times > FIGHT:
                memory.shun(rule.code, lane, "fight")
                return False
            if lanes.must_park(target, rule):
                parked = await transaction.execute(lanes.park(target, rule, lane, locked))
                before = {tuple(row[0]): row for row in parked}
            rows = await transaction.execute(
                lanes.write_lane(target, rule, lane, locked, images=tally.wants_images)
            )
        tally.mended += len(rows)
        for row in rows[: SAMPLE - len(tally.sample)]:
            first = before.get(tuple(row[0]), row)
            finding = _finding(target, check, rule, row[0], first[1], first[2], lane=lane)
            columns = render.image_columns(target, "jobs", tuple(rule.write.values) if rule.write else ())
            tally.sample.append(replace(finding, after=dict(zip(columns, row[3], strict=True))))
        return bool(rows)


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
