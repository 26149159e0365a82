"""What the ledger has of a period: what was repaired and why, and what of it was taken back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

from queuewarden.adapters.db.session import Query
from queuewarden.engine.upkeep.report.build import Recorded
from queuewarden.engine.upkeep.report.values import Repairs

if TYPE_CHECKING:
    from queuewarden.adapters.db.session import Session
    from queuewarden.engine.upkeep.report.values import Frame

REASONS = 200
"""Reasons that are told apart, the most frequent ones."""

OTHER = "other reasons"

_WITHIN = (
    b" FROM queuewarden.changes AS c WHERE c.environment = %(environment)s"
    b" AND c.at >= to_timestamp(%(since)s::float8) AND c.at < to_timestamp(%(until)s::float8)"
)
_ROWS = b"sum(c.last_id - c.first_id + 1)::int8"
_REPAIRS = (
    b"SELECT g.queue, g.check_name, g.event, CASE WHEN g.n <= %(reasons)s THEN g.reason END,"
    b" sum(g.rows)::int8 FROM (SELECT c.queue, c.check_name, c.event, c.reason, "
    + _ROWS
    + b" AS rows, row_number() OVER (ORDER BY "
    + _ROWS
    + b" DESC, c.queue, c.check_name, c.event, c.reason) AS n"
    + _WITHIN
    + b" AND c.undoes IS NULL GROUP BY 1, 2, 3, 4) AS g GROUP BY 1, 2, 3, 4 ORDER BY 5 DESC, 1, 2, 3, 4"
)
_BY_HOUR = (
    b"SELECT floor(extract(epoch FROM c.at) / 3600)::int8 * 3600, "
    + _ROWS
    + _WITHIN
    + b" AND c.undoes IS NULL GROUP BY 1"
)
_TAKEN_BACK = b"SELECT coalesce(" + _ROWS + b", 0)" + _WITHIN + b" AND c.undoes IS NOT NULL"


async def recorded(session: Session, frame: Frame) -> Recorded:
    """What was repaired in the period.

    Raises:
        psycopg.Error: as the server reports it.
    """
    given = {"environment": frame.environment, "since": float(frame.since), "until": float(frame.until)}
    queries = [
        Query(_REPAIRS, given | {"reasons": REASONS}),
        Query(_BY_HOUR, given),
        Query(_TAKEN_BACK, given),
    ]
    answers = []
    for answer in await session.read(queries):
        if isinstance(answer, psycopg.Error):
            raise answer
        answers.append(answer)
    repairs, by_hour, ((taken_back,),) = answers
    return Recorded(
        tuple(
            Repairs(queue, check, event, OTHER if reason is None else reason, rows)
            for queue, check, event, reason, rows in repairs
        ),
        {int(at): int(rows) for at, rows in by_hour},
        int(taken_back),
    )
