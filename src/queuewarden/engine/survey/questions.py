"""Further questions about a table whose states and columns are known: workers, lanes, run times."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

from queuewarden.engine.survey.rows import moment, state_is
from queuewarden.engine.survey.trying import tried
from queuewarden.queues.proposal.fleet import held_against
from queuewarden.queues.proposal.lanes import MOST_ROWS
from queuewarden.queues.proposal.names import NUMBERS, weight
from queuewarden.queues.sqltext import INTEGER, TEXT, Name, Value, cast, commas

if TYPE_CHECKING:
    from psycopg.sql import Composable

    from queuewarden.adapters.db.session import Session
    from queuewarden.queues.proposal.choices import Draft
    from queuewarden.queues.proposal.fleet import Fleet
    from queuewarden.queues.proposal.lanes import Numbered

_JOBS, _WORKERS = 500, 200
_LATEST = 5000
_ENOUGH = 20


async def matched(session: Session, draft: Draft, fleet: Fleet) -> Fleet:
    """A candidate for the workers table, with how many of the workers that jobs name are in it.

    Raises:
        psycopg.Error: the connection was lost.
    """
    jobs, worker = draft.table, draft.role("worker")
    if worker is None:
        return fleet
    start, born = draft.role("started_at"), fleet.started_at
    started: Composable = sql.SQL("NULL::float8")
    if start is not None:
        started = moment(jobs.column(start), draft.columns.epoch)
    lives: Composable = sql.SQL("NULL::float8") if born is None else moment(fleet.table.column(born))
    running = state_is(jobs, draft.states, "running")
    for where in (running, None):
        # Workers of jobs that ended long ago may be gone: that they are known proves something, else nothing.
        condition = sql.SQL("{} IS NOT NULL").format(Name(worker))
        if where is not None:
            condition = sql.SQL("{} AND {}").format(where, condition)
        query = sql.SQL(
            "SELECT count(*), count(w.id), count(*) FILTER (WHERE j.started < w.born - 1)"
            " FROM (SELECT s.name, min(s.started) AS started FROM (SELECT {} AS name, {} AS started FROM {}"
            " WHERE {} LIMIT {}) AS s GROUP BY 1 LIMIT {}) AS j"
            " LEFT JOIN (SELECT {} AS id, {} AS born FROM {}) AS w ON w.id = j.name"
        ).format(
            cast(Name(worker), TEXT),
            started,
            Name(jobs.schema, jobs.name),
            condition,
            Value("jobs", _JOBS, INTEGER),
            Value("workers", _WORKERS, INTEGER),
            cast(Name(fleet.id), TEXT),
            lives,
            Name(fleet.table.schema, fleet.table.name),
        )
        rows = await tried(session, query)
        if not rows or not rows[0][0]:
            continue
        named, known, younger = rows[0]
        if where is not None or known:
            return held_against(fleet, named, known, younger if where is not None else 0)
    return fleet


async def positioned(session: Session, draft: Draft, asked: Numbered) -> list[dict[str, object]]:
    """Waiting rows with their positions: the heads of all lanes, whole up to some position.

    Raises:
        psycopg.Error: the connection was lost.
    """
    table = draft.table
    told = []
    for name in asked.columns:
        column = table.column(name)
        if name in asked.times and column.family != "number":
            told.append(moment(column))
        elif name in asked.times or weight(name, NUMBERS["priority"]) or name == asked.column:
            told.append(sql.SQL("CAST({} AS float8)").format(Name(name)))
        else:
            told.append(cast(Name(name), TEXT))
    query = sql.SQL("SELECT {} FROM {} WHERE {} AND {} IS NOT NULL ORDER BY {} LIMIT {}").format(
        commas(told),
        Name(table.schema, table.name),
        state_is(table, draft.states, "waiting"),
        Name(asked.column),
        Name(asked.column),
        Value("most", MOST_ROWS, INTEGER),
    )
    rows = [dict(zip(asked.columns, row, strict=True)) for row in await tried(session, query) or ()]
    if len(rows) == MOST_ROWS:
        last = rows[-1][asked.column]
        rows = [row for row in rows if row[asked.column] != last]
    return rows


async def longest(session: Session, draft: Draft) -> float | None:
    """How long one run in a hundred took, or longer, of the latest; None where too few ended.

    Raises:
        psycopg.Error: the connection was lost.
    """
    table, start, end = draft.table, draft.role("started_at"), draft.role("finished_at")
    if start is None or end is None or table.column(start).family != table.column(end).family:
        return None
    unit = draft.columns.epoch
    order: Composable = sql.SQL("")
    if len(table.key) == 1:
        order = sql.SQL("ORDER BY {} DESC ").format(Name(table.key[0]))
    query = sql.SQL(
        "SELECT count(*), percentile_disc(0.99) WITHIN GROUP (ORDER BY t.ended - t.started)"
        " FROM (SELECT {} AS started, {} AS ended FROM {} {}LIMIT {}) AS t WHERE t.ended >= t.started"
    ).format(
        moment(table.column(start), unit),
        moment(table.column(end), unit),
        Name(table.schema, table.name),
        order,
        Value("latest", _LATEST, INTEGER),
    )
    rows = await tried(session, query)
    return rows[0][1] if rows and rows[0][0] >= _ENOUGH else None
