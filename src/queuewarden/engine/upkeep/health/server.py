"""The server: who it is, how many connections are left, and how many reads its cache serves."""

from __future__ import annotations

from queuewarden.adapters.db.session import Query, Row
from queuewarden.engine.outcomes import LOAD
from queuewarden.engine.upkeep.health.signs import Server, Sign, Told, Ward, Where
from queuewarden.engine.upkeep.health.wording import percent

TOPIC = "connections and cache"
METRICS: frozenset[str] = frozenset()
"""None: sweeps ask for connections and cache more often."""

# pg_settings leaves out what the role may not see, where current_setting() would be an error.
WHO = Query(
    b"""
SELECT current_setting('server_version_num')::int, quote_ident(current_user),
       (SELECT n.nspname::text FROM pg_catalog.pg_extension AS e
          JOIN pg_catalog.pg_namespace AS n ON n.oid = e.extnamespace
         WHERE e.extname = 'pg_stat_statements' AND has_schema_privilege(n.oid, 'USAGE')),
       (SELECT s.setting FROM pg_catalog.pg_settings AS s WHERE s.name = 'data_directory')""",
    {},
)
"""What becomes a `Server`."""

_WHO_CONNECTS = (
    "SELECT datname, usename, application_name, state, count(*) FROM pg_stat_activity"
    " WHERE backend_type = 'client backend' GROUP BY 1, 2, 3, 4 ORDER BY 5 DESC;"
)
_READS = (
    "SELECT relname, heap_blks_read, heap_blks_hit, idx_blks_read FROM pg_statio_user_tables"
    " ORDER BY heap_blks_read + idx_blks_read DESC NULLS LAST LIMIT 10;"
)


def question(ward: Ward) -> Query:
    """Its load."""
    del ward
    return LOAD


def told(ward: Ward, rows: list[Row]) -> Told:
    """Connections and cache."""
    del ward
    used, most, hits = rows[0]
    signs = []
    if most > 0:
        text = f"{used} of {most} connections are in use; who has them:"
        signs.append(Sign(Where("connections_used"), used / most, text, (_WHO_CONNECTS,)))
    if hits is not None:
        text = f"the cache serves {percent(hits)} of the block reads; what is read from disk:"
        signs.append(Sign(Where("cache_hits"), hits, text, (_READS,)))
    return Told(tuple(signs))


def server(rows: list[Row]) -> Server:
    """From the rows of `WHO`."""
    return Server(*rows[0])
