"""Rows that refer to a job: as long as one does, the job is not deleted.

A foreign key may forbid it, or delete those rows with the job, or empty their columns; what the mapping says
of references and workers binds where the server enforces nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import sql

from queuewarden.adapters.db.session import Query
from queuewarden.queues.keys import key_columns
from queuewarden.queues.sqltext import TEXT, Name, cast, commas, every, negate
from queuewarden.queues.terms import job

if TYPE_CHECKING:
    from collections.abc import Iterable

    from psycopg.sql import Composable

    from queuewarden.adapters.db.session import Session
    from queuewarden.queues.target import Shape, Target

_KEYS = b"""
SELECT n.nspname::text, c.relname::text,
       ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY AS u (number, place)
               JOIN pg_catalog.pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = u.number
              ORDER BY u.place),
       ARRAY(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY AS u (number, place)
               JOIN pg_catalog.pg_attribute AS a ON a.attrelid = k.confrelid AND a.attnum = u.number
              ORDER BY u.place),
       has_schema_privilege(n.oid, 'USAGE') AND NOT EXISTS (
           SELECT FROM unnest(k.conkey) AS u (number)
            WHERE NOT has_column_privilege(c.oid, u.number, 'SELECT')),
       ARRAY(SELECT ARRAY[m.nspname::text, o.oprname::text]
               FROM unnest(k.conpfeqop) WITH ORDINALITY AS u (operator, place)
               JOIN pg_catalog.pg_operator AS o ON o.oid = u.operator
               JOIN pg_catalog.pg_namespace AS m ON m.oid = o.oprnamespace
              ORDER BY u.place)
  FROM pg_catalog.pg_constraint AS k
  JOIN pg_catalog.pg_class AS c ON c.oid = k.conrelid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE k.contype = 'f'
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint AS o
                    WHERE o.oid = k.conparentid AND o.confrelid = k.confrelid)
   AND (k.confrelid = ANY(CAST(%(leaves)s AS oid[])) OR k.confrelid = (
        SELECT p.oid FROM pg_catalog.pg_class AS p JOIN pg_catalog.pg_namespace AS m ON m.oid = p.relnamespace
         WHERE m.nspname = %(schema)s AND p.relname = %(name)s))
 ORDER BY n.nspname, c.relname, k.conname"""
"""A key of a partitioned table stands for those of its partitions; one that points at the table of which the
jobs are a partition is known by its part for them."""


@dataclass(frozen=True, slots=True)
class Referrer:
    """A table whose rows refer to jobs.

    Attributes:
        columns: of it.
        ours: the columns of the jobs table that they name, in the same order.
        alike: both are of the same types, so that the server can compare them, and use an index.
        readable: this role may look.
        equal: of a foreign key: the operators, by schema and name, by which it compares ours with theirs.
    """

    schema: str
    name: str
    columns: tuple[str, ...]
    ours: tuple[str, ...]
    alike: bool = True
    readable: bool = True
    equal: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return f"{self.schema}.{self.name} ({', '.join(self.columns)})"


async def referrers(session: Session, target: Target, targets: Iterable[Target]) -> list[Referrer]:
    """What refers to the jobs of a queue: by foreign keys, and by the mappings of some queues.

    Raises:
        psycopg.Error: as the server reports it.
    """
    jobs = target.jobs
    given = {"leaves": list(jobs.leaves), "schema": jobs.schema, "name": jobs.name}
    found = [
        Referrer(schema, name, tuple(columns), tuple(ours), readable=readable, equal=tuple(map(tuple, equal)))
        for schema, name, columns, ours, readable, equal in await session.rows(Query(_KEYS, given))
    ]
    for other in targets:
        for reference, parent in other.parents.items():
            if str(parent) == str(jobs) or set(parent.leaves) & set(jobs.leaves):
                found.append(_mapped(other.jobs, reference.column, jobs, reference.parent_column))
        workers = other.mapping.workers
        if workers is None or other.workers is None or workers.current_job is None:
            continue
        keys = key_columns(target, "jobs")
        if str(other.jobs) == str(jobs) and len(keys) == 1 and workers.current_job in other.workers.columns:
            found.append(_mapped(other.workers, workers.current_job, jobs, keys[0]))
    return list(dict.fromkeys(found))


def _mapped(shape: Shape, column: str, jobs: Shape, ours: str) -> Referrer:
    alike = shape.columns[column].type == jobs.columns[ours].type
    return Referrer(shape.schema, shape.name, (column,), (ours,), alike)


def referred(target: Target, found: Iterable[Referrer]) -> Composable:
    """Some row refers to job ``j``; one that refers to itself does not count."""
    parts = [_refers(target, one) for one in found]
    return sql.SQL("({})").format(sql.SQL(" OR ").join(parts)) if parts else sql.SQL("FALSE")


def _refers(target: Target, one: Referrer) -> Composable:
    same: list[Composable] = []
    for number, (theirs, ours) in enumerate(zip(one.columns, one.ours, strict=True)):
        both = job(ours), Name("r", theirs)
        left, right = both if one.alike else (cast(both[0], TEXT), cast(both[1], TEXT))
        same.append(sql.SQL("{} {} {}").format(left, _equal(one, number), right))
    if (one.schema, one.name) == (target.jobs.schema, target.jobs.name):
        keys = key_columns(target, "jobs")
        itself = sql.SQL("({}) = ({})").format(
            commas(Name("r", key) for key in keys), commas(job(key) for key in keys)
        )
        same.append(negate(itself))
    return sql.SQL("EXISTS (SELECT FROM {} AS r WHERE {})").format(Name(one.schema, one.name), every(same))


def _equal(one: Referrer, number: int) -> Composable:
    """As the key itself compares: by an operator of the type's own, where it has one, such as citext."""
    if not one.equal:
        return sql.SQL("=")
    schema, name = one.equal[number]
    symbol = sql.SQL(name.replace("%", "%%"))  # pyright: ignore[reportArgumentType]  # of the catalog
    return sql.SQL("OPERATOR({}.{})").format(Name(schema), symbol)
