"""Indexes of the tables of queues: those that are invalid, there twice, or never used."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from queuewarden.adapters.db.session import Query, Row
from queuewarden.engine.upkeep.health.signs import Sign, Told, Ward, Where
from queuewarden.engine.upkeep.health.wording import name, size, span

TOPIC = "indexes"
INVALID, DUPLICATE, UNUSED = "invalid_indexes", "duplicate_indexes", "unused_indexes"
METRICS = frozenset({INVALID, DUPLICATE, UNUSED})

LEAST_BYTES = 1024 * 1024
"""Bytes of an index that nobody uses below which it is no matter."""

UNUSED_FOR = 7 * 86_400.0
"""Seconds that the statistics must reach back: some things are done once a week."""

# An index that is being built is invalid, too: whoever builds one, or drops it, holds this lock on its table.
# A crash of any backend loses all statistics; only those of the whole server then tell since when they are.
_QUESTION = rb"""
SELECT i.indrelid::bigint, t.relname::text, n.nspname::text, c.relname::text, pg_relation_size(c.oid),
       i.indisvalid AND i.indisready AND i.indislive,
       EXISTS (SELECT FROM pg_catalog.pg_locks AS l
                WHERE l.locktype = 'relation' AND l.relation = i.indrelid AND l.granted
                  AND l.database = (SELECT d.oid FROM pg_catalog.pg_database AS d
                                     WHERE d.datname = current_database())
                  AND l.mode = 'ShareUpdateExclusiveLock'),
       i.indisunique,
       i.indisprimary OR i.indisreplident OR i.indisclustered
       OR EXISTS (SELECT FROM pg_catalog.pg_constraint AS k WHERE k.conindid = c.oid),
       EXISTS (SELECT FROM pg_catalog.pg_inherits AS h WHERE h.inhrelid = c.oid),
       pg_stat_get_numscans(c.oid),
       ROW(c.relam, i.indkey::text, i.indclass::text, i.indcollation::text, i.indoption::text, i.indnkeyatts,
           pg_get_expr(i.indexprs, i.indrelid), pg_get_expr(i.indpred, i.indrelid),
           (SELECT c.reloptions FROM pg_catalog.pg_am AS m WHERE m.oid = c.relam AND m.amname <> 'btree'),
           ARRAY(SELECT a.attoptions::text FROM pg_catalog.pg_attribute AS a
                  WHERE a.attrelid = c.oid ORDER BY a.attnum))::text,
       coalesce(to_jsonb(i) ->> 'indnullsnotdistinct', 'false') || i.indimmediate,
       pg_get_indexdef(c.oid),
       extract(epoch FROM statement_timestamp() - coalesce(
           (SELECT d.stats_reset FROM pg_catalog.pg_stat_database AS d WHERE d.datname = current_database()),
           greatest(pg_postmaster_start_time(), b.stats_reset)))::float8
  FROM pg_catalog.pg_index AS i
  JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
  JOIN pg_catalog.pg_class AS t ON t.oid = i.indrelid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 CROSS JOIN pg_catalog.pg_stat_bgwriter AS b
 WHERE i.indrelid = ANY(CAST(%(oids)s AS oid[])) ORDER BY c.oid"""


@dataclass(frozen=True, slots=True)
class Index:
    """One index.

    Attributes:
        table_name: without schema, which is that of the index.
        changing: somebody builds or drops an index of its table, or vacuums it.
        needed: a constraint, the replica identity or CLUSTER goes by it.
        adopted: it is a part of a partitioned table's.
        key: what it indexes; the same for two that serve the same.
        strictness: how it is unique.
        since: seconds for which its scans have been counted.
    """

    table: int
    table_name: str
    schema: str
    index: str
    size: int
    valid: bool
    changing: bool
    unique: bool
    needed: bool
    adopted: bool
    scans: int
    key: str
    strictness: str
    definition: str
    since: float

    @property
    def name(self) -> str:
        """As it stands in a statement."""
        return name(self.schema, self.index)

    @property
    def on(self) -> str:
        """Its table, the same."""
        return name(self.schema, self.table_name)

    @property
    def drop(self) -> str:
        """How to drop it without stopping writers."""
        return f"DROP INDEX CONCURRENTLY {self.name};"


def question(ward: Ward) -> Query | None:
    """All indexes of each table."""
    return Query(_QUESTION, {"oids": list(ward.tables)}) if ward.tables else None


def told(ward: Ward, rows: list[Row]) -> Told:
    """Which of them are invalid, there twice, or never used, and how many of each queue."""
    signs: list[Sign] = []
    by_table: defaultdict[int, list[Index]] = defaultdict(list)
    for row in rows:
        by_table[row[0]].append(Index(*row))
    readings: dict[Where, float | None] = {}
    for queue in ward.queues:
        readings |= dict.fromkeys((Where(metric, queue) for metric in sorted(METRICS)), 0.0)
    for oid, indexes in by_table.items():
        queue = ward.tables[oid]
        twice = duplicates(indexes)
        faults = [
            *(
                (INVALID, index, _invalid(index))
                for index in indexes
                if not index.valid and not index.changing
            ),
            *((DUPLICATE, index, _duplicate(index, other)) for index, other in twice),
            *((UNUSED, index, _unused(index)) for index in unused(indexes) if index not in dict(twice)),
        ]
        for metric, index, (text, remedy) in faults:
            where = Where(metric, queue)
            readings[where] = (readings[where] or 0.0) + 1
            signs.append(Sign(Where(metric, queue, index.index), 1.0, text, remedy))
    return Told(tuple(signs), readings)


def duplicates(indexes: list[Index]) -> list[tuple[Index, Index]]:
    """Indexes that may go, each with the one that serves the same and stays."""
    same: defaultdict[str, list[Index]] = defaultdict(list)
    for index in indexes:
        if index.valid:
            same[index.key].append(index)
    found = []
    for group in same.values():
        # sorted() keeps the order of age: of two that are alike, the older one stays.
        first, *others = sorted(group, key=lambda one: (not one.needed, not one.unique))
        found += [
            (one, first)
            for one in others
            if not (one.needed or one.adopted)
            and (not one.unique or (first.unique and one.strictness == first.strictness))
        ]
    return found


def unused(indexes: list[Index]) -> list[Index]:
    """Indexes that no query of this server has used in all the time that is known of, and nothing needs."""
    return [
        one
        for one in indexes
        if one.scans == 0
        and one.valid
        and one.since >= UNUSED_FOR
        and one.size >= LEAST_BYTES
        and not (one.needed or one.unique or one.adopted)
    ]


def _invalid(index: Index) -> tuple[str, tuple[str, ...]]:
    left = index.index.rstrip("0123456789").endswith(("_ccnew", "_ccold"))
    if left:
        text = (
            f"index {index.name} was left behind by REINDEX CONCURRENTLY: each write keeps it up for nothing"
        )
        return text, (index.drop,)
    text = f"index {index.name} is invalid, since building it failed: no query uses it, writes keep it up"
    build = index.definition.replace(" INDEX ", " INDEX CONCURRENTLY ", 1)
    return text, (index.drop, f"{build};")


def _duplicate(index: Index, other: Index) -> tuple[str, tuple[str, ...]]:
    text = f"index {index.name} ({size(index.size)}) serves nothing that {other.name} does not serve as well"
    return text, (index.drop,)


def _unused(index: Index) -> tuple[str, tuple[str, ...]]:
    text = (
        f"index {index.name} ({size(index.size)}) has not been used on this server in {span(index.since)},"
        " or since it was built; a standby may use it, or a rare report"
    )
    return text, (index.drop,)
