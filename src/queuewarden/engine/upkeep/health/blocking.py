"""Locks: who waits for one, for how long, and who holds it."""

from __future__ import annotations

from queuewarden.adapters.db.session import Query, Row
from queuewarden.engine.upkeep.health.signs import Sign, Told, Ward, Where, worst
from queuewarden.engine.upkeep.health.wording import end, span, statement, who

TOPIC = "locks"
BLOCKED = "blocked_seconds"
METRICS = frozenset({BLOCKED})

# Servers before 14 do not tell since when a session waits: it is not longer than its statement runs. What
# is asked of the lock manager is asked for the ten longest waits alone. Who waits for an advisory lock is not
# asked for: applications elect leaders by them, and the others wait for as long as all is well.
_QUESTION = Query(
    rb"""
WITH waits AS MATERIALIZED (
    SELECT l.pid, a.usename::text AS who, a.application_name AS application,
           left(a.query, 1000) AS query,
           extract(epoch FROM clock_timestamp()
               - CASE WHEN current_setting('server_version_num')::int < 140000 THEN a.query_start
                      ELSE (to_jsonb(l) ->> 'waitstart')::timestamptz END)::float8 AS waited
      FROM pg_catalog.pg_locks AS l JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid
     WHERE NOT l.granted AND l.locktype <> 'advisory' AND a.datname = current_database()
     ORDER BY waited DESC NULLS LAST LIMIT 10)
SELECT w.*, h.holder, b.backend_start, b.usename::text, b.application_name, b.state,
       extract(epoch FROM clock_timestamp() - b.xact_start)::float8,
       EXISTS (SELECT FROM pg_catalog.pg_locks AS o
                WHERE o.pid = h.holder AND NOT o.granted AND o.locktype <> 'advisory')
  FROM waits AS w, LATERAL unnest(pg_catalog.pg_blocking_pids(w.pid)) AS h (holder)
  LEFT JOIN pg_catalog.pg_stat_activity AS b ON b.pid = h.holder""",
    {},
)
_PREPARED = "SELECT gid, prepared, owner FROM pg_prepared_xacts WHERE database = current_database();"


def question(ward: Ward) -> Query:
    """The longest waits of this database."""
    del ward
    return _QUESTION


def told(ward: Ward, rows: list[Row]) -> Told:
    """Each wait with one who holds what it waits for, rather one who does not wait as well."""
    del ward
    waits: dict[int, Row] = {}
    for row in rows:
        if row[0] not in waits or waits[row[0]][-1]:
            waits[row[0]] = row
    known = [row for row in waits.values() if row[4] is not None]
    unseen = ("for how long sessions wait for locks",) if len(known) < len(waits) else ()
    readings = {} if unseen else {Where(BLOCKED): worst(row[4] for row in known)}
    return Told(tuple(_sign(row) for row in known), dict(readings), unseen=unseen)


def _sign(row: Row) -> Sign:
    pid, user, application, query, waited, holder, born, by, as_, state, open_, waits = row
    text = f"{who(pid, user, application)} has waited for a lock for {span(waited)}"
    remedy: tuple[str, ...] = ()
    if holder == 0:
        text += ", which a prepared transaction holds"
        remedy = (_PREPARED,)
    else:
        doing = "waits itself" if waits else state
        for_ = f", its transaction open for {span(open_)}" if open_ is not None else ""
        text += f", which {who(holder, by, as_)} holds" + (f" ({doing}{for_})" if doing else "")
        if born is not None and not waits:
            remedy = (end(holder, born, cancel=state == "active"),)
    return Sign(Where(BLOCKED), waited, f"{text}; it wants to run: {statement(query)}", remedy)
