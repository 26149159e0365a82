"""Positions: the waiting jobs of a lane, numbered 1, 2, 3, … in order.

Detect: duplicates, gaps, missing, zero, negative or non-integer positions, and wrong order.
Repair: the lane is renumbered whole, by the mapped order and then the key; only rows that change are written.
Never:  touches jobs that are not waiting, or a lane of which one waiting job is locked elsewhere; nor writes
        positions that are part of the jobs' key, by which a job must be found again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

from queuewarden.model import Rank, Rule
from queuewarden.queues.sqltext import TEXT, cast
from queuewarden.queues.terms import job, waiting
from queuewarden.writes import Put

if TYPE_CHECKING:
    from psycopg.sql import Composable

    from queuewarden.queues.mapping import OrderTerm
    from queuewarden.queues.target import Target

NAME = "positions"


def rules(target: Target) -> tuple[Rule, ...]:
    """One rule, where positions are mapped."""
    positions = target.mapping.positions
    if positions is None or positions.column is None:
        return ()
    shape = target.jobs.columns[positions.column]
    column = job(positions.column)
    should: Composable = sql.SQL("r.n")
    if not positions.dense and shape.family == "number":
        should = sql.SQL("(r.n + r.head - 1)")
    number = cast(should, shape.type)
    # Numbers are compared as they are: one that the column cannot hold must fail its own lane alone.
    wanted = should if shape.family == "number" else number
    return (
        Rule(
            code="position",
            event="positions.repaired",
            table="jobs",
            where=waiting(target),
            write=Put({positions.column: number}) if positions.column not in target.mapping.jobs.id else None,
            facts={"position": cast(column, TEXT), "fault": _fault(target, positions.column)},
            reason="renumbered",
            rank=Rank(
                lane=positions.lane,
                order=tuple(_term(term) for term in positions.order_by),
                position=positions.column,
            ),
            faulty=sql.SQL("{} IS DISTINCT FROM {}").format(column, wanted),
        ),
    )


def _term(term: OrderTerm) -> Composable:
    direction = sql.SQL("DESC") if term.descending else sql.SQL("ASC")
    nulls = {
        "first": sql.SQL(" NULLS FIRST"),
        "last": sql.SQL(" NULLS LAST"),
        None: sql.SQL(""),
    }[term.nulls]
    return sql.SQL("{} {}{}").format(job(term.column), direction, nulls)


def _fault(target: Target, name: str) -> Composable:
    """The kind of fault, for people: the repair is the same for all."""
    column = job(name)
    if target.jobs.columns[name].family != "number":
        odd: Composable = sql.SQL("{} !~ '^[0-9]+$'").format(cast(column, TEXT))
        low: Composable = sql.SQL("FALSE")
    else:
        odd = sql.SQL("{0} <> trunc({0})").format(cast(column, ("pg_catalog", "numeric")))
        low = sql.SQL("{} < 1").format(column)
    return sql.SQL(
        "CASE WHEN {column} IS NULL THEN 'missing' WHEN {odd} THEN 'not an integer' WHEN {low} THEN 'below 1'"
        " WHEN r.twins > 1 THEN 'duplicate' ELSE 'gap or order' END"
    ).format(column=column, odd=odd, low=low)
