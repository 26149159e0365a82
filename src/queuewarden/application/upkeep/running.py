"""One run of a task: begun where none is under way, kept alive, ended whatever happens, recorded and told."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import psycopg
import structlog

from queuewarden.adapters.db.reasons import reason
from queuewarden.engine.upkeep import runs
from queuewarden.engine.upkeep.schedule import spelled
from queuewarden.errors import QueuewardenError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence
    from datetime import timedelta

    from queuewarden.adapters.db.session import Session
    from queuewarden.engine.upkeep.config import TaskName, Upkeep
    from queuewarden.engine.upkeep.runs import Result, Wanted
    from queuewarden.engine.upkeep.schedule import Due
    from queuewarden.engine.upkeep.task import Done, Step

RECORD_WITHIN = 1.0
"""Seconds for recording that a run was ended from outside, whatever the database does."""

STEPS_TOLD = 20
"""Steps that a log line names."""


@dataclass(frozen=True, slots=True)
class Ran:
    """How a run went.

    Attributes:
        result: ``skipped`` where it was not begun; the summary says why, which is told by whoever wanted it.
    """

    task: TaskName
    result: Result
    summary: str
    did: tuple[Step, ...] = ()
    seconds: float = 0.0


def wanted(environment: str, upkeep: Upkeep, due: Due, actor: str) -> Wanted:
    """The run that a schedule wants."""
    return runs.Wanted(environment, due.task, actor, due.slot, spelled(upkeep, due.task))


async def carry_out(
    book: Session | None,
    which: Wanted,
    work: Callable[[], Awaitable[Done]],
    longest: timedelta,
    did: Sequence[Step] = (),
) -> Ran:
    """Run a task.

    Args:
        book: a session for the record alone, which `work` must not use; None: nothing can be recorded.
        which: the run.
        work: does it. When it is cancelled it returns, whatever its database does.
        longest: that it may take.
        did: where `work` notes what it did so far, to be told though it is ended before it is done.

    Raises:
        psycopg.Error, QueuewardenError: it could not be begun.
        asyncio.CancelledError: it was cancelled, and is recorded as killed, if that goes at once.
    """
    log = structlog.get_logger().bind(environment=which.environment, task=which.task)
    if which.slot is None:
        log = log.bind(by=which.actor)
    begun_as = await runs.begin(book, which) if book is not None else None
    if isinstance(begun_as, runs.Refusal):
        return Ran(which.task, "skipped", begun_as.why)
    log.debug("upkeep.started", trigger="hand" if which.slot is None else "schedule")
    begun = time.monotonic()
    beats = _Beats(book, begun_as)
    try:
        ran = await _attempt(which, work, longest)
    except BaseException:
        await beats.bury(tuple(did))
        log.info("upkeep.killed", steps=_told(did))
        raise
    if not ran.did:
        ran = replace(ran, did=tuple(did))
    ran = replace(ran, seconds=time.monotonic() - begun)
    if (unrecorded := await beats.end(ran)) is not None:
        log.warning("upkeep.unrecorded", reason=unrecorded)
    tell(ran, log)
    return ran


def tell(ran: Ran, log: structlog.stdlib.BoundLogger) -> None:
    """One line of how a run went."""
    fields = {"summary": ran.summary, "seconds": round(ran.seconds, 2), "steps": _told(ran.did)}
    if ran.result == "failed":
        log.error("upkeep.failed", **fields)
    else:
        log.info("upkeep.done", **fields)


def _told(did: Iterable[Step]) -> list[str]:
    """Some steps, those that failed first."""
    return [
        f"{step.subject}: {step.action}{f' {step.amount}' if step.amount is not None else ''}"
        f"{f' ({step.why})' if step.why else ''}"
        for step in sorted(did, key=lambda step: step.outcome != "failed")[:STEPS_TOLD]
    ]


def summed_up(did: tuple[Step, ...]) -> str:
    """What was done, in a few words."""
    counts = {
        outcome: sum(step.outcome == outcome for step in did) for outcome in ("done", "skipped", "failed")
    }
    said = ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count) or "nothing to do"
    first = next((step for step in did if step.outcome == "failed"), None)
    return said if first is None else f"{said}; {first.subject}: {first.why}"


async def _attempt(which: Wanted, work: Callable[[], Awaitable[Done]], longest: timedelta) -> Ran:
    try:
        async with asyncio.timeout(longest.total_seconds()):
            done = await work()
    except TimeoutError:
        return Ran(which.task, "failed", f"not done within {longest}")
    except (psycopg.Error, QueuewardenError) as error:
        return Ran(which.task, "failed", reason(error))
    except Exception as error:  # a mistake of ours must not end whoever runs it, nor stay unseen
        log = structlog.get_logger().bind(environment=which.environment, task=which.task)
        log.exception("upkeep.mistake")
        return Ran(which.task, "failed", f"internal error: {type(error).__name__}")
    return Ran(which.task, "failed" if done.failed else "done", summed_up(done.did), done.did)


class _Beats:
    """Keeps a run alive in the record until it ends. Its session is used by one task at a time."""

    def __init__(self, book: Session | None, number: int | None) -> None:
        self._book = book
        self._number = number
        self._over = asyncio.Event()
        self._task = asyncio.create_task(self._run(), name="upkeep beats")

    async def end(self, ran: Ran) -> str | None:
        """Record how the run ended; why that cannot be done, if so: it will be taken for killed."""
        return await self._end(ran.result, ran.summary, ran.did)

    async def _end(self, result: Result, summary: str, did: tuple[Step, ...] = ()) -> str | None:
        self._over.set()
        await self._task
        if self._book is None or self._number is None:
            return None
        try:
            await runs.end(self._book, self._number, result, summary, did)
        except (psycopg.Error, QueuewardenError) as error:
            return reason(error)
        return None

    async def bury(self, did: tuple[Step, ...]) -> None:
        """Record that the run was ended from outside, though the database be frozen."""
        if self._book is None:
            return
        timer = asyncio.get_running_loop().call_later(RECORD_WITHIN, self._book.shut)
        await self._end("killed", "ended before it was done", did)
        timer.cancel()

    async def _run(self) -> None:
        while self._book is not None and self._number is not None and not self._over.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), runs.BEAT)
                return
            # What fails is tried again at the next beat.
            with contextlib.suppress(psycopg.Error, QueuewardenError):
                await runs.beat(self._book, self._number)
