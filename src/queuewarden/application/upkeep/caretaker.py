"""The caretaker of an environment: runs the tasks that are SQL, by the clock, while the lease is ours.

It works beside the guard, on connections of its own: no sweep waits for it, and the watchdog knows nothing of
it. Programs are not its business, but what their timer leaves undone it notices.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import psycopg
import structlog

from queuewarden.adapters.db.reasons import reason
from queuewarden.application.opening import open_session, open_upkeep
from queuewarden.application.upkeep.running import carry_out, wanted
from queuewarden.engine import pauses
from queuewarden.engine.upkeep import runs, sight
from queuewarden.engine.upkeep.config import PROGRAMS, SHOWN_FIRST
from queuewarden.engine.upkeep.task import Place
from queuewarden.errors import QueuewardenError

if TYPE_CHECKING:
    from datetime import datetime

    from queuewarden.adapters.db.session import Session
    from queuewarden.adapters.db.upkeep import UpkeepConnection
    from queuewarden.application.claim import Claim
    from queuewarden.application.guard import Guard
    from queuewarden.application.upkeep.running import Ran
    from queuewarden.engine.upkeep.schedule import Due
    from queuewarden.engine.upkeep.sight import Sight
    from queuewarden.engine.upkeep.task import Done, Progress
    from queuewarden.settings.configuration import EnvironmentConfig

EVERY = 15.0
"""Seconds between two looks."""

SOON = 1.0
"""Seconds until the next look, where a task is due and the guard does not know its queues yet."""

LEASE_EVERY = 1.0
"""Seconds between two looks whether the lease is still ours, while a task runs."""

TELL_EVERY = 60.0
"""Seconds between two lines about how far a task has come."""

SHUT_WITHIN = 1.0
"""Seconds that a server is given to end a statement when the daemon ends."""


class Caretaker:
    """Takes care of one environment for as long as `run` runs.

    Args:
        guard: whose environment it is.
        claim: the guard's.
        actor: who runs the tasks, in the record.

    Attributes:
        sight: what it saw last; None while it knows nothing.
    """

    def __init__(self, guard: Guard, claim: Claim, actor: str) -> None:
        self._guard = guard
        self._claim = claim
        self._actor = actor
        self._book: Session | None = None
        self._booked: EnvironmentConfig | None = None
        self._connection: UpkeepConnection | None = None
        self._woken = asyncio.Event()
        self._told: str | None = None
        self._progress_due = 0.0
        self._ending = False
        self._task: asyncio.Task[None] | None = None
        self.sight: Sight | None = None

    @property
    def connections(self) -> int:
        """Connections that it has open."""
        return int(self._book is not None) + 2 * int(self._connection is not None)

    def start(self) -> None:
        """Begin, once."""
        if self._task is None:
            name = f"upkeep {self._guard.config.name}"
            self._task = asyncio.create_task(self._run(), name=name)

    def wake(self) -> None:
        """Look at once: the configuration is another one."""
        self._woken.set()

    def shut(self) -> None:
        """End what it is at, though the server be frozen. The second call changes nothing."""
        if self._task is None or self._ending:
            return
        self._ending = True
        self._task.cancel()
        if self._connection is not None:
            asyncio.get_running_loop().call_later(SHUT_WITHIN, self._connection.shut)

    async def close(self) -> None:
        """End; takes three seconds at most."""
        self.shut()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=3 * SHUT_WITHIN)
        await self._leave()

    async def _run(self) -> None:
        while True:
            pause = EVERY
            try:
                pause = await self._look()
            except (psycopg.Error, QueuewardenError) as error:
                # That the database is down is told by its guard.
                self._tell("debug", "upkeep.unseen", reason(error))
                await self._leave()
            except Exception as error:  # noqa: BLE001 -- a mistake of ours must neither end it nor stay unseen
                self._tell("exception", "upkeep.mistake", type(error).__name__)
                await self._leave()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), pause)
            self._woken.clear()

    async def _look(self) -> float:
        """Do one thing that is due; seconds until the next look."""
        config, schema = self._guard.config, self._claim.schema
        if not config.upkeep.schedule or not schema.upkeep or not self._claim.held:
            await self._leave()
            if not config.upkeep.schedule:
                self.sight = sight.NOTHING
            elif schema.unscheduled is not None:
                self._tell("warning", "upkeep.unscheduled", schema.unscheduled)
            return EVERY
        book = await self._opened(config)
        seen = self.sight = await sight.look(book, config.name, config.upkeep)
        for one in seen.dues.values():
            if one.verdict == "first" and await self._shown(book, config, one):
                which = wanted(config.name, config.upkeep, one, self._actor)
                await runs.note(book, which, runs.FIRST)
        held = await self._paused(book, seen.known[0].now)
        if held is not None:
            self._tell("info", "upkeep.held", held)
            return EVERY
        ready = (due for due in seen.dues.values() if due.verdict != "first" and due.task not in PROGRAMS)
        if (following := next(ready, None)) is None:
            self._told = None
            return EVERY
        if not self._guard.targets:
            return SOON
        return 0.0 if await self._take(book, config, following) else EVERY

    async def _paused(self, book: Session, now: datetime) -> str | None:
        active = pauses.pauses(await book.rows(pauses.ACTIVE))
        return next((brake.why for brake in pauses.brakes(active, now)), None)

    async def _shown(self, book: Session, config: EnvironmentConfig, one: Due) -> bool:
        """Whether what a new schedule will do was shown, where it has to be."""
        if one.task not in SHOWN_FIRST:
            return True
        return bool(self._guard.targets) and await self._take(book, config, one)

    async def _take(self, book: Session, config: EnvironmentConfig, one: Due) -> bool:
        """Run a task, show what it would do, or record that its moment was missed; whether that was done."""
        which = wanted(config.name, config.upkeep, one, self._actor)
        if one.verdict == "skip":
            await runs.note(book, which, runs.MISSED)
            log = structlog.get_logger().bind(environment=config.name, task=one.task)
            log.info("upkeep.skipped", reason=runs.MISSED, moment=one.slot.isoformat())
            return True
        try:
            self._connection = await open_upkeep(config, book)
        except (psycopg.Error, QueuewardenError) as error:
            self._tell("warning", "upkeep.held", reason(error))
            return False
        try:
            if (pid := await self._connection.predecessor()) is not None:
                self._tell("info", "upkeep.held", f"server process {pid} is still at an earlier run")
                return False
            if not self._stands(config, one):
                return False  # the queues may be those of another database by now
            place = Place(
                self._connection,
                tuple(self._guard.targets),
                config.upkeep,
                ledger=True,
                tell=lambda progress: self._progress(config.name, one, progress),
                dry_run=one.verdict == "first" or config.limits.mode == "observe",
                unread=config.unread(one.queue for one in self._guard.targets),
            )

            async def work() -> Done:
                # Memory of a daemon that runs none is spared.
                from queuewarden.engine.upkeep.tasks import TASKS

                return await TASKS[one.task].run(place)

            record = book if one.verdict == "run" else None
            run = asyncio.create_task(carry_out(record, which, work, config.upkeep.timeout, place.did))
            return await self._attended(run, config, one)
        finally:
            connection, self._connection = self._connection, None
            await connection.close()

    async def _attended(self, run: asyncio.Task[Ran], config: EnvironmentConfig, one: Due) -> bool:
        """Let it run while the lease is ours, and it is wanted as it was begun."""
        try:
            while not (await asyncio.wait({run}, timeout=LEASE_EVERY))[0]:
                if not self._claim.held or not self._stands(config, one):
                    break
        finally:
            if not run.done():
                run.cancel()
                await asyncio.wait({run})
        if run.cancelled():
            return False
        if (ran := run.result()).result == "skipped":
            self._tell("info", "upkeep.held", ran.summary)
            return False
        self._told = None
        return True

    def _stands(self, config: EnvironmentConfig, one: Due) -> bool:
        """No reload has switched the task off, or changed more than schedules: what may be done, to what.

        What deletes jobs ends with a pause, too, as the guard's latest sweep saw it.
        """
        if one.task in SHOWN_FIRST and any(
            brake.kind in ("pause", "maintenance") for brake in self._guard.status.brakes
        ):
            return False
        now = self._guard.config
        if now is config:
            return True
        upkeep = replace(now.upkeep, schedule=config.upkeep.schedule)
        return one.task in now.upkeep.schedule and replace(now, upkeep=upkeep) == config

    def _progress(self, environment: str, one: Due, progress: Progress) -> None:
        if time.monotonic() < self._progress_due:
            return
        self._progress_due = time.monotonic() + TELL_EVERY
        structlog.get_logger().info(
            "upkeep.progress",
            environment=environment,
            task=one.task,
            subject=progress.subject,
            phase=progress.phase,
            done=progress.done,
            total=progress.total,
        )

    async def _opened(self, config: EnvironmentConfig) -> Session:
        # After a reload the old one may lead to another database than the one that is guarded.
        if self._book is None or not self._book.usable or self._booked is not config:
            await self._leave()
            self._book, self._booked = await open_session(config), config
        return self._book

    async def _leave(self) -> None:
        """Close the connection; nothing is known then."""
        self.sight = None
        book, self._book = self._book, None
        if book is not None:
            await book.close()

    def _tell(self, level: str, event: str, reason: str) -> None:
        """Once for each change."""
        if self._told != f"{event} {reason}":
            log = structlog.get_logger().bind(environment=self._guard.config.name)
            getattr(log, level)(event, reason=reason)
        self._told = f"{event} {reason}"
