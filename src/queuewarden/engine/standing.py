"""Standing: by what right a sweep repairs, and where it records what it changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from queuewarden.engine import fence
from queuewarden.engine.ledger.book import Book

if TYPE_CHECKING:
    from queuewarden.adapters.db.session import Query
    from queuewarden.engine.ledger.schema import Schema
    from queuewarden.model import ServerState


@dataclass(frozen=True, slots=True)
class Standing:
    """What a sweep may do beyond what the mapping allows. The default: repair, there is no ledger.

    Attributes:
        schema: the ledger's, as it was last seen; None where nobody looked.
        actor: who repairs, as the ledger names them.
        epoch: of the lease; None for a person.
        stay: why nothing may be repaired now: another daemon has the lease, or nobody knows who has it.
        pausable: a pause holds a person's repairs, too.
    """

    schema: Schema | None = None
    actor: str = ""
    epoch: int | None = None
    stay: str | None = None
    pausable: bool = False

    @property
    def recorded(self) -> bool:
        """Changes are recorded in the ledger."""
        return self.schema is not None and self.schema.usable

    def book(self, sweep: str) -> Book | None:
        """The ledger, opened for one sweep; None where there is none."""
        return Book(sweep, self.actor, self.epoch) if self.recorded else None

    def stays(self, server: ServerState) -> str | None:
        """Why nothing may be repaired, given what the server says by now."""
        if self.schema is None:
            return self.stay
        if self.schema.faults or server.ledger != self.schema.tables:
            return "ledger"
        return self.stay

    def fence(self, undos: int) -> Query | None:
        """What each repairing transaction of a sweep begins with.

        Args:
            undos: how often rows had been put back when the sweep looked.
        """
        if self.schema is None or not self.recorded:
            return None
        if self.epoch is None:
            return fence.of_person(undos, pauses=self.pausable)
        return fence.of_daemon(self.actor, self.epoch, undos)
