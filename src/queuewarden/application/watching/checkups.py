"""Checkups: the health of each environment's database, looked at now and then while somebody watches.

Each is a task of its own on a connection of its own: no sweep waits for one, and none touches a sweep.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import psycopg
import structlog

from queuewarden.application.jitter import jittered
from queuewarden.errors import QueuewardenError

if TYPE_CHECKING:
    from collections.abc import Callable

    from queuewarden.adapters.db.session import Session
    from queuewarden.application.guard import Guard
    from queuewarden.engine.upkeep.health.signs import Health

EVERY = 300.0
"""Seconds between two looks at one database, at least."""

REST = 4.0
"""Behind each look none begins for so many times as long as it took: one server may have all the databases,
and this daemon has other things to do."""

PATIENCE = 5.0
"""Seconds, rest included, behind which the next one may begin beside a look that is not over: a slow database
must not keep us from all the others."""


class Checkups:
    """Those of one daemon.

    Args:
        told: called with what each look found.
    """

    def __init__(self, told: Callable[[Guard, Health], None]) -> None:
        self._told = told
        self._due: dict[str, float] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._sessions: dict[str, Session] = {}
        self._turn = asyncio.Lock()
        self._whose: str | None = None
        self._log = structlog.get_logger()

    def swept(self, guard: Guard) -> None:
        """An environment was swept, so that its database answers: look at it, if that is due."""
        name, now = guard.config.name, time.monotonic()
        if self._due.get(name, 0.0) > now or name in self._tasks:
            return
        self._due[name] = now + jittered(EVERY, 1.0, 1.1)
        task = self._tasks[name] = asyncio.create_task(self._look(guard), name=f"checkup {name}")
        task.add_done_callback(lambda _: self._tasks.pop(name, None))

    async def close(self) -> None:
        """End at once, whatever a database does."""
        tasks = list(self._tasks.values())
        for session in self._sessions.values():
            session.shut()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _look(self, guard: Guard) -> None:
        """Whatever fails here ends here: that a database is down, its guard tells."""
        from queuewarden.application.upkeep.checkup import checkup

        name = guard.config.name
        await self._turn.acquire()
        self._whose = name
        late = asyncio.get_running_loop().call_later(PATIENCE, self._pass_on, name)
        try:
            health = await checkup(
                guard.config, guard.targets, lambda session: self._sessions.update({name: session})
            )
            self._told(guard, health)
            await asyncio.sleep(REST * health.seconds)
        except (psycopg.Error, QueuewardenError) as error:
            self._log.debug("checkup.failed", environment=name, reason=type(error).__name__)
        except Exception:  # noqa: BLE001 -- a mistake of ours must not end the daemon, nor stay unseen
            self._log.exception("checkup.failed", environment=name)
        finally:
            late.cancel()
            self._pass_on(name)
            self._sessions.pop(name, None)

    def _pass_on(self, name: str) -> None:
        """Let the next one begin, if it is still this one's turn."""
        if self._whose == name:
            self._whose = None
            self._turn.release()
