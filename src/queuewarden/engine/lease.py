"""The lease: the right to repair a database, held by one daemon at a time.

It is one row in each database, so that two names for one database are one. A repair locks the row ``FOR KEY
SHARE`` for as long as it lasts; renewing changes no column of a unique index and passes that lock, taking
over locks the row ``FOR UPDATE`` and so waits for repairs in flight.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from queuewarden.adapters.db.session import Query

if TYPE_CHECKING:
    from datetime import timedelta

    from queuewarden.adapters.db.session import Session

_RENEW = b"""
UPDATE queuewarden.lease SET until = clock_timestamp() + %(ttl)s
 WHERE holder = %(holder)s AND until > clock_timestamp()"""
_WAIT = b"""
SELECT FROM queuewarden.lease WHERE until <= clock_timestamp() FOR UPDATE"""
_TAKE = b"""
UPDATE queuewarden.lease SET holder = %(holder)s, epoch = epoch + 1, since = clock_timestamp(),
       until = clock_timestamp() + %(ttl)s
 WHERE until <= clock_timestamp()"""
_LOOK = b"""
SELECT CASE WHEN until > clock_timestamp() THEN holder END, epoch FROM queuewarden.lease"""
_RELEASE = b"""
UPDATE queuewarden.lease SET holder = NULL, until = '-infinity' WHERE holder = %(holder)s"""


@dataclass(frozen=True, slots=True)
class Lease:
    """The lease as it was just seen.

    Attributes:
        holder: None where nobody has it, or its time is over.
        epoch: grows by one with each holder that takes it.
    """

    holder: str | None
    epoch: int


async def claim(session: Session, holder: str, ttl: timedelta) -> Lease:
    """Renew our lease, else take it where it is free, else see who has it; one round trip.

    Args:
        session: a connection; not the one that repairs.
        holder: names one run of one daemon.
        ttl: how long it shall outlive its holder.

    Raises:
        psycopg.Error: as the server reports it; 55P03 where a repair in flight keeps the row.
    """
    given = {"holder": holder, "ttl": ttl}
    queries = [Query(text, given) for text in (_RENEW, _WAIT, _TAKE)]
    *_, (row,) = await session.together([*queries, Query(_LOOK, {})])
    return Lease(*row)


async def look(session: Session) -> Lease:
    """See who has it.

    Raises:
        psycopg.Error: as the server reports it.
    """
    (row,) = await session.rows(Query(_LOOK, {}))
    return Lease(*row)


async def release(session: Session, holder: str) -> None:
    """Give it up, so that another daemon need not wait.

    Raises:
        psycopg.Error: as the server reports it.
    """
    await session.together([Query(_RELEASE, {"holder": holder})])
