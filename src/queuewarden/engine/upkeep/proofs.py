"""How old the newest proven backup is, by the record: whoever made it, and on whatever machine it lies."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from queuewarden.adapters.db.session import Query

if TYPE_CHECKING:
    from collections.abc import Iterable

    from queuewarden.adapters.db.session import Session

STAMP = "%Y%m%dT%H%M%SZ"
"""When a backup was taken, in UTC, as its name begins."""

_LENGTH = 16
_CLOCKS_DIFFER = timedelta(hours=1)
_STAMP = re.compile(r"[0-9]{8}T[0-9]{6}Z")
_QUERY = b"""
SELECT clock_timestamp(),
       (SELECT min(started_at) FROM queuewarden.upkeep_runs
         WHERE environment = %(environment)s AND task IN ('backup', 'verify')),
       ARRAY(SELECT concat(result, ' ', did #>> '{0,subject}') FROM queuewarden.upkeep_runs
              WHERE environment = %(environment)s AND task = 'verify' AND result IN ('done', 'failed')
              ORDER BY number DESC LIMIT 100)"""


async def age(session: Session, environment: str) -> float | None:
    """Seconds since the newest proven backup was taken.

    Where none was proven: since backups were first heard of; None where they never were.

    Raises:
        psycopg.Error: as the server reports it.
    """
    ((now, since, tried),) = await session.rows(Query(_QUERY, {"environment": environment}))
    # A clock that was wrong when one was taken must not silence the alert until then.
    newest = max((taken for taken in _proven(tried) if taken < now + _CLOCKS_DIFFER), default=since)
    return None if newest is None else max(0.0, (now - newest).total_seconds())


def _proven(tried: Iterable[str]) -> Iterable[datetime]:
    """When those backups were taken whose last trial went well.

    Args:
        tried: result and backup of each trial, the latest first.
    """
    judged = set()
    for one in tried:
        result, _, backup = one.partition(" ")
        stamp = backup[:_LENGTH]
        if backup not in judged and result == "done" and _STAMP.fullmatch(stamp):
            yield datetime.strptime(stamp, STAMP).replace(tzinfo=UTC)
        judged.add(backup)
