"""Whether two connections lead to the same database of the same server."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from queuewarden.adapters.db.deadline import deadline
from queuewarden.adapters.db.session import Query

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from queuewarden.adapters.db.session import Session

_LOCK = b"SELECT pg_advisory_xact_lock(%(number)s)"
_SEEN = b"""
SELECT EXISTS (SELECT FROM pg_catalog.pg_locks AS l
                WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
                  AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
                  AND (l.classid::int8 << 32 | l.objid::int8) = %(number)s)"""


async def meet(connection: AsyncConnection, session: Session, within: float) -> bool:
    """Whether the session sees a lock that the connection takes for a moment; poolers do not matter.

    Names and identifiers would not tell: a copy of a server has the same ones.

    Args:
        connection: in autocommit, idle.
        session: the other one.
        within: seconds for all of it.

    Raises:
        UnavailableError, psycopg.Error: one of them failed.
    """
    given = {"number": secrets.randbits(62)}
    async with deadline(connection, within), connection.transaction():
        await connection.execute(_LOCK, given)
        ((seen,),) = await session.rows(Query(_SEEN, given))
    return bool(seen)
