"""Workers that register in another database: who is alive there, of those that our running jobs name."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from queuewarden.engine.catalog import read_relation
from queuewarden.engine.observe import latest_beat
from queuewarden.engine.render import compiled
from queuewarden.queues.sqltext import INTEGER, INTERVAL, TEXT, Name, Value, cast, folded, spelled
from queuewarden.queues.target import Fleet
from queuewarden.queues.terms import alive, dead, job, relation, running, shape, worker, workers_id

if TYPE_CHECKING:
    from collections.abc import Collection

    from psycopg.sql import Composable

    from queuewarden.adapters.db.session import Session
    from queuewarden.queues.target import Target

MOST = 10_000
"""Workers asked about in one sweep; of a fleet with more at work, nothing is known."""


def fleet_name(target: Target) -> str | None:
    """Names the table where a queue's workers register, the same for every queue of an environment."""
    mapped = target.mapping.workers
    if mapped is None:
        return None
    if target.workers is None:
        return f"{mapped.registered_in} {mapped.table}"
    return f"{target.workers.schema}.{target.workers.name}"


async def named_workers(session: Session, target: Target) -> tuple[str, ...] | None:
    """The workers that this queue's running jobs name, as text, at most `MOST`; None where that failed.

    Raises:
        psycopg.OperationalError, UnavailableError: the connection is lost or the deadline struck.
    """
    column = target.mapping.jobs.worker
    if column is None:
        return ()
    query = compiled(
        sql.SQL("SELECT DISTINCT {} FROM {} AS j WHERE {} AND {} IS NOT NULL LIMIT {}").format(
            cast(job(column), TEXT),
            relation(target.jobs),
            running(target),
            job(column),
            Value("most", MOST, INTEGER),
        )
    )
    (result,) = await session.read([query])
    return None if isinstance(result, psycopg.Error) else tuple(row[0] for row in result)


async def read_fleet(session: Session, target: Target, names: Collection[str]) -> Fleet | None:
    """Look workers up where they register.

    None, that is, unknown, where their table is not as mapped, and where heartbeats tell nothing: on a
    standby, which lags behind, and until ``dead_after`` has passed since that server's start. A name that
    several rows have is dead only where all of them are.

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
    if found is None or len(found.schemas) > 1 or {mapped.id, mapped.heartbeat} - set(found.shape.columns):
        return None
    if mapped.started_at not in found.shape.columns:
        mapped = replace(mapped, started_at=None)
    there = replace(target, workers=found.shape, mapping=replace(target.mapping, workers=mapped))
    table = relation(shape(there, "workers"))
    ((reliable,),) = await session.rows(
        compiled(
            sql.SQL(
                "SELECT NOT pg_is_in_recovery() AND pg_postmaster_start_time() < statement_timestamp() - {}"
            ).format(Value("dead_after", target.limits.dead_after, INTERVAL))
        )
    )
    if not reliable:
        return None
    rows = await session.rows(
        compiled(
            sql.SQL(
                "SELECT n.name, CASE WHEN bool_or(({dead}) IS FALSE) THEN FALSE"
                " WHEN bool_and(({dead}) IS TRUE) THEN TRUE END, NULL, NULL"
                " FROM unnest({names}) AS n(name) JOIN {table} AS w ON {same} GROUP BY n.name"
                " UNION ALL SELECT NULL, NULL, (SELECT count(*) FROM {table} AS w WHERE {alive}),"
                " (SELECT {latest} FROM {table} AS w)"
            ).format(
                same=_same(there),
                dead=dead(there),
                alive=alive(there),
                latest=latest_beat(there),
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
        latest=rows[-1][3],
    )


def _same(there: Target) -> Composable:
    """Worker ``w`` has name ``n``, the text of a job's column; other types are spelled in other ways."""
    id_, ours = workers_id(there), there.jobs.columns[str(there.mapping.jobs.worker)]
    name, theirs = Name("n", "name"), shape(there, "workers").columns[id_]
    if theirs.family == "text" and (ours.own_equality or theirs.own_equality):
        return sql.SQL("{} = {}").format(folded(worker(id_)), folded(name))
    if ours.type == theirs.type or ours.family == theirs.family == "text":
        return sql.SQL("{} = {}").format(cast(worker(id_), TEXT), name)
    return sql.SQL("{} = {}").format(spelled(worker(id_)), spelled(name))
