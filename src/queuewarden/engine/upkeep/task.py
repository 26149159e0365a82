"""A task of upkeep: what it is given, and what it tells."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from queuewarden.adapters.db.upkeep import UpkeepConnection
    from queuewarden.engine.upkeep.config import TaskName, Upkeep
    from queuewarden.queues.mapping import Mapping
    from queuewarden.queues.target import Target

Outcome = Literal["done", "skipped", "failed"]


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was done, or not.

    Attributes:
        subject: a table, an index, a file.
        action: as a person would say it: "vacuumed", "would delete".
        why: the reason of what was skipped or failed.
        amount: rows or bytes, where the action has any.
    """

    subject: str
    action: str
    outcome: Outcome
    why: str = ""
    seconds: float = 0.0
    amount: int | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """What a task did, in order."""

    did: tuple[Step, ...] = ()

    @property
    def failed(self) -> tuple[Step, ...]:
        """The steps that failed; the task went on past them."""
        return tuple(step for step in self.did if step.outcome == "failed")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a task has come.

    Attributes:
        subject: what it is at.
        phase: as the server calls it.
        total: 0 where it is unknown.
    """

    subject: str
    phase: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where a task works.

    Attributes:
        connection: upkeep's own, in autocommit.
        targets: the queues, as they fit the catalog.
        ledger: our own schema is there and can be used.
        tell: called now and then with how far the task has come.
        consent: somebody has agreed to what is not done unasked, such as dropping an index left over.
        dry_run: say what would be done, change nothing.
        unread: queues that were configured and could not be held against the catalog.
        did: what was done so far, for whoever ends the task before it is done.
    """

    connection: UpkeepConnection
    targets: tuple[Target, ...]
    upkeep: Upkeep
    ledger: bool
    tell: Callable[[Progress], None]
    consent: bool = False
    dry_run: bool = False
    unread: tuple[Mapping, ...] = ()
    did: list[Step] = field(default_factory=list)


class Task(Protocol):
    """A module of `engine.upkeep.tasks`."""

    NAME: TaskName

    async def run(self, place: Place) -> Done:
        """Do it.

        Raises:
            psycopg.Error: as the server reports it, where nothing could be done at all.
        """
        ...
