"""``retention``: what our own tables keep is bounded.

Does: forgets changes, ended alerts and runs of upkeep that are older than ``LEDGER_KEEP``, samples older than
their span is kept, and notes about rows that have changed since; a few rows at a time.

Never: anything in a table that is not ours; nor where ``LEDGER_KEEP`` is ``never``, but for samples.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

import psycopg

from queuewarden.engine.ledger import alert_book, retention
from queuewarden.engine.upkeep import runs, sample_book
from queuewarden.engine.upkeep.steps import Steps, Verb
from queuewarden.errors import BusyError, QueuewardenError

if TYPE_CHECKING:
    from queuewarden.engine.upkeep.config import TaskName
    from queuewarden.engine.upkeep.task import Done, Place
    from queuewarden.model import Table

NAME: TaskName = "retention"

PATIENCE = 5.0
"""Seconds to wait for a guard to finish its transaction, which takes far less."""

_RETRY = 0.05
_VERB = Verb("forgotten", "forget")
_NOTHING_KEPT = "schema queuewarden is not installed, or cannot be used"

_Part = Callable[[], Awaitable[int]]


async def run(place: Place) -> Done:
    """See above."""
    steps = Steps(place)
    if not place.ledger:
        steps.skip("our tables", _VERB, _NOTHING_KEPT)
        return steps.done
    if place.dry_run:
        steps.skip("our tables", _VERB, "bounded by their age, and by nothing else")
        return steps.done
    for subject, part in _parts(place).items():
        if not place.connection.usable:
            break
        await _forget(steps, subject, part)
    return steps.done


def _parts(place: Place) -> dict[str, _Part]:
    session = place.connection.session
    keeps = [target.limits.ledger_keep for target in place.targets]
    parts: dict[str, _Part] = {}
    if keeps and None not in keeps:
        keep = max(one for one in keeps if one is not None)
        parts |= {
            "changes": partial(retention.forget, session, keep),
            "alerts": partial(alert_book.forget, session, keep),
            "runs of upkeep": partial(runs.forget, session, keep),
        }
    parts["samples"] = partial(sample_book.forget, session, time.time())
    tables: tuple[Table, ...] = ("jobs", "workers")
    for target in place.targets:
        for table in tables[: 1 if target.workers is None else 2]:
            parts[f"{target.queue}: {table} left alone"] = partial(retention.tidy, session, target, table)
    return parts


async def _forget(steps: Steps, subject: str, part: _Part) -> None:
    """Until there is nothing more to forget."""
    begun, count = time.monotonic(), 0
    try:
        while forgotten := await _patiently(part):
            count += forgotten
            await asyncio.sleep(retention.BREATH)
    except (QueuewardenError, psycopg.Error) as error:
        steps.failed(subject, _VERB, error, begun)
        return
    steps.note(subject, _VERB.past, "done", amount=count, since=begun)


async def _patiently(part: _Part) -> int:
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return await part()
        except BusyError:
            if time.monotonic() > until:
                raise
        await asyncio.sleep(_RETRY)
