"""The guards of the model: two daemons, each with its own memory, and a person with the commands."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import kit
import psycopg
from model.tables import TTL

from queuewarden.adapters.db.connect import connect
from queuewarden.adapters.db.session import Session
from queuewarden.application.by_hand import Visit
from queuewarden.application.commands.acting import act
from queuewarden.application.commands.planning import apply_plan, plan_of
from queuewarden.application.sweeps import planned, swept
from queuewarden.engine import lease, observe
from queuewarden.engine.ledger.book import Book
from queuewarden.engine.policy import Policy
from queuewarden.engine.standing import Standing
from queuewarden.engine.sweep import Sweeper
from queuewarden.engine.undo import undo

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from queuewarden.adapters.db.transaction import Transaction
    from queuewarden.application.plan_file import EnvironmentPlan
    from queuewarden.engine.ledger.entries import Wanted
    from queuewarden.engine.ledger.schema import Schema
    from queuewarden.engine.report import SweepReport
    from queuewarden.engine.undo import Undone
    from queuewarden.model import Rule
    from queuewarden.queues.target import Target

DAEMON = Policy(grace=False)
DRY = Policy(daemon=False, grace=False, write=False, rows=10_000, intend=True)
PERSON = "a person"


class Interrupted(Session):
    """A session between whose transactions something else may happen.

    Attributes:
        meanwhile: before which of the next repairing transactions, counted from 0, and what.
    """

    meanwhile: tuple[int, Callable[[], Awaitable[None]]] | None = None

    @asynccontextmanager
    async def transaction(self, *, role_path: str | None = None) -> AsyncIterator[Transaction]:
        if self.meanwhile is not None:
            left, happens = self.meanwhile
            self.meanwhile = (left - 1, happens) if left else None
            if not left:
                try:
                    await happens()
                except psycopg.Error as error:
                    # Neither the guard's own failure, nor for it to catch.
                    raise AssertionError("what happened meanwhile failed") from error
        async with super().transaction(role_path=role_path) as opened:
            yield opened


async def open_connection(dsn: str) -> psycopg.AsyncConnection[Any]:
    limits = kit.LIMITS
    return await connect(
        dsn,
        application_name="queuewarden/model",
        connect_timeout=limits.connect_timeout,
        statement_timeout=limits.statement_timeout,
    )


def session_on(connection: psycopg.AsyncConnection[Any]) -> Interrupted:
    limits = kit.LIMITS
    return Interrupted(
        connection, statement_timeout=limits.statement_timeout, lock_timeout=limits.lock_timeout
    )


@dataclass
class Daemon:
    """One daemon: what it believes about the lease is as old as its last look.

    Attributes:
        keeper: another session, which keeps the lease.
    """

    name: str
    session: Interrupted
    keeper: Session
    schema: Schema
    run: int = 1
    sweeper: Sweeper = field(default_factory=lambda: Sweeper("test"))
    standing: Standing = field(default_factory=lambda: Standing(stay="lease"))

    @property
    def holder(self) -> str:
        """Names this run of it."""
        return f"{self.name}{self.run}"

    async def look(self) -> None:
        """Renew the lease, take it, or see who has it."""
        before = await lease.look(self.keeper)
        seen = await lease.claim(self.keeper, self.holder, TTL)
        assert before.holder in {None, self.holder, seen.holder}, "it took what another daemon has"
        if seen.holder == self.holder:
            self.standing = Standing(self.schema, self.holder, seen.epoch)
        else:
            self.standing = Standing(self.schema, self.holder, stay="lease")

    async def restart(self, *, release: bool) -> None:
        """End, in good order or not, and begin anew, knowing nothing."""
        if release:
            await lease.release(self.keeper, self.holder)
        self.run += 1
        self.sweeper = Sweeper("test")
        self.standing = Standing(self.schema, self.holder, stay="lease")

    async def sweep(self, target: Target) -> SweepReport:
        state = self.sweeper.state(target.queue)
        # Counters come late, and a busy machine makes any look costly: neither may decide what is looked at.
        state.memory.clean.clear()
        state.memory.costly.clear()
        state.next_look = 0.0
        return await self.sweeper.sweep(self.session, [target], policy=DAEMON, standing=self.standing)


@dataclass
class Person:
    """Somebody at a terminal: the commands, without their printing.

    Each command opens a session of its own, on a connection that is kept.
    """

    connection: psycopg.AsyncConnection[Any]
    schema: Schema
    target: Target

    def session(self) -> Interrupted:
        return session_on(self.connection)

    @property
    def standing(self) -> Standing:
        return Standing(self.schema, PERSON)

    async def repair(self, session: Interrupted) -> SweepReport:
        return await Sweeper("test").sweep(session, [self.target], policy=kit.BY_HAND, standing=self.standing)

    async def plan(self) -> EnvironmentPlan:
        """A dry run, as `repair --dry-run --out` writes it down."""
        place = self._place(self.session())
        report = await Sweeper("test").sweep(place.session, [self.target], policy=DRY, standing=self.standing)
        (seen,) = (one for one in [planned(Visit("test", swept(place, report)))])
        assert seen.result is not None
        return await plan_of(place, seen.result)

    async def apply(self, plan: EnvironmentPlan) -> SweepReport:
        return (await apply_plan(self._place(self.session()), plan, grace=False)).report

    async def act(self, rules: Sequence[Rule]) -> SweepReport:
        """A reset or a retry by hand."""

        async def chosen(_: Target) -> tuple[Rule, ...]:
            return tuple(rules)

        return (await act(self._place(self.session()), chosen, dry=False)).report

    async def undo(self, wanted: Wanted, *, dry: bool = False) -> list[Undone]:
        book = Book("by hand", PERSON)
        return [one async for one in undo(self.session(), wanted, book, dry=dry)]

    def _place(self, session: Interrupted) -> Any:
        async def server() -> Any:
            return observe.server_state((await session.rows(observe.SERVER))[0])

        async def fleets(*_: Any) -> dict[str, None]:
            return {}

        return SimpleNamespace(
            config=SimpleNamespace(name="test"),
            session=session,
            server=server,
            standing=self.standing,
            targets=[self.target],
            resolutions={},
            hints=(),
            liveness=SimpleNamespace(fleets=fleets, confirm=None),
        )
