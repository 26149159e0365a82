"""Who is told of what guards do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from queuewarden.adapters.db.session import Session
    from queuewarden.application.guard import Guard
    from queuewarden.engine.ledger.schema import Schema
    from queuewarden.engine.report import SweepReport


class Audience(Protocol):
    """Whoever watches guards. None of these raises, or waits."""

    def swept(self, guard: Guard, report: SweepReport) -> None:
        """A sweep ended; the status is up to date."""

    def interrupted(self, guard: Guard, report: SweepReport) -> None:
        """A sweep was cut short; the report tells what it had done by then."""

    def failed(self, guard: Guard, error: BaseException | None) -> None:
        """A sweep, or connecting for it, failed; the status says why."""

    def changed(self, guard: Guard) -> None:
        """The status has changed."""

    async def keep(self, guard: Guard, session: Session, schema: Schema) -> None:
        """A sweep ended well, and its session is free; whatever fails ends here."""
