"""Samples in the ledger's schema: written, gathered into longer spans, forgotten, read.

Moments go as seconds since 1970, so that no time zone of a role or a server decides where a day begins.
"""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING

from queuewarden.adapters.db.session import Query
from queuewarden.engine.upkeep.samples import KEEP, LENGTH, Readings, Sample, merged, readings, start

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from queuewarden.adapters.db.session import Row, Session
    from queuewarden.engine.upkeep.samples import Span

AT_ONCE = 500
"""Samples that one statement writes."""

MOST = 48
"""Spans that are gathered at once; what is left is for the next time."""

_EPOCH = b"extract(epoch FROM at)::int8"
_OF = b" FROM queuewarden.samples WHERE environment = %(environment)s AND span = %(span)s"
_SAVE = b"""
INSERT INTO queuewarden.samples (environment, queue, at, span, readings)
SELECT %(environment)s, u.queue, to_timestamp(u.at), %(span)s, u.readings::jsonb
  FROM unnest(%(queues)s::text[], %(ats)s::float8[], %(readings)s::text[]) AS u(queue, at, readings)
    ON CONFLICT (environment, queue, span, at) DO UPDATE SET readings = EXCLUDED.readings
 WHERE EXCLUDED.readings -> 'n' >= samples.readings -> 'n'"""
_LAST = b"SELECT max(" + _EPOCH + b")" + _OF + b" AND queue = ''"
_STARTS = (
    b"SELECT DISTINCT floor(extract(epoch FROM at) / %(length)s)::int8 * %(length)s" + _OF + b" AND at >="
    b" to_timestamp(%(since)s::float8) AND at < to_timestamp(%(until)s::float8) ORDER BY 1 LIMIT %(most)s"
)
_READ = (
    b"SELECT queue, " + _EPOCH + b", readings" + _OF + b" AND at >= to_timestamp(%(since)s::float8)"
    b" AND at < to_timestamp(%(until)s::float8)"
)
_QUEUES = b"SELECT DISTINCT queue" + _OF + b" AND at >= to_timestamp(%(since)s::float8)"
_FORGET = b"""
DELETE FROM queuewarden.samples
 WHERE span = %(span)s AND at < to_timestamp(%(until)s::float8) AND ctid = ANY(ARRAY(
       SELECT s.ctid FROM queuewarden.samples AS s
        WHERE s.span = %(span)s AND s.at < to_timestamp(%(until)s::float8) LIMIT 5000))
RETURNING 1"""


async def save(session: Session, environment: str, span: Span, samples: Sequence[Sample]) -> None:
    """Write samples; one that is there stays where it is of more sweeps.

    Raises:
        psycopg.Error: as the server reports it.
    """
    for at in range(0, len(samples), AT_ONCE):
        part = samples[at : at + AT_ONCE]
        given = {
            "environment": environment,
            "span": span,
            "queues": [one.queue for one in part],
            "ats": [float(one.at) for one in part],
            "readings": [json.dumps(one.readings.document(), separators=(",", ":")) for one in part],
        }
        await session.together([Query(_SAVE, given)])


async def last(session: Session, environment: str, span: Span) -> int | None:
    """When the latest sample of an environment began.

    Raises:
        psycopg.Error: as the server reports it.
    """
    ((moment,),) = await session.rows(Query(_LAST, {"environment": environment, "span": span}))
    return None if moment is None else int(moment)


async def gather(session: Session, environment: str, finer: Span, coarser: Span, now: float) -> int:
    """Make samples of longer spans, as far as these are over, of the finer ones; how many spans.

    What is killed amid it is made anew the next time.

    Raises:
        psycopg.Error: as the server reports it.
    """
    before = await last(session, environment, coarser)
    length = LENGTH[coarser]
    since = 0.0 if before is None else float(before + length)
    within = {"environment": environment, "span": finer, "since": since, "until": float(start(now, coarser))}
    given: dict[str, object] = {**within, "length": length, "most": MOST}
    starts = [int(moment) for (moment,) in await session.rows(Query(_STARTS, given))]
    for moment in starts:
        within |= {"since": float(moment), "until": float(moment + length)}
        several: defaultdict[str, list[Readings]] = defaultdict(list)
        for queue, _, document in await session.rows(Query(_READ, within)):
            several[queue].append(readings(document))
        several[""] = several.pop("", [])  # the last one: it tells how far gathering has come
        whole = [Sample(queue, moment, coarser, merged(found)) for queue, found in several.items()]
        await save(session, environment, coarser, whole)
    return len(starts)


async def forget(session: Session, now: float) -> int:
    """Delete samples of any environment that are older than they are kept, 5000 of a kind at most; how many.

    Raises:
        psycopg.Error: as the server reports it.
    """
    queries = [
        Query(_FORGET, {"span": span, "until": now - keep.total_seconds()}) for span, keep in KEEP.items()
    ]
    return sum(len(rows) for rows in await session.together(queries))


async def queues(session: Session, environment: str, since: float) -> list[str]:
    """The queues that hours or five minutes since a moment know of.

    Raises:
        psycopg.Error: as the server reports it.
    """
    found = set()
    for span in ("1h", "5m"):
        given = {"environment": environment, "span": span, "since": since}
        found |= {queue for (queue,) in await session.rows(Query(_QUEUES, given))}
    return sorted(found - {""})


async def series(
    session: Session, environment: str, queue: str, span: Span, since: float, until: float
) -> list[Sample]:
    """The samples of a queue (``""``: the environment) that begin within a time, the oldest first.

    Raises:
        psycopg.Error: as the server reports it.
    """
    given = {"environment": environment, "queue": queue, "span": span, "since": since, "until": until}
    rows = await session.rows(Query(_READ + b" AND queue = %(queue)s ORDER BY at", given))
    return list(_samples(rows, span))


def _samples(rows: Sequence[Row], span: Span) -> Iterator[Sample]:
    for queue, at, document in rows:
        yield Sample(queue, int(at), span, readings(document))
