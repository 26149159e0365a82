"""What `reset` and `retry` share: rules that a person asks for, through the same guarded write."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING

import psycopg

from queuewarden.adapters.db.reasons import reason
from queuewarden.application.sweeps import LISTED, Swept, swept
from queuewarden.checks import by_hand
from queuewarden.engine import render
from queuewarden.engine.memory import Memory
from queuewarden.engine.report import QueueReport, SweepReport
from queuewarden.engine.runner import Runner
from queuewarden.errors import QueuewardenError
from queuewarden.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from queuewarden.application.by_hand import Place, Visit
    from queuewarden.model import Rule
    from queuewarden.queues.target import Target

MOST = 10_000_000
"""A dry run counts up to here."""


def unhindered(visits: Sequence[Visit[Swept]]) -> bool:
    """Every environment was reached, and every queue in it fits: what was impossible is so by its mapping."""
    return all(one.result is not None and not any(one.result.faults.values()) for one in visits)


async def act(place: Place, rules_of: Callable[[Target], Awaitable[tuple[Rule, ...]]], *, dry: bool) -> Swept:
    """Apply rules to all queues of a place.

    Args:
        place: the environment.
        rules_of: the rules for one queue.
        dry: only list what would be written.

    Raises:
        UnavailableError, psycopg.Error: the database failed.
    """
    begun, server = time.monotonic(), await place.server()
    sweep, standing = uuid.uuid4().hex[:8], place.standing
    stay = standing.stays(server)
    runner = Runner(place.session, server.now, book=standing.book(sweep))
    queues: list[QueueReport] = []
    broken = None
    try:
        for target in place.targets:
            rules = await rules_of(target)
            outcomes = [await _apply(runner, target, rule, stay, dry=dry) for rule in rules]
            shown = tuple(one for one in outcomes if one.found or one.error)
            queues.append(QueueReport(target.queue, None, shown, target.hold))
    except (QueuewardenError, psycopg.Error) as error:
        if not queues:
            raise
        broken = reason(error)
    report = SweepReport(
        place.config.name,
        sweep,
        server,
        tuple(queues),
        (),
        (),
        time.monotonic() - begun,
        place.session.round_trips,
    )
    return swept(place, report, broken=broken)


async def _apply(runner: Runner, target: Target, rule: Rule, stay: str | None, *, dry: bool) -> Outcome:
    memory = Memory()
    held = "hold" if target.hold is not None else "observe" if target.limits.mode == "observe" else stay
    if rule.write is None:
        held = held or "unwritable"
    if held is None and not dry:
        return await runner.mend(target, by_hand.NAME, rule, memory)
    ((count,),) = await runner.session.rows(render.probe(target, [rule], MOST, memory.aside))
    return Outcome(
        target.environment,
        target.queue,
        by_hand.NAME,
        rule.code,
        rule.event,
        reason=rule.reason,
        found=count,
        skipped=count,
        sample=tuple(await runner.findings(target, by_hand.NAME, rule, memory, LISTED)) if count else (),
        held=held,
    )
