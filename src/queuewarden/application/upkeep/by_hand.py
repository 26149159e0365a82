"""Upkeep that a person, or a timer, wants: one task of one environment, or whatever is due there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import structlog

from queuewarden.application.by_hand import caller
from queuewarden.application.opening import open_session, open_upkeep
from queuewarden.application.upkeep.programs import PROGRAMS, Workshop
from queuewarden.application.upkeep.running import Ran, carry_out, wanted
from queuewarden.engine import lease, observe, pauses
from queuewarden.engine.upkeep import runs, sight, tasks
from queuewarden.engine.upkeep.config import SHOWN_FIRST
from queuewarden.engine.upkeep.task import Place as TaskPlace
from queuewarden.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from queuewarden.adapters.db.session import Session
    from queuewarden.application.by_hand import Place
    from queuewarden.engine.upkeep.config import TaskName
    from queuewarden.engine.upkeep.runs import Wanted
    from queuewarden.engine.upkeep.task import Done, Progress, Step
    from queuewarden.settings.configuration import Configuration


@dataclass(frozen=True, slots=True)
class Errand:
    """What somebody wants.

    Attributes:
        tell: called now and then with how far a task has come.
        consent: see `engine.upkeep.task.Place`.
    """

    configuration: Configuration
    tell: Callable[[Progress], None]
    dry_run: bool = False
    consent: bool = False


async def run_task(place: Place, task: TaskName, errand: Errand) -> list[Ran]:
    """Run one task now. Where there is no ledger it is not recorded, and a dry run never is.

    What deletes jobs only shows which, unless somebody has agreed.

    Raises:
        UnavailableError, psycopg.Error: the database failed before anything was done.
    """
    await place.server()
    if task in SHOWN_FIRST and not errand.consent:
        errand = replace(errand, dry_run=True)
    which = runs.Wanted(place.config.name, task, caller())
    if errand.dry_run or not place.schema.upkeep:
        return [await _run(place, None, which, errand)]
    book: Session = await open_session(place.config)
    try:
        return [await _run(place, book, which, errand)]
    finally:
        await book.close()


async def run_due(place: Place, errand: Errand) -> list[Ran]:
    """Run what is due by the clock, one after the other.

    Tasks that are SQL are left to the daemon while one has the lease. While a pause or a maintenance window
    holds nothing is run: it stays due.

    Raises:
        UnavailableError: runs cannot be recorded here, so that nobody knows what is due.
        psycopg.Error: the database failed.
    """
    config = place.config
    await place.server()
    if not config.upkeep.schedule:
        return []
    if not place.schema.upkeep:
        raise UnavailableError(unrecorded(place))
    if await _held(config.name, place.session):
        return []
    book: Session = await open_session(config)
    try:
        return await _run_due(place, book, errand)
    finally:
        await book.close()


def unrecorded(place: Place) -> str:
    """Why runs cannot be recorded, with the remedy."""
    schema = place.schema
    if why := schema.faults[0] if schema.faults else schema.unscheduled:
        return why
    there = "its schema is too old for upkeep" if schema.version else "no ledger there"
    return f"{there}: run `queuewarden install --env {place.config.name}`"


async def _run_due(place: Place, book: Session, errand: Errand) -> list[Ran]:
    config, ran = place.config, list[Ran]()
    seen = await sight.look(book, config.name, config.upkeep)
    for due in seen.dues.values():
        which = wanted(config.name, config.upkeep, due, caller())
        # Looked up each time: the task before may have taken hours.
        if due.task in tasks.TASKS and (await lease.look(book)).holder is not None:
            continue
        if due.verdict == "first":
            if due.task in SHOWN_FIRST:
                ran.append(await _run(place, None, which, replace(errand, dry_run=True)))
            await runs.note(book, which, runs.FIRST)
        elif due.verdict == "skip":
            await runs.note(book, which, runs.MISSED)
            ran.append(Ran(due.task, "skipped", runs.MISSED))
        elif await _held(config.name, book):
            break
        else:
            ran.append(await _run(place, book, which, errand))
    return ran


async def _held(environment: str, session: Session) -> bool:
    """Whether a pause or a window holds, which is told."""
    server = observe.server_state((await session.rows(observe.SERVER))[0])
    held = pauses.brakes(pauses.pauses(await session.rows(pauses.ACTIVE)), server.now)
    if held:
        structlog.get_logger().info("upkeep.held", environment=environment, reason=held[0].why)
    return bool(held)


async def _run(place: Place, book: Session | None, which: Wanted, errand: Errand) -> Ran:
    work = _program if which.task in PROGRAMS else _sql
    did: list[Step] = []
    longest = place.config.upkeep.timeout
    ran = await carry_out(book, which, lambda: work(place, which, errand, did), longest, did)
    if ran.result == "skipped":
        log = structlog.get_logger().bind(environment=which.environment, task=which.task)
        log.info("upkeep.skipped", by=which.actor, reason=ran.summary)
    return ran


async def _program(place: Place, which: Wanted, errand: Errand, _: list[Step]) -> Done:
    shop = Workshop(
        errand.configuration, place.config, place.session, tuple(place.targets), errand.tell, errand.dry_run
    )
    return await PROGRAMS[which.task](shop)


async def _sql(place: Place, which: Wanted, errand: Errand, did: list[Step]) -> Done:
    connection = await open_upkeep(place.config, place.session)
    try:
        return await tasks.TASKS[which.task].run(
            TaskPlace(
                connection,
                tuple(place.targets),
                place.config.upkeep,
                ledger=place.schema.usable,
                tell=errand.tell,
                consent=errand.consent,
                dry_run=errand.dry_run or place.config.limits.mode == "observe",
                unread=place.config.unread(one.queue for one in place.targets),
                did=did,
            )
        )
    finally:
        await connection.close()
