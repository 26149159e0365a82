"""Orphans: waiting jobs whose reference points at nothing.

Detect: a job whose mapped, non-NULL reference has no row in an existing, non-empty parent table.
Repair: a waiting one, older than ``orphan_after``, is cancelled.
Never:  touches running jobs (reported) or finished ones (left alone), or trusts an empty parent table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

from queuewarden.checks.facts import job_facts
from queuewarden.model import Rule
from queuewarden.queues.moves import NOTE_PREFIX, cancel
from queuewarden.queues.sqltext import TEXT, Name, cast, every, folded, spelled
from queuewarden.queues.terms import job, older, relation, running, waiting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg.sql import Composable

    from queuewarden.queues.mapping import Reference
    from queuewarden.queues.target import Shape, Target

NAME = "orphans"


def rules(target: Target) -> tuple[Rule, ...]:
    """Two rules for each reference whose parent table exists."""
    return tuple(
        rule
        for reference in target.mapping.references
        if reference in target.parents
        for rule in _of(target, reference, target.parents[reference])
    )


def _of(target: Target, reference: Reference, parent: Shape) -> Iterator[Rule]:
    name = reference.column
    if sum(other.column == name for other in target.mapping.references) > 1:
        name = str(reference)
    limit = target.limits.orphan_after
    enqueued = target.mapping.jobs.enqueued_at
    points = every(
        [
            sql.SQL("{} IS NOT NULL").format(job(reference.column)),
            sql.SQL("EXISTS (SELECT FROM {})").format(relation(parent)),
        ]
    )
    missing = sql.SQL("NOT EXISTS (SELECT FROM {} AS p WHERE {})").format(
        relation(parent), _matches(target, reference, parent)
    )
    facts: dict[str, Composable] = {
        **job_facts(target, enqueued),
        "reference": cast(job(reference.column), TEXT),
    }
    conditions = [waiting(target), points]
    if enqueued is not None:
        conditions.append(older(target, enqueued, limit, name="orphan_after"))
    yield Rule(
        code=f"orphan_{name}",
        event="orphans.cancelled",
        table="jobs",
        where=every(conditions),
        write=cancel(target, f"{NOTE_PREFIX}{reference.column} points at nothing"),
        absent=missing,
        order=(enqueued,) if enqueued is not None else (),
        facts=facts,
        reason=str(reference),
        patience=limit if enqueued is None else None,
    )
    yield Rule(
        code=f"orphan_running_{name}",
        event="orphans.running",
        table="jobs",
        where=every([running(target), points]),
        write=None,
        absent=missing,
        facts=facts,
        reason=str(reference),
    )


def _matches(target: Target, reference: Reference, parent: Shape) -> Composable:
    ours = target.jobs.columns[reference.column]
    theirs = parent.columns[reference.parent_column]
    left, right = Name("p", reference.parent_column), job(reference.column)
    if ours.family == theirs.family == "text" and (ours.own_equality or theirs.own_equality):
        return sql.SQL("{} = {}").format(folded(left), folded(right))
    if ours.type == theirs.type or {ours.family, theirs.family} in ({"number"}, {"text"}):
        return sql.SQL("{} = {}").format(left, right)
    return sql.SQL("{} = {}").format(spelled(left), spelled(right))
