"""Resolving a mapping against the catalog: a target, and every reason not to write to it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from queuewarden.engine.catalog import Relation, read_relation
from queuewarden.engine.drift import NO_LIBRARY, Fit, fitted
from queuewarden.engine.fitting import missing, strip_jobs, strip_starts, strip_workers
from queuewarden.engine.rights import (
    Rights,
    job_columns,
    listed,
    quoted,
    worker_columns,
    written_columns,
)
from queuewarden.engine.trial import condition_faults, write_faults
from queuewarden.engine.words import word_faults
from queuewarden.queues.conditions import Locked, condition
from queuewarden.queues.moves import requeue
from queuewarden.queues.presets import library_of
from queuewarden.queues.target import Fleet, Target

if TYPE_CHECKING:
    from collections.abc import Iterator

    from queuewarden.adapters.db.session import Session
    from queuewarden.model import Limits
    from queuewarden.queues.mapping import Mapping, TableName
    from queuewarden.queues.target import Shape

_ANY_FLEET = Fleet(live=("",), dead=("",), absent=("",))
"""Stands for workers that register elsewhere, so that every rule about them shows what it would write."""

_KINDS = {"v": "a view", "m": "a materialised view", "f": "a foreign table"}


@dataclass(frozen=True, slots=True)
class Resolution:
    """A mapping held against a database.

    Attributes:
        target: None where its rows cannot be read.
        faults: what does not fit, each with its remedy; with any, the queue is only observed.
        notes: what fits, but not as the user may think.
        fit: how the tables of a preset's library fit it.
    """

    target: Target | None
    faults: tuple[str, ...]
    notes: tuple[str, ...] = ()
    fit: Fit = NO_LIBRARY


async def resolve(session: Session, environment: str, mapping: Mapping, limits: Limits) -> Resolution:
    """Verify tables, columns, types, keys, status values and rights.

    Raises:
        psycopg.Error: the catalog could not be read.
    """
    faults: list[str] = []
    notes: list[str] = []
    rights = Rights()
    known, fit = mapping, NO_LIBRARY
    jobs = await _relation(session, mapping.jobs.table, faults)
    workers: Relation | None = None
    if mapping.workers is not None and mapping.workers.registered_in in (None, environment):
        workers = await _relation(session, mapping.workers.table, faults)
    if jobs is not None:
        rights.read(jobs, job_columns(mapping))
        known = strip_jobs(mapping, jobs, faults, notes)
        fit = await fitted(session, mapping, jobs, limits.mode)
        notes += fit.notes
    if workers is not None and mapping.workers is not None:
        rights.read(workers, worker_columns(mapping.workers))
    if jobs is None or _untold(mapping, known, jobs, faults):
        return Resolution(None, fit.told((*faults, *rights.faults())), fit=fit)
    known = strip_workers(known, workers, environment, faults)
    starts, row_lock = await _beside(session, known, rights, faults)
    known = replace(known, starts=known.starts if starts is not None else None)
    parents = {}
    for reference in known.references:
        parent = await _relation(session, reference.parent, faults)
        if parent is None or missing("", parent, {"references": (reference.parent_column,)}, faults):
            continue
        rights.read(parent, [reference.parent_column])
        parents[reference] = parent.shape
    faults += await word_faults(session, known, jobs, workers)
    target = Target(
        environment,
        known,
        limits,
        jobs.shape,
        workers.shape if workers is not None and known.workers is not None else None,
        starts=starts,
        row_lock=row_lock,
        parents=parents,
    )
    if not fit.fault and (untold := await condition_faults(session, target)):
        return Resolution(None, fit.told((*faults, *untold, *rights.faults())), fit=fit)
    if limits.mode == "repair":
        faults += await write_faults(session, target) if not fit.fault else []
        if library_of(mapping.preset) is None and requeue(target, "") is None:
            notes.append("REQUEUE: nothing that it writes ends STATES__RUNNING: stuck jobs are only told")
        faults += _writing_faults(target, jobs, workers, rights)
    told = fit.told((*dict.fromkeys(faults), *rights.faults()))
    held = replace(target, hold="; ".join(told) or None)
    return Resolution(held if rights.visible(jobs) else None, told, tuple(notes), fit)


def _untold(mapping: Mapping, known: Mapping, jobs: Relation, faults: list[str]) -> bool:
    """What tells a job, or its state, is not there."""
    texts = mapping.spare if mapping.jobs.status is not None else (*mapping.states.every, *mapping.spare)
    lost = known.alive.advisory_lock is None and any(isinstance(condition(one), Locked) for one in texts)
    if lost and mapping.alive.advisory_lock is None:
        faults.append("ALIVE__ADVISORY_LOCK: not set, though states, or SPARE, say that a job is locked")
    return lost or bool({*mapping.jobs.id, *mapping.state_columns} - set(jobs.shape.columns))


async def _relation(session: Session, table: TableName, faults: list[str]) -> Relation | None:
    """The table, where there is one; a table whose rows are hidden is a fault."""
    found = await read_relation(session, table)
    if found is None:
        faults.append(f"table {table} does not exist, or is not on the search_path of this role")
    elif len(found.schemas) > 1:
        # Whoever may create a table in one of them could have it taken for the one that is meant.
        where = " and ".join(f"schema {schema}" for schema in found.schemas)
        faults.append(f"{table} stands in {where}: name the schema of the one that is meant")
        return None
    elif found.filtered:
        faults.append(
            f"row-level security hides rows of {found.shape} from role {found.role}, so that every job could"
            f" look like an orphan; guard as the table's owner, or: ALTER ROLE {quoted(found.role)} BYPASSRLS"
        )
    return found


async def _beside(
    session: Session, mapping: Mapping, rights: Rights, faults: list[str]
) -> tuple[Shape | None, Shape | None]:
    """The tables beside the jobs table: the one that notes starts, and the one whose rows workers lock."""
    starts = lock = None
    if (mapped := mapping.starts) is not None:
        starts = await _relation(session, mapped.table, faults)
        if starts is not None:
            rights.read(starts, [one for one in (mapped.job, mapped.at, mapped.kind) if one is not None])
        if strip_starts(mapped, starts, mapping.jobs, faults) is None:
            starts = None
    if (row_lock := mapping.alive.row_lock) is not None:
        lock = await _relation(session, row_lock.table, faults)
        if lock is not None:
            rights.read(lock, [row_lock.key, "xmax"])
            rights.lock(lock, row_lock.key)
            if missing("ALIVE__", lock, {"row_lock": row_lock.key}, faults):
                lock = None
    return (starts.shape if starts is not None else None), (lock.shape if lock is not None else None)


def _writing_faults(
    target: Target, jobs: Relation, workers: Relation | None, rights: Rights
) -> Iterator[str]:
    """Why the repairs of this target would fail, or could hit the wrong row; notes which rights they need."""
    mapped = target.mapping.workers
    if mapped is not None and workers is None:
        target = replace(target, fleet=_ANY_FLEET)
    keys = frozenset(target.mapping.jobs.id)
    yield from _row_faults(jobs, keys, written_columns(target, "jobs"), rights)
    if workers is not None and mapped is not None:
        yield from _row_faults(workers, frozenset({mapped.id}), written_columns(target, "workers"), rights)
        rights.lock(workers, mapped.heartbeat)


def _row_faults(
    relation: Relation, keys: frozenset[str], touched: frozenset[str], rights: Rights
) -> Iterator[str]:
    if relation.kind in _KINDS:
        yield f"{relation.shape} is {_KINDS[relation.kind]}: map the table behind it"
        return
    if relation.ruled:
        yield f"{relation.shape} has a rule ON UPDATE, which no guarded write can pass: make it a trigger"
    if relation.inherited:
        yield f"{relation.shape} has inheriting tables, whose keys its unique index does not cover"
    if not any(unique <= keys for unique in relation.unique):
        yield (
            f"no unique index over non-null columns {listed(sorted(keys))} of {relation.shape}:"
            " map its primary key as JOBS__ID (or WORKERS__ID)"
        )
    generated = sorted(name for name in touched if relation.shape.columns[name].generated)
    if generated:
        yield f"{relation.shape}: generated column {listed(generated)} cannot be written"
    rights.write(relation, touched)
