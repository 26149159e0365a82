"""The tables that upkeep is for, as they stand: those of the queues, and our own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import sql

from queuewarden.adapters.db.session import Query

if TYPE_CHECKING:
    from collections.abc import Iterable

    from queuewarden.engine.upkeep.task import Place
    from queuewarden.queues.target import Shape, Target

_TABLES = b"""
WITH named AS (
    SELECT k.oid, k.relkind
      FROM unnest(CAST(%(schemas)s AS text[]), CAST(%(names)s AS text[])) AS r (schema, name)
      JOIN pg_catalog.pg_namespace AS n ON n.nspname = r.schema
      JOIN pg_catalog.pg_class AS k ON k.relnamespace = n.oid AND k.relname = r.name
    UNION
    SELECT k.oid, k.relkind FROM pg_catalog.pg_class AS k
     WHERE %(ledger)s AND k.relnamespace = (SELECT oid FROM pg_catalog.pg_namespace
                                             WHERE nspname = 'queuewarden')),
every AS (
    SELECT oid AS root, oid FROM named
    UNION
    SELECT d.oid, t.relid FROM named AS d CROSS JOIN LATERAL pg_partition_tree(d.oid) AS t
     WHERE d.relkind = 'p')
SELECT c.oid, e.root, n.nspname::text, c.relname::text, c.relkind = 'p',
       pg_has_role(c.relowner, 'USAGE') OR CASE
           WHEN current_setting('server_version_num')::int >= 170000
           THEN has_table_privilege(c.oid, 'MAINTAIN') ELSE false END,
       pg_has_role((SELECT datdba FROM pg_catalog.pg_database WHERE datname = current_database()), 'USAGE'),
       EXISTS (SELECT FROM pg_catalog.pg_locks AS l
                WHERE l.locktype = 'relation' AND l.relation = c.oid AND l.granted
                  AND l.mode = 'ShareUpdateExclusiveLock'
                  AND l.database = (SELECT oid FROM pg_catalog.pg_database
                                     WHERE datname = current_database())),
       s.n_dead_tup, s.n_mod_since_analyze,
       extract(epoch FROM clock_timestamp() - greatest(s.last_vacuum, s.last_autovacuum))::float8,
       extract(epoch FROM clock_timestamp() - greatest(s.last_analyze, s.last_autoanalyze))::float8
  FROM every AS e
  JOIN pg_catalog.pg_class AS c ON c.oid = e.oid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_stat_all_tables AS s ON s.relid = c.oid
 WHERE c.relkind IN ('r', 'p')
 ORDER BY n.nspname = 'queuewarden', n.nspname, c.relname"""
"""A right that a server of an older version does not know would be an error there, hence the CASE."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One table, or one partition, as it stands.

    Attributes:
        root: oid of the table that it is a partition of, or its own.
        partitioned: it holds no rows itself.
        ours: this role may do with it what its owner may.
        of_owner: this role may do what the database's owner may.
        busy: a vacuum, an ANALYZE or the making of an index is at it right now.
        dead: dead rows, as the server counts them; None where it does not.
        changed: rows changed since it was analysed.
        vacuumed, analyzed: seconds since it last was; None: never.
    """

    oid: int
    root: int
    schema: str
    name: str
    partitioned: bool
    ours: bool
    of_owner: bool
    busy: bool
    dead: int | None
    changed: int | None
    vacuumed: float | None
    analyzed: float | None

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def identifier(self) -> sql.Identifier:
        """Its qualified name."""
        return sql.Identifier(self.schema, self.name)

    @property
    def refused(self) -> str | None:
        """Why this role may not do with it what needs its owner; the server itself would only warn."""
        if self.ours:
            return None
        remedy = "GRANT MAINTAIN on it (from PostgreSQL 17), or its owner to this role, if no superuser"
        return f"this role is not its owner: {remedy}"

    @property
    def hindered(self) -> str | None:
        """Why it can be neither vacuumed nor analysed now, whatever it needs."""
        if not self.of_owner and self.refused is not None:
            return self.refused
        return "a vacuum, an ANALYZE or the making of an index is at it" if self.busy else None


def shapes(target: Target) -> tuple[Shape, ...]:
    """The tables of a queue."""
    of_queue = (target.jobs, target.workers, target.starts, target.row_lock)
    return tuple(one for one in of_queue if one is not None)


def tables_of(place: Place) -> Query:
    """The query of `read_tables`."""
    named = {(one.schema, one.name) for target in place.targets for one in shapes(target)}
    given = {
        "schemas": [schema for schema, _ in sorted(named)],
        "names": [name for _, name in sorted(named)],
        "ledger": place.ledger,
    }
    return Query(_TABLES, given)


async def read_tables(place: Place) -> list[Standing]:
    """All tables of the place's queues, each once, partitions by themselves; ours last.

    Raises:
        psycopg.Error: as the server reports it.
    """
    return [Standing(*row) for row in await place.connection.session.rows(tables_of(place))]


def leaves(tables: Iterable[Standing]) -> list[Standing]:
    """Those that hold rows."""
    return [one for one in tables if not one.partitioned]
