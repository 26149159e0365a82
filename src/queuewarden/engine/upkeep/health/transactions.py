"""Transaction ids: how near the server is to the point where it refuses writes.

It counts from the oldest of its databases, whichever that is, and refuses writes in all of them.
"""

from __future__ import annotations

from queuewarden.adapters.db.session import Query, Row
from queuewarden.engine.upkeep.health.signs import Sign, Told, Ward, Where, worst
from queuewarden.engine.upkeep.health.wording import literal, name, percent

TOPIC = "transaction ids"
WRAPAROUND = "wraparound"
METRICS = frozenset({WRAPAROUND})

_HALF = float(2**31)

# A table of another session's own counts for the database, but only that session can vacuum it.
_QUESTION = Query(
    b"""
SELECT greatest(age(d.datfrozenxid), mxid_age(d.datminmxid)), NULL, o.nspname, o.relname
  FROM pg_catalog.pg_database AS d LEFT JOIN LATERAL (
       SELECT n.nspname::text, c.relname::text
         FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
         LEFT JOIN pg_catalog.pg_class AS t ON t.oid = c.reltoastrelid
        WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't'
        ORDER BY greatest(age(c.relfrozenxid), mxid_age(c.relminmxid), age(t.relfrozenxid),
                          mxid_age(t.relminmxid)) DESC, c.relpages DESC LIMIT 3) AS o ON true
 WHERE d.datname = current_database()
UNION ALL
(SELECT greatest(age(d.datfrozenxid), mxid_age(d.datminmxid)), d.datname::text, NULL, NULL
   FROM pg_catalog.pg_database AS d WHERE d.datname <> current_database() ORDER BY 1 DESC, 2 LIMIT 1)""",
    {},
)


def question(ward: Ward) -> Query:
    """The age of the database, and its oldest tables; and of the oldest other one."""
    del ward
    return _QUESTION


def told(ward: Ward, rows: list[Row]) -> Told:
    """The share that is used up here, and by another database where that is older."""
    del ward
    own = [row for row in rows if row[1] is None]
    signs = [_own(own)] if own else []
    for age, database, _, _ in rows:
        if database is not None and all(age > one[0] for one in own):
            share = age / _HALF
            text = (
                f"{percent(share)} of the transaction ids are used up before the server refuses writes, here"
                f" too, by its database {literal(database)}: connect to that one for the statement"
            )
            signs.append(Sign(Where(WRAPAROUND), share, text, ("VACUUM (FREEZE);",)))
    return Told(tuple(signs), {Where(WRAPAROUND): worst(one.value for one in signs)} if signs else {})


def _own(rows: list[Row]) -> Sign:
    share = rows[0][0] / _HALF
    oldest = [name(schema, table) for _, _, schema, table in rows if table is not None]
    text = (
        f"{percent(share)} of the transaction ids are used up before the server refuses writes;"
        f" the oldest tables: {', '.join(oldest)}"
    )
    return Sign(Where(WRAPAROUND), share, text, tuple(f"VACUUM (FREEZE) {table};" for table in oldest))
