"""Only a primary is guarded: a standby is told so before anything else is said of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from queuewarden.adapters.db.session import Query
from queuewarden.errors import UnavailableError

if TYPE_CHECKING:
    from queuewarden.adapters.db.session import Session

STANDBY = "a standby: only the primary is guarded"

_RECOVERY = Query(b"SELECT pg_is_in_recovery()", {})


async def require_primary(session: Session) -> None:
    """Return where the server is a primary.

    Raises:
        UnavailableError: it is a standby.
        psycopg.Error: it did not answer.
    """
    ((standby,),) = await session.rows(_RECOVERY)
    if standby:
        raise UnavailableError(STANDBY)
