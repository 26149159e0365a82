"""A session: one connection, used by one task at a time, each use under a deadline.

Nothing here outlives a transaction: settings are local, statements are not prepared.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.pq import TransactionStatus

from queuewarden.adapters.db.begin import GUARD_LOCK, LOCALS, OWN_NAMES_ONLY, READ, ROLE_PATH, WRITE
from queuewarden.adapters.db.deadline import deadline, shut
from queuewarden.adapters.db.transaction import Transaction
from queuewarden.errors import BusyError, HeldError, UnknownOutcomeError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from datetime import timedelta

    from psycopg import AsyncConnection

Row = tuple[Any, ...]

_GUARD_LOCK = {"class": GUARD_LOCK[0], "object": GUARD_LOCK[1]}
_COMMIT = b"SET CONSTRAINTS ALL IMMEDIATE; COMMIT"
_MARGIN = 2.0
"""Seconds that a step's deadline lies behind the server's own timeout."""


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

    Attributes:
        fence: what each repairing transaction begins with: a query of one value, which locks what the right
            to repair hangs on and tells why it is gone (NULL: it is not).
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
            LOCALS,
            {
                "statement_timeout": str(int(statement_timeout.total_seconds() * 1000)),
                "lock_timeout": int(lock_timeout.total_seconds() * 1000),
            },
        )
        self.round_trips = 0
        self.fence: Query | None = None

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

    async def read(
        self, queries: Sequence[Query], *, role_path: bool = False
    ) -> list[list[Row] | psycopg.Error]:
        """Run queries read-only, in one round trip where all succeed.

        An error in a pipeline leaves all later queries without result; then each runs by itself.

        Args:
            queries: what to ask.
            role_path: keep the role's own search_path, by which tables without a schema are found.

        Returns:
            For each query its rows, or the error that it met.

        Raises:
            psycopg.OperationalError, UnavailableError: the connection is lost or the deadline struck.
        """
        try:
            return list(await self._all(queries, READ, role_path=role_path))
        except psycopg.Error as error:
            await self._recover(error)
            if len(queries) == 1:
                return [error]
        results: list[list[Row] | psycopg.Error] = []
        for query in queries:
            results.extend(await self.read([query], role_path=role_path))
        return results

    async def rows(self, query: Query, *, role_path: bool = False) -> list[Row]:
        """Run one query read-only; see `read`.

        Raises:
            psycopg.Error: as the server reports it.
        """
        (result,) = await self.read([query], role_path=role_path)
        if isinstance(result, psycopg.Error):
            raise result
        return result

    @asynccontextmanager
    async def transaction(self, *, role_path: str | None = None) -> AsyncIterator[Transaction]:
        """Open a repairing transaction: under the guards' lock, committed at the end of the block.

        Args:
            role_path: the role's own search_path, where triggers of the table may need it: statements switch
                to it while they run (see `Transaction`), and triggers that were deferred find it, too.

        Raises:
            BusyError: another guard is repairing this database.
            HeldError: the fence does not let us pass.
            UnknownOutcomeError: the connection was lost while the COMMIT was under way.
        """
        try:
            await self._begin()
            yield Transaction(self, role_path)
            await self._commit(role_path)
        except psycopg.Error as error:
            await self._recover(error)
            raise
        except BaseException:
            await self._rollback()
            raise

    async def execute(self, query: Query, *, own_names: bool = False) -> list[Row]:
        """Run one statement inside the open transaction.

        Args:
            query: the statement.
            own_names: an earlier statement may have switched to the role's search_path: switch back first.
        """
        async with self._step():
            if own_names:
                await self._connection.execute(OWN_NAMES_ONLY)
            cursor = await self._connection.execute(query.text, query.params, binary=True)
            return await cursor.fetchall() if cursor.description else []

    @asynccontextmanager
    async def _step(self) -> AsyncIterator[None]:
        self.round_trips += 1
        if self._on_step is not None:
            self._on_step(self._deadline)
        async with deadline(self._connection, self._deadline):
            yield

    async def together(self, queries: Sequence[Query]) -> list[list[Row]]:
        """Run statements that write, in one transaction and one message, outside the guards' lock.

        Values come as text: not for times, which would be read by the role's own DateStyle.

        Raises:
            psycopg.Error: as the server reports it; nothing was written.
        """
        try:
            async with self._step():
                cursor = await self._send(*map(self._literal, queries), b"COMMIT")
                found = []
                for _ in queries:
                    found.append(await cursor.fetchall() if cursor.description else [])
                    cursor.nextset()
                return found
        except psycopg.Error as error:
            await self._recover(error)
            raise

    async def script(self, text: str) -> None:
        """Run a script of several statements with its own BEGIN and COMMIT.

        Raises:
            psycopg.Error: as the server reports it; the transaction is rolled back.
        """
        try:
            async with self._step():
                await self._connection.execute(text.encode())
        except psycopg.Error as error:
            await self._recover(error)
            raise

    async def _all(
        self, queries: Sequence[Query], begin: bytes, *, role_path: bool = False
    ) -> list[list[Row]]:
        async with self._step():
            async with self._connection.pipeline():
                await self._connection.execute(begin)
                await self._connection.execute(OWN_NAMES_ONLY)
                await self._connection.execute(self._locals.text, self._locals.params)
                if role_path:
                    await self._connection.execute(ROLE_PATH)
                # In binary, since values are read after COMMIT, when the role's own DateStyle is back.
                cursors = [
                    await self._connection.execute(query.text, query.params, binary=True) for query in queries
                ]
                await self._connection.execute(b"COMMIT")
            return [await cursor.fetchall() if cursor.description else [] for cursor in cursors]

    async def _begin(self) -> None:
        lock = Query(b"SELECT pg_try_advisory_xact_lock(%(class)s, %(object)s)", _GUARD_LOCK)
        asked = [lock] if self.fence is None else [lock, self.fence]
        async with self._step():
            cursor = await self._send(*map(self._literal, asked))
            if await cursor.fetchone() != (True,):
                raise BusyError("another guard is repairing this database: the next sweep tries again")
            if cursor.nextset():
                (why,) = await cursor.fetchone() or ("lease",)
                if why is not None:
                    raise HeldError(why)

    def _literal(self, query: Query) -> bytes:
        """The statement with its values in it, as libpq quotes them."""
        return psycopg.AsyncClientCursor(self._connection).mogrify(query.text, query.params).encode()

    async def _send(self, *statements: bytes) -> psycopg.AsyncCursor:
        """Begin a writing transaction and run these statements, in one message; a cursor at their results.

        Not as a pipeline: while the server waits for the rest of one, no timeout of its own runs, and behind
        the Flush that ends one, none begins. A guard that is suspended there would hold rows for as long.
        """
        begin = [WRITE, OWN_NAMES_ONLY, self._literal(self._locals)]
        cursor = await self._connection.execute(b";\n".join([*begin, *statements]))
        for _ in begin:
            cursor.nextset()
        return cursor

    async def _commit(self, role_path: str | None) -> None:
        async with self._step():
            try:
                # A deferred constraint that is violated would otherwise show as a failed COMMIT. After an
                # error the server skips the rest of a message, so that the COMMIT is then not run.
                await self._connection.execute(_COMMIT if role_path is None else ROLE_PATH + b";" + _COMMIT)
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
