"""A repairing transaction, as those who write in it see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from queuewarden.adapters.db.session import Query, Row, Session


@dataclass(frozen=True, slots=True)
class Transaction:
    """An open repairing transaction.

    Attributes:
        role_path: see `Session.transaction`. A statement is parsed and planned under our own path, so that
            its operators are the server's; while it runs it switches to this one, which triggers then see.
    """

    session: Session
    role_path: str | None = None

    async def execute(self, query: Query) -> list[Row]:
        """Run one statement.

        Raises:
            psycopg.Error: as the server reports it; the transaction is rolled back.
        """
        return await self.session.execute(query, own_names=self.role_path is not None)
