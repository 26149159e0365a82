"""The steps of a task as they are taken: one that fails is told, and the task goes on past it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import psycopg

from queuewarden.adapters.db.reasons import primary_message, reason
from queuewarden.adapters.db.upkeep import POOLED
from queuewarden.engine.upkeep.task import Done, Progress, Step
from queuewarden.errors import GaveWayError, QueuewardenError

if TYPE_CHECKING:
    from datetime import timedelta

    from psycopg.sql import Composed

    from queuewarden.engine.upkeep.task import Outcome, Place


class Verb(NamedTuple):
    """What is done: "vacuumed", and what would be: "vacuum"."""

    past: str
    plain: str


@dataclass(slots=True)
class Steps:
    """What a task did so far."""

    place: Place

    @property
    def did(self) -> list[Step]:
        """So far, in order."""
        return self.place.did

    @property
    def done(self) -> Done:
        """All of it."""
        return Done(tuple(self.did))

    def note(
        self,
        subject: object,
        action: str,
        outcome: Outcome,
        why: str = "",
        *,
        amount: int | None = None,
        since: float | None = None,
    ) -> None:
        """Note a step.

        Args:
            subject: what it was about.
            action: in words.
            outcome: how it ended.
            why: it was skipped, or failed.
            amount: rows, or bytes.
            since: the monotonic moment at which it began.
        """
        seconds = time.monotonic() - since if since is not None else 0.0
        self.did.append(Step(str(subject), action, outcome, why, seconds, amount))

    def skip(self, subject: object, verb: Verb, why: str) -> None:
        """Note that something was not done, and that this is all right."""
        self.note(subject, f"not {verb.past}", "skipped", why)

    def failed(self, subject: object, verb: Verb, error: BaseException, since: float) -> None:
        """Note that something failed; raise what is no failure of a statement.

        Raises:
            UnavailableError, psycopg.Error: the connection is lost and nothing else can be told.
        """
        gone = not self.place.connection.usable
        if gone and not self.did:
            raise error
        outcome: Outcome = "skipped" if isinstance(error, GaveWayError) else "failed"
        self.note(subject, f"not {verb.past}", outcome, words(error), since=since)

    async def run(
        self,
        subject: object,
        verb: Verb,
        statement: Composed,
        *,
        amount: int | None = None,
        patience: timedelta | None = None,
    ) -> bool:
        """Run a statement by itself; whether it was done.

        Args:
            subject: what it is about.
            verb: what it does.
            statement: see `UpkeepConnection.run`.
            amount: rows, or bytes.
            patience: see `UpkeepConnection.run`.
        """
        if self.place.dry_run:
            self.note(subject, f"would {verb.plain}", "skipped", amount=amount)
            return False
        begun = time.monotonic()

        def told(phase: str, done: int, total: int) -> None:
            self.place.tell(Progress(str(subject), phase, done, total))

        try:
            warned = await self.place.connection.run(statement, patience=patience, told=told)
        except (QueuewardenError, psycopg.Error) as error:
            self.failed(subject, verb, error, begun)
            return False
        self.note(subject, verb.past, "done", "; ".join(warned), amount=amount, since=begun)
        return True


async def alone(steps: Steps, verb: Verb, subject: str = "all tables") -> bool:
    """Whether statements can run by themselves here, and none of an earlier upkeep does still; notes why not.

    Raises:
        psycopg.Error: as the server reports it.
    """
    connection = steps.place.connection
    if connection.pooled:
        steps.note(subject, f"not {verb.past}", "failed", POOLED)
        return False
    if (pid := await connection.predecessor()) is not None:
        steps.skip(subject, verb, f"server process {pid} is still at what another upkeep began")
        return False
    return True


def words(error: BaseException) -> str:
    """Why something failed, as the server says it, else as we do."""
    said = primary_message(error) if isinstance(error, psycopg.Error) else None
    return said or reason(error)
