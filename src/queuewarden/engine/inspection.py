"""Inspecting indexes: which existing ones stand in for the recommended. Never creates one itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg

from queuewarden.adapters.db.session import Query
from queuewarden.engine.advice import recommended_indexes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from queuewarden.adapters.db.session import Session
    from queuewarden.engine.advice import Index
    from queuewarden.queues.target import Target


@dataclass(frozen=True, slots=True)
class Inspection:
    """What a look at the indexes found.

    Attributes:
        missing: recommended indexes that no existing index stands in for.
        unseen: those of which the planner would not tell.
        serving: names of the indexes that stand in for the others.
    """

    missing: tuple[Index, ...]
    unseen: tuple[Index, ...]
    serving: tuple[str, ...] = ()


async def inspected(session: Session, target: Target) -> Inspection:
    """Hold the recommended indexes against the existing ones, by the planner's own word.

    Raises:
        psycopg.Error: the connection was lost.
    """
    missing, unseen = [], []
    serving: dict[str, None] = {}
    for index in recommended_indexes(target):
        # One by one: after an error the session repeats each query without what was set before it.
        _, answer = await session.read([_PLANNER, index.question()])
        told = None if isinstance(answer, psycopg.Error) else answer[0][0][0]
        if told is None or told.get("Settings", {}).get("enable_seqscan") != "off":
            unseen.append(index)
        elif not _serves(index, told["Plan"]):
            missing.append(index)
        else:
            serving |= dict.fromkeys(_names(told["Plan"]))
    return Inspection(tuple(missing), tuple(unseen), tuple(serving))


async def statements(session: Session, target: Target, index: Index) -> tuple[str, ...]:
    """What to run for an index. A partitioned table takes it partition by partition; it then adopts them.

    Raises:
        psycopg.Error: the catalog could not be read.
    """
    if target.starts is not None and index.table == (target.starts.schema, target.starts.name):
        return (index.on(*index.table, concurrently=len(target.starts.leaves) == 1),)
    rows = await session.rows(Query(_LEAVES, {"oids": list(target.jobs.leaves)}))
    if all((schema, name) == index.table for schema, name in rows):
        return (index.statement,)
    each = (index.on(schema, name) for schema, name in rows)
    return (*each, index.on(*index.table, concurrently=False))


_LEAVES = b"""
SELECT n.nspname, c.relname
  FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.oid = ANY(CAST(%(oids)s AS oid[])) ORDER BY 1, 2"""

# With these a small table shows the plan that a large one would have.
_PLANNER = Query(
    b"SELECT set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true),"
    b" set_config('enable_sort', 'off', true), set_config('max_parallel_workers_per_gather', '0', true)",
    {},
)
_CONTAINERS = frozenset({"Append", "Merge Append", "Result"})
_SCANS = frozenset({"Index Scan", "Index Only Scan"})


def _serves(index: Index, plan: dict[str, Any]) -> bool:
    """Whether a plan reads the index's rows, only them, and in its order."""
    kind = plan["Node Type"]
    inner = plan.get("Plans", [])
    if kind == "Incremental Sort" and len(plan["Presorted Key"]) < len(index.key) - index.ties:
        return False
    if kind in _CONTAINERS or kind == "Incremental Sort":
        return all(_serves(index, each) for each in inner)
    wanted = {"Index Only Scan"} if index.include else _SCANS
    return kind in wanted and "Filter" not in plan


def _names(plan: dict[str, Any]) -> Iterator[str]:
    """The indexes that a plan reads."""
    if "Index Name" in plan:
        yield plan["Index Name"]
    for each in plan.get("Plans", []):
        yield from _names(each)
