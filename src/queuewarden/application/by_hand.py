"""Commands by hand: reach the chosen environments, all at once, and do the same in each of them."""

from __future__ import annotations

import asyncio
import logging
import os
import pwd
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

import psycopg

from queuewarden.adapters.db.reasons import reason
from queuewarden.adapters.db.session import Session
from queuewarden.application import ending
from queuewarden.application.liveness import Liveness
from queuewarden.application.opening import open_session
from queuewarden.application.resolving import resolve_all
from queuewarden.engine import observe
from queuewarden.engine.ledger.schema import read_schema
from queuewarden.engine.primary import STANDBY
from queuewarden.engine.standing import Standing
from queuewarden.errors import BusyError, HeldError, QueuewardenError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence

    from queuewarden.adapters.db.transaction import Transaction
    from queuewarden.engine.ledger.schema import Schema
    from queuewarden.engine.resolve import Resolution
    from queuewarden.model import ServerState
    from queuewarden.queues.target import Target
    from queuewarden.settings.configuration import Configuration, EnvironmentConfig

T = TypeVar("T")

PATIENCE = 5.0
"""Seconds that a command waits for another guard to finish its transaction: a daemon's takes far less."""

_RETRY = 0.05
_END_WITHIN = 3.0


class PatientSession(Session):
    """A session of a person, who would rather wait a moment than be told that a daemon is at work."""

    @asynccontextmanager
    async def transaction(self, *, role_path: str | None = None) -> AsyncIterator[Transaction]:
        """As that of `Session`, but `BusyError` only after `PATIENCE`."""
        until = time.monotonic() + PATIENCE
        async with AsyncExitStack() as stack:
            while True:
                try:
                    opened = super().transaction(role_path=role_path)
                    transaction = await stack.enter_async_context(opened)
                    break
                except HeldError:
                    raise
                except BusyError:
                    if time.monotonic() > until:
                        raise
                await asyncio.sleep(_RETRY)
            yield transaction


@dataclass(frozen=True, slots=True)
class Place:
    """One environment that was reached.

    Attributes:
        resolutions: its chosen queues, held against the catalog.
        hints: what to set so that tables that were recognised are guarded.
        connected_in: seconds.
        schema: the ledger's.
        actor: who repairs, as the ledger names them; by default whoever calls.
        stay: why nothing may be repaired now.
        pausable: pauses hold repairs here, too.
    """

    config: EnvironmentConfig
    session: Session
    resolutions: Mapping[str, Resolution]
    liveness: Liveness
    hints: tuple[str, ...]
    connected_in: float
    schema: Schema
    actor: str | None = None
    stay: str | None = None
    pausable: bool = False

    @property
    def standing(self) -> Standing:
        """By what right a person repairs, who needs no lease."""
        return Standing(self.schema, self.actor or caller(), stay=self.stay, pausable=self.pausable)

    @property
    def targets(self) -> list[Target]:
        """The queues that can be read."""
        return [one.target for one in self.resolutions.values() if one.target is not None]

    async def server(self) -> ServerState:
        """What the server says of itself.

        Raises:
            UnavailableError: it is a standby.
            psycopg.Error: it did not answer.
        """
        state = observe.server_state((await self.session.rows(observe.SERVER))[0])
        if state.standby:
            raise UnavailableError(STANDBY)
        return state


@dataclass(frozen=True, slots=True)
class Visit(Generic[T]):
    """What came of one environment: a result, or the reason why there is none."""

    environment: str
    result: T | None = None
    error: str | None = None


def caller() -> str:
    """Who calls, as the log names them."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # an account that no directory knows, as in many containers
        name = str(os.getuid())
    behind = os.environ.get("SUDO_USER")
    return f"{name} (sudo by {behind})" if behind and behind != name else name


def visit(
    configuration: Configuration,
    chosen: Sequence[EnvironmentConfig],
    queues: Collection[str] | None,
    work: Callable[[Place], Awaitable[T]],
    told: Callable[[str], None] = lambda _: None,
) -> list[Visit[T]]:
    """Do something in each of the chosen environments, concurrently; a failure of one ends there.

    Args:
        configuration: all environments: workers may register in one that was not chosen.
        chosen: where to do it.
        queues: only these queues; None for all of them.
        work: what to do.
        told: called with the name of each environment that is done.
    """
    # As for the daemon: what psycopg warns of on its way out of a broken connection, we meet as the error.
    logging.getLogger("psycopg").setLevel(logging.ERROR)
    return ending.run(_Tour(configuration, queues, work, told).run(chosen))


@dataclass(slots=True)
class _Tour(Generic[T]):
    configuration: Configuration
    queues: Collection[str] | None
    work: Callable[[Place], Awaitable[T]]
    told: Callable[[str], None]
    open: list[Session | Liveness] = field(default_factory=list)

    async def run(self, chosen: Sequence[EnvironmentConfig]) -> list[Visit[T]]:
        tasks = [asyncio.create_task(self._visit(config)) for config in chosen]
        try:
            await asyncio.wait(tasks)
        finally:
            # Whoever interrupts must not wait for a frozen server: sockets first, tasks second.
            if not all(task.done() for task in tasks):
                for each in self.open:
                    each.shut()
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks, timeout=_END_WITHIN)
            for each in self.open:
                await each.close()
        # Each is asked, lest asyncio print what nobody asked for, secrets and all.
        failed = [error for task in tasks if (error := task.exception()) is not None]
        if failed:
            raise failed[0]
        return [task.result() for task in tasks]

    async def _visit(self, config: EnvironmentConfig) -> Visit[T]:
        try:
            return Visit(config.name, await self.work(await self._reach(config)))
        except (QueuewardenError, psycopg.Error) as error:
            return Visit(config.name, error=reason(error))
        finally:
            self.told(config.name)

    async def _reach(self, config: EnvironmentConfig) -> Place:
        begun = time.monotonic()
        session = await open_session(config, kind=PatientSession)
        connected_in = time.monotonic() - begun
        self.open.append(session)
        liveness = Liveness(config.name, {one.name: one for one in self.configuration.environments})
        self.open.append(liveness)
        resolved = await resolve_all(session, config, self.queues)
        schema = await read_schema(session)
        return Place(config, session, resolved.queues, liveness, resolved.hints, connected_in, schema)
