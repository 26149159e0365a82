"""The desk: opens connections for requests, apart from those that sweep, few at once and for a short time."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg

from queuewarden.adapters.db.reasons import reason
from queuewarden.adapters.db.session import Session
from queuewarden.application.by_hand import Visit
from queuewarden.application.http.problems import Problem
from queuewarden.application.opening import open_session
from queuewarden.errors import QueuewardenError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence

    from starlette.requests import Request

    from queuewarden.application.guard import Guard
    from queuewarden.application.liveness import Liveness

T = TypeVar("T")

AT_ONCE = 2
"""Connections of one environment that requests may have at the same time."""

ALTOGETHER = 16
"""Connections that requests may have at the same time."""

PATIENCE = 2.0
"""Seconds that a request waits for its turn."""

STATEMENT = timedelta(seconds=10)
"""A statement of a request takes no longer, whatever is configured for sweeps."""

WITHIN = 12.0
"""Seconds after which a request is answered with what there is."""

_END_WITHIN = 2.0


@dataclass(slots=True)
class Seat:
    """What one request has open in one environment.

    Attributes:
        others: what else it has opened, to be shut and closed with the connection.
    """

    guard: Guard
    session: Session
    others: list[Liveness] = field(default_factory=list)

    def shut(self) -> None:
        """Make whoever waits on it fail at once."""
        self.session.shut()
        for one in self.others:
            one.shut()

    async def close(self) -> None:
        """Close everything; never waits for a server."""
        await self.session.close()
        for one in self.others:
            await one.close()


@dataclass(slots=True)
class Desk:
    """One app's. It has no connection while nobody asks.

    Attributes:
        repairing: environments in which a repair is under way.
        exporting: environments of which an export is under way.
    """

    repairing: set[str] = field(default_factory=set)
    exporting: set[str] = field(default_factory=set)
    _turns: dict[str, asyncio.Semaphore] = field(default_factory=dict)
    _all: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(ALTOGETHER))

    async def visit(
        self,
        request: Request,
        guards: Sequence[Guard],
        work: Callable[[Seat], Awaitable[T]],
        *,
        kind: type[Session] = Session,
        until: float | None = None,
    ) -> list[Visit[T]]:
        """Do something in each environment, concurrently; a failure of one ends there.

        Where the client goes away, or this is cancelled, nothing is left behind: sockets are shut, so that no
        frozen server is waited for.

        Args:
            request: whose.
            guards: of the environments.
            work: what to do.
            kind: of session.
            until: when to stop, by the loop's clock; `WITHIN` from now by default.
        """
        loop = asyncio.get_running_loop()
        end = until if until is not None else loop.time() + WITHIN
        seats: list[Seat] = []
        tasks = [asyncio.create_task(self._one(guard, work, kind, seats)) for guard in guards]
        gone = asyncio.create_task(_gone(request))
        pending: set[asyncio.Task[Any]] = set(tasks)
        try:
            while pending and not gone.done() and (left := end - loop.time()) > 0:
                done, _ = await asyncio.wait({*pending, gone}, timeout=left, return_when="FIRST_COMPLETED")
                pending -= done
        finally:
            left_early = _left(gone)
            if pending:
                await _end(pending, seats)
            ended = [task for task in tasks if task.done() and not task.cancelled()]
            failed = [one for task in ended if (one := task.exception()) is not None]
        if left_early is not None:
            raise left_early
        if failed:
            raise failed[0]
        return [
            task.result()
            if task in ended
            else Visit(guard.config.name, error=f"no answer within {WITHIN:g} s")
            for guard, task in zip(guards, tasks, strict=True)
        ]

    async def _one(
        self, guard: Guard, work: Callable[[Seat], Awaitable[T]], kind: type[Session], seats: list[Seat]
    ) -> Visit[T]:
        name = guard.config.name
        try:
            async with self.turn(guard):
                seat = Seat(guard, await open_seat(guard, kind))
                seats.append(seat)
                try:
                    return Visit(name, await work(seat))
                finally:
                    await seat.close()
        except (QueuewardenError, psycopg.Error) as error:
            return Visit(name, error=failure(error))

    @contextlib.asynccontextmanager
    async def turn(self, guard: Guard) -> AsyncIterator[None]:
        """A place among those who ask an environment.

        Raises:
            UnavailableError: it is down, or too many ask it.
        """
        status = guard.status
        if status.state != "up":
            raise UnavailableError(status.reason or "not reached yet")
        turns = self._turns.setdefault(guard.config.name, asyncio.Semaphore(AT_ONCE))
        async with contextlib.AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(PATIENCE):
                    await stack.enter_async_context(turns)
            except TimeoutError:
                raise UnavailableError("too many requests ask its database just now") from None
            # Behind those of the same request, of which there may be many.
            await stack.enter_async_context(self._all)
            yield

    @contextlib.asynccontextmanager
    async def export(self, guard: Guard) -> AsyncIterator[None]:
        """As `turn`, for one that lasts long: only one at a time, so that others are answered meanwhile.

        Raises:
            UnavailableError: it is down, or too many ask it.
        """
        name = guard.config.name
        if name in self.exporting:
            raise UnavailableError(f"an export of {name} is under way: ask again when it has ended")
        self.exporting.add(name)
        try:
            async with self.turn(guard):
                yield
        finally:
            self.exporting.discard(name)


async def open_seat(guard: Guard, kind: type[Session] = Session) -> Session:
    """A connection of the request's own.

    Raises:
        UnavailableError: with the reason in words of ours.
    """
    timeout = min(STATEMENT, guard.config.limits.statement_timeout)
    return await open_session(guard.config, kind=kind, statement_timeout=timeout)


async def while_there(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Wait for work as long as the client does.

    Raises:
        Problem: it has gone away, and nobody will see this; the work is cancelled.
    """
    gone, task = asyncio.create_task(_gone(request)), asyncio.create_task(work)
    try:
        await asyncio.wait({gone, task}, return_when="FIRST_COMPLETED")
        if (left_early := _left(gone)) is not None and not task.done():
            raise left_early
        return task.result()
    finally:
        gone.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait({task})


async def sheltered(seat: Seat, work: Coroutine[Any, Any, T]) -> T:
    """Wait for work on a connection; where this is cancelled, shut the socket rather than ask the server."""
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await _end({task}, [seat])
        raise


def failure(error: BaseException) -> str:
    """Why a database failed, in words for a client."""
    if isinstance(error, psycopg.errors.LockNotAvailable):
        return "its table is locked just now: ask again"
    if isinstance(error, psycopg.errors.QueryCanceled):
        return f"it took longer than {STATEMENT.total_seconds():g} s: ask for less"
    return reason(error)


async def _end(tasks: set[asyncio.Task[Any]], seats: Sequence[Seat]) -> None:
    """Sockets first, so that what is done can be told; tasks second."""
    for seat in seats:
        seat.shut()
    if seats:
        await asyncio.wait(tasks, timeout=_END_WITHIN)
    for task in tasks:
        task.cancel()
    done, _ = await asyncio.wait(tasks, timeout=_END_WITHIN)
    for task in done:
        if not task.cancelled():
            task.exception()  # else asyncio would print what nobody asks for


async def _gone(request: Request) -> None:
    """Return when the client has gone away."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _left(gone: asyncio.Task[None]) -> BaseException | None:
    """What to end a request with whose client has gone away, or sends what it must not; ends the watch."""
    if not gone.done():
        gone.cancel()
        return None
    return gone.exception() or Problem(503, "the client is gone")
