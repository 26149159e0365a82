"""Upkeep's own connection: statements that take no transaction block, watched by a second connection.

Here alone a session keeps settings, so that it has to be a session of the server's. Whoever waits for a lock
that our statement holds makes it end: a change of the schema that queues behind a VACUUM would stop every
writer behind it.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import psycopg

from queuewarden.adapters.db.connect import connect
from queuewarden.adapters.db.deadline import deadline, shut
from queuewarden.adapters.db.meeting import meet
from queuewarden.adapters.db.session import Session
from queuewarden.errors import GaveWayError, QueuewardenError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from psycopg import AsyncConnection
    from psycopg.sql import Composed

    from queuewarden.adapters.db.session import Row

APPLICATION = "queuewarden/upkeep"

POOLED = (
    "a pooler stands in between, which may hand the session on: name a direct connection in"
    " QUEUEWARDEN_ENV__<environment>__UPKEEP_DSN"
)
"""Why what takes no transaction block is refused."""

POLL = 0.25
"""Seconds between two looks at a statement; so much later at most it is seen that somebody waits."""

ANSWER = 5.0
"""Seconds within which the watching connection has to be answered, else the server counts as frozen."""

GRACE = 2.0
"""Seconds that a cancelled statement may take to end before the socket is shut."""

_KEPT = b"""
SELECT set_config('statement_timeout', %(longest)s, false),
       set_config('idle_in_transaction_session_timeout', '10s', false),
       set_config('search_path', 'pg_catalog, pg_temp', false),
       set_config('vacuum_cost_delay', '2ms', false),
       set_config('max_parallel_maintenance_workers', '0', false)"""
"""As slow as autovacuum, with one process: upkeep has time."""

_WITHIN = b"""
SELECT set_config('statement_timeout', %(statement)s, true), set_config('lock_timeout', %(lock)s, true),
       set_config('search_path', 'pg_catalog, pg_temp', true)"""
_LOCK_TIMEOUT = b"SELECT set_config('lock_timeout', %(milliseconds)s, false)"
_CANCEL = b"SELECT pg_cancel_backend(%(pid)s)"
_PID = b"SELECT pg_backend_pid()"

_LOOK = b"""
SELECT ARRAY(SELECT DISTINCT l.pid FROM pg_catalog.pg_locks AS l
              WHERE NOT l.granted AND l.pid <> %(pid)s AND %(pid)s = ANY(pg_blocking_pids(l.pid))),
       p.phase, p.done, p.total
  FROM (SELECT 1) AS one LEFT JOIN (
       SELECT phase, heap_blks_scanned, heap_blks_total
         FROM pg_catalog.pg_stat_progress_vacuum WHERE pid = %(pid)s
       UNION ALL
       SELECT phase, sample_blks_scanned, sample_blks_total
         FROM pg_catalog.pg_stat_progress_analyze WHERE pid = %(pid)s
       UNION ALL
       SELECT phase, CASE WHEN blocks_total > 0 THEN blocks_done ELSE tuples_done END,
              CASE WHEN blocks_total > 0 THEN blocks_total ELSE tuples_total END
         FROM pg_catalog.pg_stat_progress_create_index WHERE pid = %(pid)s
       ) AS p (phase, done, total) ON true
 LIMIT 1"""

_PREDECESSOR = b"""
SELECT a.pid FROM pg_catalog.pg_stat_activity AS a
 WHERE a.datname = current_database() AND a.application_name = %(application)s
   AND a.state <> 'idle' AND a.pid <> pg_backend_pid() AND a.pid <> %(watcher)s
 LIMIT 1"""


@dataclass(slots=True)
class UpkeepConnection:
    """Two connections to one database: one that works, one that watches it.

    Attributes:
        session: for all that can be said inside a transaction; not while a statement runs by `run`.
        pooled: a pooler stands in between: see `POOLED`.
        lock_timeout: how long we wait for a lock, and somebody else for one of ours.
    """

    session: Session
    pooled: bool
    lock_timeout: timedelta
    _statement_timeout: timedelta
    _main: AsyncConnection
    _watcher: AsyncConnection
    _warnings: list[str] = field(default_factory=list)

    @classmethod
    async def open(
        cls,
        dsn: str,
        *,
        connect_timeout: timedelta,
        statement_timeout: timedelta,
        lock_timeout: timedelta,
        longest: timedelta,
    ) -> Self:
        """Connect, twice.

        Args:
            dsn: a direct one, where there is a pooler.
            connect_timeout: for each host.
            statement_timeout: of statements inside a transaction.
            lock_timeout: see above.
            longest: of a statement that runs by itself.

        Raises:
            UnavailableError: with the reason in words of ours.
            psycopg.Error: as the server reports it.
        """

        async def one() -> AsyncConnection:
            return await connect(
                dsn,
                application_name=APPLICATION,
                connect_timeout=connect_timeout,
                statement_timeout=statement_timeout,
            )

        main = await one()
        try:
            watcher = await one()
        except BaseException:
            await main.close()
            raise
        session = Session(
            main, statement_timeout=statement_timeout, lock_timeout=min(lock_timeout, statement_timeout)
        )
        opened = cls(session, False, lock_timeout, statement_timeout, main, watcher)  # noqa: FBT003 -- found out below
        main.add_notice_handler(opened._heard)
        try:
            opened.pooled = await opened._is_pooled()
            if not opened.pooled:
                await opened._ask(main, _KEPT, {"longest": _milliseconds(longest)})
        except BaseException:
            await opened.close()
            raise
        return opened

    @property
    def usable(self) -> bool:
        """Both connections are open, and the one that works is idle."""
        return self.session.usable and not self._watcher.closed

    def within(self, statement_timeout: timedelta) -> Session:
        """The same as `session`, with another limit for each statement."""
        lock_timeout = min(self.lock_timeout, statement_timeout)
        return Session(self._main, statement_timeout=statement_timeout, lock_timeout=lock_timeout)

    def shut(self) -> None:
        """Make whoever waits fail at once; what the server is at it goes on with."""
        shut(self._main)
        shut(self._watcher)

    async def cancel(self) -> bool:
        """Have the server end what it is at; returns, though it be frozen: whether it was told."""
        try:
            await self._ask(self._watcher, _CANCEL, {"pid": self._main.info.backend_pid}, GRACE)
        except (psycopg.Error, QueuewardenError):
            return False
        return True

    async def close(self) -> None:
        """Close both connections; never waits for the server."""
        await self._main.close()
        await self._watcher.close()

    async def beside(self, session: Session) -> bool:
        """Whether another session is in the same database; see `meet`."""
        return await meet(self._main, session, ANSWER)

    async def predecessor(self) -> int | None:
        """The server process that is still at a statement of another upkeep, whose client may be gone.

        Raises:
            psycopg.Error: as the server reports it.
        """
        given = {"application": APPLICATION, "watcher": self._watcher.info.backend_pid}
        rows = await self._ask(self._main, _PREDECESSOR, given)
        return int(rows[0][0]) if rows else None

    async def run(
        self,
        statement: Composed,
        *,
        patience: timedelta | None = None,
        told: Callable[[str, int, int], None] = lambda *_: None,
    ) -> tuple[str, ...]:
        """Run one statement by itself, outside any transaction block; what the server warned of meanwhile.

        Through a pooler it runs inside a block, unwatched: such a statement is then the only one possible.

        Args:
            statement: without parameters.
            patience: how long it may wait for locks, where nobody waits behind it in the meantime.
            told: of the phase, how much of it is done, and of how much (0: unknown).

        Raises:
            GaveWayError: somebody waited for a lock that it held.
            UnavailableError: the server is frozen.
            psycopg.Error: as the server reports it.
        """
        self._warnings.clear()
        if self.pooled:
            await self._within(statement)
            return tuple(self._warnings)
        task = asyncio.create_task(self._alone(statement, patience or self.lock_timeout))
        try:
            await self._watch(task, told)
        finally:
            if not task.done():
                await self._end(task)
        task.result()
        return tuple(self._warnings)

    async def _within(self, statement: Composed) -> None:
        given = {
            "statement": _milliseconds(self._statement_timeout),
            "lock": _milliseconds(self.lock_timeout),
        }
        async with (
            deadline(self._main, self._statement_timeout.total_seconds() + ANSWER),
            self._main.transaction(),
        ):
            await self._main.execute(_WITHIN, given)
            await self._main.execute(statement)

    async def _alone(self, statement: Composed, patience: timedelta) -> None:
        await self._ask(self._main, _LOCK_TIMEOUT, {"milliseconds": _milliseconds(patience)})
        await self._main.execute(statement)

    async def _watch(self, task: asyncio.Task[None], told: Callable[[str, int, int], None]) -> None:
        """Look until it has ended, or somebody has waited for it for too long."""
        seen: dict[int, float] = {}
        given = {"pid": self._main.info.backend_pid}
        while not (await asyncio.wait({task}, timeout=POLL))[0]:
            ((waiting, phase, done, total),) = await self._ask(self._watcher, _LOOK, given)
            if phase is not None:
                told(phase, done or 0, total or 0)
            now = time.monotonic()
            seen = {pid: seen.get(pid, now) for pid in waiting}
            if any(now - since >= self.lock_timeout.total_seconds() for since in seen.values()):
                raise GaveWayError(f"gave way to server process {min(seen)}, which waited for its lock")

    async def _end(self, task: asyncio.Task[None]) -> None:
        """Cancel the statement and wait for its end, though the server be frozen."""
        # Asked for, now or later, lest asyncio print it; whoever is ended here may be cancelled once more.
        task.add_done_callback(lambda one: one.cancelled() or one.exception())
        until = time.monotonic() + GRACE
        # Again and again: the server passes over it while the statement is only on its way.
        while time.monotonic() < until and await self.cancel():
            if (await asyncio.wait({task}, timeout=POLL))[0]:
                return
        shut(self._main)
        if not (await asyncio.wait({task}, timeout=GRACE))[0]:
            task.cancel()

    async def _ask(
        self, connection: AsyncConnection, query: bytes, given: dict[str, Any], seconds: float | None = None
    ) -> list[Row]:
        async with deadline(connection, seconds or ANSWER):
            return await (await connection.execute(query, given)).fetchall()

    async def _is_pooled(self) -> bool:
        """Whether the process that we were told of is not the one that answers, for as long as we look.

        A pooler tells a made-up one; one that passed a true one on would share it between connections.
        """
        found = set()
        for connection in (self._main, self._watcher) * 2:
            ((pid,),) = await self._ask(connection, _PID, {})
            found.add((connection.info.backend_pid, pid))
        pids = {pid for _, pid in found}
        return any(told != pid for told, pid in found) or len(pids) < len({self._main, self._watcher})

    def _heard(self, notice: psycopg.errors.Diagnostic) -> None:
        if notice.severity_nonlocalized == "WARNING" and notice.message_primary:
            self._warnings.append(" ".join(notice.message_primary.split()))


def _milliseconds(span: timedelta) -> str:
    return str(max(1, int(span.total_seconds() * 1000)))
