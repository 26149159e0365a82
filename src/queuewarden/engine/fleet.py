"""Workers that register in another database: who is alive there, of those that our running jobs name."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from psycopg import sql

from queuewarden.engine.catalog import read_relation
from queuewarden.engine.render import compiled
from queuewarden.queues.sqltext import INTEGER, TEXT, Value, cast
from queuewarden.queues.target import Fleet
from queuewarden.queues.terms import alive, dead, job, relation, running, shape, worker

if TYPE_CHECKING:
    from collections.abc import Collection

    from queuewarden.adapters.db.session import Session
    from queuewarden.queues.target import Target

MOST = 10_000
"""Workers asked about in one sweep."""


async def named_workers(session: Session, target: Target) -> tuple[str, ...]:
    """The workers that this queue's running jobs name, as text.

    Raises:
        psycopg.Error: as the server reports it.
    """
    column = target.mapping.jobs.worker
    if column is None:
        return ()
    rows = await session.rows(
        compiled(
            sql.SQL("SELECT DISTINCT {} FROM {} AS j WHERE {} AND {} IS NOT NULL LIMIT {}").format(
                cast(job(column), TEXT),
                relation(target.jobs),
                running(target),
                job(column),
                Value("most", MOST, INTEGER),
            )
        )
    )
    return tuple(row[0] for row in rows)


async def read_fleet(session: Session, target: Target, names: Collection[str]) -> Fleet | None:
    """Look workers up where they register; None where their table is not as mapped.

    Args:
        session: a connection to that database.
        target: the queue, as resolved in its own.
        names: ids of workers, as text.

    Raises:
        psycopg.Error: as the server reports it.
    """
    mapped = target.mapping.workers
    if mapped is None:
        return None
    found = await read_relation(session, mapped.table)
    if found is None or {mapped.id, mapped.heartbeat} - set(found.shape.columns):
        return None
    if mapped.started_at not in found.shape.columns:
        mapped = replace(mapped, started_at=None)
    there = replace(target, workers=found.shape, mapping=replace(target.mapping, workers=mapped))
    table = relation(shape(there, "workers"))
    rows = await session.rows(
        compiled(
            sql.SQL(
                "SELECT {id}, {dead}, (SELECT count(*) FROM {table} AS w WHERE {alive})"
                " FROM {table} AS w WHERE {id} = ANY({names})"
                " UNION ALL SELECT NULL, NULL, (SELECT count(*) FROM {table} AS w WHERE {alive})"
            ).format(
                id=cast(worker(mapped.id), TEXT),
                dead=dead(there),
                alive=alive(there),
                table=table,
                names=Value("names", list(names), ("pg_catalog", "_text")),
            )
        )
    )
    known = {row[0]: row[1] for row in rows if row[0] is not None}
    return Fleet(
        live=tuple(name for name, silent in known.items() if silent is False),
        dead=tuple(name for name, silent in known.items() if silent),
        absent=tuple(name for name in names if name not in known),
        beating=rows[-1][2],
    )
