"""A queue under a ledger: swept, read back, undone, as daemons and people do it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import kit

from queuewarden.engine import lease
from queuewarden.engine.ledger import schema
from queuewarden.engine.ledger.book import Book
from queuewarden.engine.ledger.entries import Wanted, batches
from queuewarden.engine.resolve import resolve
from queuewarden.engine.standing import Standing
from queuewarden.engine.sweep import Sweeper
from queuewarden.engine.undo import undo

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from servers import Database

    from queuewarden.adapters.db.session import Session
    from queuewarden.engine.policy import Policy
    from queuewarden.engine.report import SweepReport
    from queuewarden.engine.undo import Undone
    from queuewarden.model import Change, Limits, Outcome
    from queuewarden.queues.mapping import Mapping

SCHEMA = kit.SCHEMA + schema.script()
"""The tables of `kit`, and the ledger."""


class Ledgered:
    """One queue, swept again and again by the same sweeper.

    Attributes:
        actor: who repairs; with an epoch, a daemon that has the lease.
    """

    def __init__(
        self,
        database: Database,
        mapping: Mapping = kit.MAPPING,
        limits: Limits = kit.LIMITS,
        *,
        actor: str = "anna",
        epoch: int | None = None,
        environment: str = "test",
    ) -> None:
        self.database, self.mapping, self.limits = database, mapping, limits
        self.actor, self.epoch, self.environment = actor, epoch, environment
        self.sweeper = Sweeper(environment)

    def restart(self) -> None:
        """Another daemon, or the same one started anew: nothing is remembered."""
        self.sweeper = Sweeper(self.environment)

    def take_lease(self) -> None:
        """The lease for an hour."""

        async def work() -> None:
            async with kit.session(self.database.dsn) as session:
                taken = await lease.claim(session, self.actor, kit.LIMITS.remind_after)
                assert taken.holder == self.actor
                self.epoch = taken.epoch

        asyncio.run(work())

    def report(
        self, policy: Policy = kit.BY_HAND, meanwhile: Callable[[Session], object] | None = None
    ) -> SweepReport:
        """One sweep.

        Args:
            policy: whose.
            meanwhile: given the session before the sweep.
        """

        async def work() -> SweepReport:
            async with kit.session(self.database.dsn, self.limits) as session:
                resolution = await resolve(session, self.environment, self.mapping, self.limits)
                assert resolution.target is not None, resolution.faults
                standing = Standing(await schema.read_schema(session), self.actor, self.epoch)
                if meanwhile is not None:
                    meanwhile(session)
                return await self.sweeper.sweep(
                    session, [resolution.target], policy=policy, standing=standing
                )

        return asyncio.run(work())

    def sweep(self, policy: Policy = kit.BY_HAND, **rest: Any) -> dict[str, Outcome]:
        """One sweep; outcomes by rule code."""
        return {one.code: one for one in self.report(policy, **rest).queues[0].outcomes}

    def changes(self, **filters: Any) -> list[Change]:
        """The ledger, the oldest change first."""
        return changes(self.database, **filters)

    def undo(self, *ids: int, dry: bool = False, by: str = "anna", **filters: Any) -> list[Undone]:
        """Take changes back."""
        return take_back(self.database, *ids, dry=dry, by=by, **filters)


def changes(database: Database, **filters: Any) -> list[Change]:
    """The ledger, the oldest change first."""

    async def work() -> list[Change]:
        async with kit.session(database.dsn) as session:
            return [one async for batch in batches(session, Wanted(**filters)) for one in batch.changes]

    return asyncio.run(work())[::-1]


def take_back(
    database: Database, *ids: int, dry: bool = False, by: str = "anna", **filters: Any
) -> list[Undone]:
    """Undo: of these ids, else of what the filters say."""
    wanted = Wanted(ids=ids, **filters) if ids else Wanted(undos=False, **filters)

    async def work() -> list[Undone]:
        async with kit.session(database.dsn) as session:
            return [one async for one in undo(session, wanted, Book("u" * 8, by), dry=dry)]

    return asyncio.run(work())


def refusals(undone: Sequence[Undone]) -> dict[str, str | None]:
    """Of each row: why it was left as it is; None where it was put back."""
    return {",".join(one.change.finding.key): one.refused for one in undone}


def image(database: Database, table: str = "jobs", order: str = "1") -> list[str]:
    """Every row of a table, whole, as the server prints it."""
    return [row for (row,) in database.rows(f"SELECT t::text FROM {table} AS t ORDER BY {order}")]


def ranges(database: Database) -> list[tuple[int, int]]:
    """First and last id of each row of the ledger."""
    return database.rows("SELECT first_id, last_id FROM queuewarden.changes ORDER BY 1")
