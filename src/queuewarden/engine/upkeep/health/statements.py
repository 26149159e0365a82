"""Slow statements on the tables of queues, where the extension pg_stat_statements tells of them."""

from __future__ import annotations

from psycopg import sql

from queuewarden.adapters.db.session import Query, Row
from queuewarden.engine.upkeep.health.signs import Sign, Told, Ward, Where, worst
from queuewarden.engine.upkeep.health.wording import span, statement
from queuewarden.queues.sqltext import Name

TOPIC = "statements"
SLOW = "slow_statement_seconds"
METRICS = frozenset({SLOW})

LEAST_CALLS = 100
"""Calls below which a mean says nothing."""

_RENAMED = 130_000
_QUESTION = """
SELECT s.queryid, s.calls, (s.{mean} / 1000)::float8, left(s.query, 1000), s.queryid IS NULL
  FROM {view} AS s
 WHERE s.dbid = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = current_database())
   AND (s.queryid IS NULL OR s.calls >= {calls}
        AND EXISTS (SELECT FROM unnest(CAST(%(tables)s AS text[])) AS t (name)
                     WHERE strpos(lower(s.query), lower(t.name)) > 0))
 ORDER BY s.queryid IS NULL DESC, s.{mean} DESC LIMIT 3"""


def question(ward: Ward) -> Query | None:
    """The slowest ones, on average, that name a table of a queue."""
    if ward.server.statements is None or not ward.targets:
        return None
    shapes = [
        shape for target in ward.targets for shape in (target.jobs, target.workers) if shape is not None
    ]
    text = sql.SQL(_QUESTION).format(
        mean=sql.Identifier(_mean(ward)),
        view=Name(ward.server.statements, "pg_stat_statements"),
        calls=sql.Literal(LEAST_CALLS),
    )
    return Query(text.as_bytes(None), {"tables": sorted({shape.name for shape in shapes})})


def told(ward: Ward, rows: list[Row]) -> Told:
    """The slowest ones."""
    if any(row[-1] for row in rows):
        grant = f"statements of others are hidden: GRANT pg_read_all_stats TO {ward.server.role}"
        return Told(unseen=(grant,))
    view = sql.Identifier(ward.server.statements or "", "pg_stat_statements")
    look = sql.SQL("SELECT calls, {mean}, rows, query FROM {view} WHERE queryid = {number};")
    mean_column = sql.Identifier(_mean(ward))
    signs = tuple(
        Sign(
            Where(SLOW),
            mean,
            f"a statement takes {span(mean)} on average, in {calls} calls: {statement(query)}",
            (look.format(mean=mean_column, view=view, number=sql.Literal(number)).as_string(None),),
        )
        for number, calls, mean, query, _ in rows
    )
    return Told(signs, {Where(SLOW): worst(sign.value for sign in signs)})


def _mean(ward: Ward) -> str:
    return "mean_exec_time" if ward.server.version >= _RENAMED else "mean_time"
