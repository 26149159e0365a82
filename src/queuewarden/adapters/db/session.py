"""A session: one connection, used by one task at a time, each use under a deadline.

Nothing here outlives a transaction: settings are local, statements are not prepared.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.pq import TransactionStatus

from queuewarden.adapters.db.deadline import deadline, shut
from queuewarden.errors import BusyError, UnknownOutcomeError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from datetime import timedelta

    from psycopg import AsyncConnection

Row = tuple[Any, ...]

GUARD_LOCK = (1_903_519_604, 1)
"""Key of the transaction-level advisory lock by which all guards of a database exclude each other."""

_MARGIN = 2.0
_LOCALS = b"""
SELECT set_config('statement_timeout', %(statement_timeout)s, true),
       set_config('lock_timeout', CAST(greatest(1, least(CAST(%(lock_timeout)s AS int8),
           floor(extract(epoch FROM CAST(current_setting('deadlock_timeout') AS interval)) * 500)))
           AS int8)::text, true),
       set_config('idle_in_transaction_session_timeout', '2s', true),
       set_config('row_security', 'off', true),
       set_config('DateStyle', 'ISO', true),
       set_config('IntervalStyle', 'postgres', true),
       set_config('extra_float_digits', '1', true),
       set_config('bytea_output', 'hex', true)"""


@dataclass(frozen=True, slots=True)
class Query:
    """SQL with named parameters."""

    text: bytes
    params: dict[str, Any]


class Session:
    """One connection and its limits.

    Args:
        connection: in autocommit mode.
        statement_timeout: for each statement; the deadline of a step is two seconds more.
        lock_timeout: how long a statement may wait for a lock; never above half the server's
            ``deadlock_timeout``, lest the application become the victim of a deadlock with us.
        on_step: told before each round trip how many seconds it may take at most.
    """

    def __init__(
        self,
        connection: AsyncConnection,
        *,
        statement_timeout: timedelta,
        lock_timeout: timedelta,
        on_step: Callable[[float], None] | None = None,
    ) -> None:
        self._connection = connection
        self._on_step = on_step
        self._deadline = statement_timeout.total_seconds() + _MARGIN
        self._locals = Query(
            _LOCALS,
            {
                "statement_timeout": str(int(statement_timeout.total_seconds() * 1000)),
                "lock_timeout": int(lock_timeout.total_seconds() * 1000),
            },
        )
        self.round_trips = 0

    @property
    def usable(self) -> bool:
        """The connection is open and idle."""
        return not self._connection.closed and self._status is TransactionStatus.IDLE

    @property
    def _status(self) -> TransactionStatus:
        return self._connection.info.transaction_status

    def shut(self) -> None:
        """Make whoever waits on the connection fail at once."""
        shut(self._connection)

    async def close(self) -> None:
        """Close the connection; never waits for the server."""
        await self._connection.close()

    async def read(self, queries: Sequence[Query]) -> list[list[Row] | psycopg.Error]:
        """Run queries read-only, in one round trip where all succeed.

        An error in a pipeline leaves all later queries without result; then each runs by itself.

        Returns:
            For each query its rows, or the error that it met.

        Raises:
            psycopg.OperationalError, UnavailableError: the connection is lost or the deadline struck.
        """
        try:
            return list(await self._read_all(queries))
        except psycopg.Error as error:
            await self._recover(error)
            if len(queries) == 1:
                return [error]
        results: list[list[Row] | psycopg.Error] = []
        for query in queries:
            results.extend(await self.read([query]))
        return results

    async def rows(self, query: Query) -> list[Row]:
        """Run one query read-only.

        Raises:
            psycopg.Error: as the server reports it.
        """
        (result,) = await self.read([query])
        if isinstance(result, psycopg.Error):
            raise result
        return result

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Open a repairing transaction: under the guards' lock, committed at the end of the block.

        Raises:
            BusyError: another guard is repairing this database.
            UnknownOutcomeError: the connection was lost while the COMMIT was under way.
        """
        try:
            await self._begin()
            yield Transaction(self)
            await self._commit()
        except psycopg.Error as error:
            await self._recover(error)
            raise
        except BaseException:
            await self._rollback()
            raise

    async def execute(self, query: Query) -> list[Row]:
        """Run one statement inside the open transaction."""
        async with self._step():
            cursor = await self._connection.execute(query.text, query.params, binary=True)
            return await cursor.fetchall() if cursor.description else []

    @asynccontextmanager
    async def _step(self) -> AsyncIterator[None]:
        self.round_trips += 1
        if self._on_step is not None:
            self._on_step(self._deadline)
        async with deadline(self._connection, self._deadline):
            yield

    async def _read_all(self, queries: Sequence[Query]) -> list[list[Row]]:
        async with self._step():
            async with self._connection.pipeline():
                await self._connection.execute(b"BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY")
                await self._connection.execute(self._locals.text, self._locals.params)
                # In binary, since values are read after COMMIT, when the role's own DateStyle is back.
                cursors = [
                    await self._connection.execute(query.text, query.params, binary=True) for query in queries
                ]
                await self._connection.execute(b"COMMIT")
            return [await cursor.fetchall() for cursor in cursors]

    async def _begin(self) -> None:
        async with self._step():
            async with self._connection.pipeline():
                await self._connection.execute(b"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")
                await self._connection.execute(self._locals.text, self._locals.params)
                cursor = await self._connection.execute(
                    b"SELECT pg_try_advisory_xact_lock(%s, %s)", GUARD_LOCK
                )
            row = await cursor.fetchone()
        if row is None or row[0] is not True:
            raise BusyError("another guard is repairing this database: the next sweep tries again")

    async def _commit(self) -> None:
        async with self._step():
            try:
                async with self._connection.pipeline():
                    # A deferred constraint that is violated would otherwise show as a failed COMMIT. After an
                    # error the server skips the rest of a pipeline, so that the COMMIT is then not run.
                    await self._connection.execute(b"SET CONSTRAINTS ALL IMMEDIATE")
                    await self._connection.execute(b"COMMIT")
            except psycopg.OperationalError as error:
                if self._status is TransactionStatus.UNKNOWN:
                    raise UnknownOutcomeError("the connection was lost during COMMIT") from error
                raise

    async def _recover(self, error: psycopg.Error) -> None:
        """Make the connection usable again after an error of a statement; raise it where that is in vain."""
        if self._connection.closed or self._status is TransactionStatus.UNKNOWN:
            raise error
        await self._rollback()

    async def _rollback(self) -> None:
        if self._connection.closed or self._status is TransactionStatus.IDLE:
            return
        if self._status is TransactionStatus.ACTIVE:
            self.shut()
            return
        async with self._step():
            await self._connection.execute(b"ROLLBACK")


@dataclass(frozen=True, slots=True)
class Transaction:
    """An open repairing transaction."""

    session: Session

    async def execute(self, query: Query) -> list[Row]:
        """Run one statement.

        Raises:
            psycopg.Error: as the server reports it; the transaction is rolled back.
        """
        return await self.session.execute(query)
