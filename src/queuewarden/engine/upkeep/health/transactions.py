"""Transaction ids: how near the database is to the point where its server refuses writes."""

from __future__ import annotations

from queuewarden.adapters.db.session import Query, Row
from queuewarden.engine.upkeep.health.signs import Sign, Told, Ward, Where
from queuewarden.engine.upkeep.health.wording import name, percent

TOPIC = "transaction ids"
WRAPAROUND = "wraparound"
METRICS = frozenset({WRAPAROUND})

_HALF = float(2**31)

# A table of another session's own counts for the database, but only that session can vacuum it.
_QUESTION = Query(
    b"""
SELECT greatest(age(d.datfrozenxid), mxid_age(d.datminmxid)), o.nspname, o.relname
  FROM pg_catalog.pg_database AS d LEFT JOIN LATERAL (
       SELECT n.nspname::text, c.relname::text
         FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
         LEFT JOIN pg_catalog.pg_class AS t ON t.oid = c.reltoastrelid
        WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't'
        ORDER BY greatest(age(c.relfrozenxid), mxid_age(c.relminmxid), age(t.relfrozenxid),
                          mxid_age(t.relminmxid)) DESC, c.relpages DESC LIMIT 3) AS o ON true
 WHERE d.datname = current_database()""",
    {},
)


def question(ward: Ward) -> Query:
    """The age of the database, and its oldest tables."""
    del ward
    return _QUESTION


def told(ward: Ward, rows: list[Row]) -> Told:
    """The share that is used up."""
    del ward
    if not rows:
        return Told()
    share = rows[0][0] / _HALF
    oldest = [name(schema, table) for _, schema, table in rows if table is not None]
    text = (
        f"{percent(share)} of the transaction ids are used up before the server refuses writes;"
        f" the oldest tables: {', '.join(oldest)}"
    )
    remedy = tuple(f"VACUUM (FREEZE) {table};" for table in oldest)
    return Told((Sign(Where(WRAPAROUND), share, text, remedy),), {Where(WRAPAROUND): share})
