"""Asking for what may be refused: a table may be locked, hidden, or too large to answer in time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

from queuewarden.engine.render import compiled

if TYPE_CHECKING:
    from psycopg.sql import Composable

    from queuewarden.adapters.db.session import Row, Session


async def tried(session: Session, query: Composable) -> list[Row] | None:
    """The rows; None where they may not be read, or not in time.

    Raises:
        psycopg.OperationalError, UnavailableError: the connection is lost or the deadline struck.
    """
    try:
        return await session.rows(compiled(query))
    except psycopg.Error:
        if not session.usable:
            raise
        return None
