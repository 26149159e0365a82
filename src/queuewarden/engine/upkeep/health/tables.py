"""Tables of queues: size, dead rows, vacuum and statistics, index use, and how far transaction ids have run.

Two queues on one table: it counts as the first one's.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from queuewarden.adapters.db.session import Query, Row
from queuewarden.engine.upkeep.health.signs import LARGE, Sign, Told, Ward, Where
from queuewarden.engine.upkeep.health.wording import name, number, percent, span

if TYPE_CHECKING:
    from datetime import datetime

TOPIC = "tables"
DEAD, STALE, USE, OFF = "dead_rows", "stale_statistics", "index_use", "autovacuum_off"
METRICS = frozenset({DEAD, STALE, USE, OFF})

LEAST_ROWS = 10_000
"""Dead or changed rows below which nothing is said of them."""

LEAST_SCANS = 1000
"""Reads of a table below which nothing is said of how it is read."""

UNVACUUMED = 3600.0
"""Seconds for which autovacuum may be on its way: a busy queue has dead rows at any moment."""

UNANALYZED = 86_400.0
"""The same of statistics."""

# Not pg_stat_all_tables, which would be computed for every table of the database. Of a foreign table, which
# may be a partition, nothing of this holds.
_QUESTION = rb"""
SELECT c.oid::bigint, n.nspname::text, c.relname::text,
       pg_relation_size(c.oid), pg_table_size(c.oid), pg_indexes_size(c.oid),
       pg_stat_get_live_tuples(c.oid), pg_stat_get_dead_tuples(c.oid),
       pg_stat_get_mod_since_analyze(c.oid), c.reltuples::float8,
       v.vacuumed, v.analyzed,
       extract(epoch FROM statement_timestamp() - v.vacuumed)::float8,
       extract(epoch FROM statement_timestamp() - v.analyzed)::float8,
       pg_stat_get_numscans(c.oid),
       (SELECT sum(pg_stat_get_numscans(i.indexrelid))::bigint
          FROM pg_catalog.pg_index AS i WHERE i.indrelid = c.oid),
       greatest(age(c.relfrozenxid), mxid_age(c.relminmxid), age(t.relfrozenxid), mxid_age(t.relminmxid)),
       EXISTS (SELECT FROM pg_options_to_table(c.reloptions) AS o
                WHERE o.option_name = 'autovacuum_enabled' AND NOT o.option_value::boolean),
       current_setting('autovacuum')::boolean
  FROM pg_catalog.pg_class AS c
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_class AS t ON t.oid = c.reltoastrelid
  CROSS JOIN LATERAL (SELECT
       greatest(pg_stat_get_last_vacuum_time(c.oid), pg_stat_get_last_autovacuum_time(c.oid)),
       greatest(pg_stat_get_last_analyze_time(c.oid), pg_stat_get_last_autoanalyze_time(c.oid))
       ) AS v (vacuumed, analyzed)
 WHERE c.oid = ANY(CAST(%(oids)s AS oid[])) AND c.relkind <> 'f' ORDER BY 2, 3"""

_WRAPAROUND = float(2**31)


@dataclass(frozen=True, slots=True)
class Table:
    """One table, or partition, of a queue.

    Attributes:
        size: bytes of its rows alone; `whole` has what they keep elsewhere, too.
        since_vacuum, since_analyze: seconds; None: never, as far as is known.
        age: transactions since its oldest row was frozen.
        unvacuumed: autovacuum is switched off for it.
        autovacuum: it runs on this server at all.
    """

    oid: int
    schema: str
    table: str
    size: int
    whole: int
    indexes: int
    live: int
    dead: int
    changed: int
    rows: float
    vacuumed: datetime | None
    analyzed: datetime | None
    since_vacuum: float | None
    since_analyze: float | None
    scans: int
    index_scans: int | None
    age: int
    unvacuumed: bool
    autovacuum: bool

    @property
    def name(self) -> str:
        """As it stands in a statement."""
        return name(self.schema, self.table)


def question(ward: Ward) -> Query | None:
    """What the server counts of each table."""
    return Query(_QUESTION, {"oids": list(ward.tables)}) if ward.tables else None


def tables(rows: list[Row]) -> list[Table]:
    """From the rows of the question."""
    return [Table(*row) for row in rows]


def told(ward: Ward, rows: list[Row]) -> Told:
    """Of each queue the worst of its tables, and the sizes of all."""
    signs: list[Sign] = []
    figures: defaultdict[tuple[str, str], float] = defaultdict(float)
    found = tables(rows)
    for table in found:
        queue = ward.tables[table.oid]
        signs += _signs(queue, table)
        figures["table_bytes", queue] += table.whole
        figures["table_index_bytes", queue] += table.indexes
        figures["table_dead_rows", queue] += table.dead
        if (use := index_use(table)) is not None:
            known_use = ("table_index_use_ratio", queue)
            figures[known_use] = min(figures.get(known_use, 1.0), use)
        age = ("table_wraparound_ratio", queue)
        figures[age] = max(figures[age], table.age / _WRAPAROUND)
        for figure, at in (("vacuum", table.vacuumed), ("analyze", table.analyzed)):
            if at is not None:  # of many the one that has waited longest
                told_as = (f"table_last_{figure}_timestamp_seconds", queue)
                figures[told_as] = min(figures.get(told_as, at.timestamp()), at.timestamp())
    readings: dict[Where, float | None] = dict.fromkeys(
        Where(metric, queue) for metric in METRICS for queue in ward.queues
    )
    for sign in signs:
        known = readings.get(sign.where)
        pick = min if sign.where.metric == USE else max
        readings[sign.where] = sign.value if known is None else pick(known, sign.value)
    return Told(tuple(signs), readings, dict(figures))


def _signs(queue: str, table: Table) -> list[Sign]:
    found = (_off(queue, table), _dead(queue, table), _stale(queue, table), _use(queue, table))
    return [sign for sign in found if sign is not None]


def _off(queue: str, table: Table) -> Sign:
    off = table.unvacuumed or not table.autovacuum
    text = f"autovacuum is switched off for {table.name}"
    remedy: tuple[str, ...] = (f"ALTER TABLE {table.name} RESET (autovacuum_enabled);",)
    if not table.autovacuum:
        text = "autovacuum is switched off on this server"
        remedy = ("ALTER SYSTEM SET autovacuum = on;", "SELECT pg_reload_conf();")
    return Sign(Where(OFF, queue), float(off), text, remedy)


def _dead(queue: str, table: Table) -> Sign | None:
    if table.dead < LEAST_ROWS or (table.since_vacuum or UNVACUUMED) < UNVACUUMED:
        return None
    share = table.dead / (table.live + table.dead)
    when = (
        f"{span(table.since_vacuum)} ago" if table.since_vacuum is not None else "never, as far as is known"
    )
    text = f"{table.dead} rows of {table.name} are dead, {percent(share)}; last vacuumed {when}"
    return Sign(Where(DEAD, queue), share, text, (f"VACUUM (ANALYZE) {table.name};",))


def _stale(queue: str, table: Table) -> Sign | None:
    if table.changed < LEAST_ROWS or (table.since_analyze or UNANALYZED) < UNANALYZED:
        return None
    ratio = table.changed / max(table.rows, 1.0)
    when = f"were made {span(table.since_analyze)} ago" if table.since_analyze else "were never made"
    text = (
        f"the statistics of {table.name}, by which its queries are planned, {when};"
        f" {table.changed} rows have changed since"
    )
    return Sign(Where(STALE, queue), ratio, text, (f"ANALYZE {table.name};",))


def index_use(table: Table) -> float | None:
    """The share of its reads that go by an index; None where it is small, or hardly read."""
    by_index = table.index_scans or 0
    reads = table.scans + by_index
    return by_index / reads if table.size >= LARGE and reads >= LEAST_SCANS else None


def _use(queue: str, table: Table) -> Sign | None:
    share = index_use(table)
    if share is None:
        return None
    text = (
        f"{percent(share)} of the reads of {table.name} go by an index; it was read whole"
        f" {number(table.scans)} times"
    )
    return Sign(Where(USE, queue), share, text, (_WHOLE.format(table.oid),))


_WHOLE = "SELECT relname, seq_scan, seq_tup_read, idx_scan FROM pg_stat_all_tables WHERE relid = {};"
