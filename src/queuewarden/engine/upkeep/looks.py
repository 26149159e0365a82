"""What a sample asks beyond what sweeps know: jobs that ended and came in a time, and the size of a table.

Only asked where the plan says that it is cheap: what no index serves stays unknown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from psycopg import sql

from queuewarden.adapters.db.session import Query
from queuewarden.engine.render import compiled
from queuewarden.engine.upkeep.samples import FINEST, LENGTH, LONGEST, SHORTEST
from queuewarden.queues.sqltext import Value, cast, every
from queuewarden.queues.terms import job, relation, status_is
from queuewarden.queues.times import finite, in_type_of, instant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg.sql import Composable

    from queuewarden.adapters.db.session import Row
    from queuewarden.queues.target import Target

Kind = Literal["done", "failed", "arrived"]

COSTLIEST = 10_000.0
"""The planner's cost of one look at most: about a tenth of a second."""

BUDGET = 50_000.0
"""The same of all looks of an environment together."""

KEYS = {"int2": 32_767, "int4": 2_147_483_647}
"""The highest key that a type holds; that of int8 is out of reach."""

_FLOAT = ("pg_catalog", "float8")


class Look(NamedTuple):
    """One question about one queue; its rows: when a span began, the slot of the run time or NULL, jobs."""

    target: Target
    kind: Kind
    query: Query


def looks(target: Target, since: float, until: float) -> list[Look]:
    """What can be asked of a queue about jobs between two moments, by the spans of samples."""
    jobs, states = target.mapping.jobs, target.mapping.states
    found = []
    if states.done and jobs.finished_at is not None:
        done = status_is(target, "done", states.done)
        query = _counted(target, jobs.finished_at, since, until, done, _slot(target))
        found.append(Look(target, "done", query))
    if states.failed and jobs.failure is not None:
        failed = status_is(target, "failed", states.failed)
        found.append(Look(target, "failed", _counted(target, jobs.failure, since, until, failed)))
    if jobs.enqueued_at is not None:
        found.append(Look(target, "arrived", _counted(target, jobs.enqueued_at, since, until)))
    return found


def costing(look: Look) -> Query:
    """What the planner thinks of it."""
    return Query(b"EXPLAIN (FORMAT JSON) " + look.query.text, look.query.params)


def cost(rows: Sequence[Row]) -> float:
    """From the rows of `costing`."""
    plan: Any = rows[0][0]
    return float(plan[0]["Plan"]["Total Cost"])


def affordable(looks_: Sequence[tuple[float, Look]]) -> list[Look]:
    """Those that may be asked, the cheapest first."""
    spent, found = 0.0, []
    for price, look in sorted(looks_, key=lambda one: one[0]):
        spent += price
        if price <= COSTLIEST and spent <= BUDGET:
            found.append(look)
    return found


def size(target: Target) -> Query | None:
    """One row: bytes with indexes and TOAST, rows as the server estimates them, and the highest key.

    None for what holds no rows itself, such as a view. A key that cannot run out is NULL.
    """
    if not target.jobs.leaves:
        return None
    highest: Composable = sql.SQL("NULL")
    if key_limit(target) is not None:
        (name,) = target.mapping.jobs.id
        highest = sql.SQL("(SELECT max({}) FROM {} AS j)").format(job(name), relation(target.jobs))
    return compiled(
        sql.SQL(
            "SELECT (SELECT sum(pg_total_relation_size(o))::float8 FROM unnest({oids}) AS o),"
            " (SELECT CASE WHEN min(c.reltuples) >= 0 THEN sum(c.reltuples)::float8 END"
            " FROM pg_class AS c WHERE c.oid = ANY({oids})), CAST({highest} AS float8)"
        ).format(
            oids=Value("leaves", list(target.jobs.leaves), ("pg_catalog", "_oid")),
            highest=highest,
        )
    )


def key_limit(target: Target) -> int | None:
    """The highest key that the table can have; None where it does not matter or is not a number."""
    names = target.mapping.jobs.id
    if len(names) != 1:
        return None
    schema, type_ = target.jobs.columns[names[0]].type
    return KEYS.get(type_) if schema == "pg_catalog" else None


def _counted(
    target: Target,
    column: str,
    since: float,
    until: float,
    condition: Composable | None = None,
    slot: Composable | None = None,
) -> Query:
    """Jobs by the span in which a time of theirs lies."""

    def bound(comparison: sql.SQL, name: str, moment: float) -> Composable:
        value = sql.SQL("to_timestamp({})").format(Value(name, moment, _FLOAT))
        return comparison.format(job(column), in_type_of(target, target.jobs, column, value))

    conditions = [
        bound(sql.SQL("{} >= {}"), "since", since),
        bound(sql.SQL("{} < {}"), "until", until),
        finite(target.jobs, "j", column),
    ]
    if condition is not None:
        conditions.insert(0, condition)
    at = sql.SQL("floor(extract(epoch FROM {}) / {length})::int8 * {length}").format(
        instant(target, target.jobs, "j", column), length=sql.Literal(LENGTH["5m"])
    )
    return compiled(
        sql.SQL("SELECT {}, {}, count(*) FROM {} AS j WHERE {} GROUP BY 1, 2").format(
            at, slot or sql.SQL("NULL::int"), relation(target.jobs), every(conditions)
        )
    )


def _slot(target: Target) -> Composable | None:
    """The slot of a job's run time, as `samples.slot` has it; NULL where that is unknown."""
    jobs = target.mapping.jobs
    if jobs.started_at is None or jobs.finished_at is None:
        return None
    start, end = (instant(target, target.jobs, "j", name) for name in (jobs.started_at, jobs.finished_at))
    took = cast(sql.SQL("extract(epoch FROM {} - {})").format(end, start), _FLOAT)
    return sql.SQL(
        "CASE WHEN {finite} AND {end} >= {start} THEN least(greatest("
        "floor({finest} * ln(greatest({took}, 0.001)) / ln(2::float8))::int, {first}), {last}) END"
    ).format(
        finite=finite(target.jobs, "j", jobs.started_at),
        start=start,
        end=end,
        took=took,
        finest=sql.Literal(FINEST),
        first=sql.Literal(SHORTEST),
        last=sql.Literal(LONGEST),
    )
