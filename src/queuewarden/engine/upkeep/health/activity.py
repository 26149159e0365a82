"""Sessions: statements that run for long, and transactions that stay open while nothing runs."""

from __future__ import annotations

from queuewarden.adapters.db.session import Query, Row
from queuewarden.adapters.db.upkeep import APPLICATION
from queuewarden.engine.upkeep.health.signs import Sign, Told, Ward, Where, worst
from queuewarden.engine.upkeep.health.wording import end, span, statement, who

TOPIC = "sessions"
LONG, IDLE = "long_query_seconds", "idle_in_transaction_seconds"
METRICS = frozenset({LONG, IDLE})

# What maintains or copies tables takes long by nature; what waits for a lock is told of with who holds it.
# A backup of ours keeps the snapshot of its dump open, within TIMEOUT: nobody should be told to end it.
_QUESTION = Query(
    rb"""
SELECT a.pid, a.backend_start, a.usename::text, a.application_name, a.state,
       extract(epoch FROM clock_timestamp() - a.query_start)::float8,
       extract(epoch FROM clock_timestamp() - a.state_change)::float8,
       left(a.query, 1000),
       a.backend_type IS NULL AS hidden
  FROM pg_catalog.pg_stat_activity AS a
 WHERE a.datname = current_database() AND a.pid <> pg_backend_pid() AND a.usesysid IS NOT NULL
   AND a.application_name IS DISTINCT FROM %(own)s
   AND (a.backend_type IS NULL OR a.backend_type = 'client backend' AND (
        a.state LIKE 'idle in transaction%%'
        OR a.state = 'active' AND a.wait_event_type IS DISTINCT FROM 'Lock'
           AND a.query !~* ('^(\s|/\*.*?\*/|--[^\n]*\n)*'
               '(vacuum|analyze|reindex|cluster|copy|refresh|create\s+(unique\s+)?index)\M')))
 ORDER BY hidden, least(a.query_start, a.state_change) LIMIT 200""",
    {"own": APPLICATION},
)
_SHOWN = 5


def question(ward: Ward) -> Query:
    """Sessions of this database that do something, or should."""
    del ward
    return _QUESTION


def told(ward: Ward, rows: list[Row]) -> Told:
    """The longest of each kind."""
    running, idle = [], []
    for pid, born, user, application, state, ran, since, query, hidden in rows:
        if hidden:
            continue
        session = who(pid, user, application)
        if state == "active":
            text = f"{session} has run one statement for {span(ran)}: {statement(query)}"
            running.append(Sign(Where(LONG), ran, text, (end(pid, born, cancel=True),)))
        else:
            text = (
                f"{session} has been idle in a transaction for {span(since)}, which keeps its locks and keeps"
                f" vacuum from its work; its last statement: {statement(query)}"
            )
            idle.append(Sign(Where(IDLE), since, text, (end(pid, born, cancel=False),)))
    signs = [one for kind in (running, idle) for one in sorted(kind, key=_value, reverse=True)[:_SHOWN]]
    hidden = sum(row[-1] for row in rows)
    if hidden:
        grant = f"sessions of others are hidden: GRANT pg_read_all_stats TO {ward.server.role}"
        return Told(tuple(signs), unseen=(grant,))
    readings = {Where(LONG): worst(map(_value, running)), Where(IDLE): worst(map(_value, idle))}
    return Told(tuple(signs), dict(readings))


def _value(sign: Sign) -> float:
    return sign.value
