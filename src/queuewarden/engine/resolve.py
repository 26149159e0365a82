"""Resolving a mapping against the catalog: a target, and every reason not to write to it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from queuewarden.engine.catalog import Relation, read_relation
from queuewarden.engine.rights import (
    Rights,
    job_columns,
    listed,
    quoted,
    worker_columns,
    written_columns,
)
from queuewarden.engine.words import word_faults
from queuewarden.queues.target import Fleet, Target

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from collections.abc import Mapping as MappingOf

    from queuewarden.adapters.db.session import Session
    from queuewarden.model import Limits
    from queuewarden.queues.mapping import Mapping, Positions, TableName

_ANY_FLEET = Fleet(live=("",), dead=("",), absent=("",))
"""Stands for workers that register elsewhere, so that every rule about them shows what it would write."""

_KINDS = {"v": "a view", "m": "a materialised view", "f": "a foreign table"}

_NOTE_WIDTH = 64
"""Characters that our longest note takes; a narrower error column is left to the application."""

_FAMILIES = {
    "a timestamp": ("instant", "naive"),
    "a number": ("number",),
    "a number or text": ("number", "text"),
}
_TIMES = ("started_at", "heartbeat", "enqueued_at", "scheduled_at", "finished_at", "updated_at")


@dataclass(frozen=True, slots=True)
class Resolution:
    """A mapping held against a database.

    Attributes:
        target: None where its rows cannot be read.
        faults: what does not fit, each with its remedy; with any, the queue is only observed.
        notes: what fits, but not as the user may think.
    """

    target: Target | None
    faults: tuple[str, ...]
    notes: tuple[str, ...] = ()


async def resolve(session: Session, environment: str, mapping: Mapping, limits: Limits) -> Resolution:
    """Verify tables, columns, types, keys, status values and rights.

    Raises:
        psycopg.Error: the catalog could not be read.
    """
    faults: list[str] = []
    notes: list[str] = []
    rights = Rights()
    known = mapping
    jobs = await _relation(session, mapping.jobs.table, faults)
    workers: Relation | None = None
    if mapping.workers is not None and mapping.workers.registered_in in (None, environment):
        workers = await _relation(session, mapping.workers.table, faults)
    if jobs is not None:
        rights.read(jobs, job_columns(mapping))
        known = _strip_jobs(mapping, jobs, faults, notes)
    if workers is not None and mapping.workers is not None:
        rights.read(workers, worker_columns(mapping.workers))
    if jobs is None or {*mapping.jobs.id, mapping.jobs.status} - set(jobs.shape.columns):
        return Resolution(None, (*faults, *rights.faults()))
    known = _strip_workers(known, workers, environment, faults)
    parents = {}
    for reference in known.references:
        parent = await _relation(session, reference.parent, faults)
        if parent is None or _missing("", parent, {"references": (reference.parent_column,)}, faults):
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
        parents,
    )
    if limits.mode == "repair":
        faults += _writing_faults(target, jobs, workers, rights)
    told = (*dict.fromkeys(faults), *rights.faults())
    held = replace(target, hold="; ".join(told) or None)
    return Resolution(held if rights.visible(jobs) else None, told, tuple(notes))


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


def _strip_jobs(mapping: Mapping, relation: Relation, faults: list[str], notes: list[str]) -> Mapping:
    """The mapping without the columns that the table does not have, each of them a fault."""
    jobs, columns = mapping.jobs, relation.shape.columns
    optional = ("worker", *_TIMES, "attempts", "max_attempts", "error")
    named: dict[str, str] = {
        name: getattr(jobs, name) for name in optional if isinstance(getattr(jobs, name), str)
    }
    gone = _missing("JOBS__", relation, named, faults)
    _missing("JOBS__", relation, {"id": jobs.id, "status": jobs.status}, faults)
    times: dict[str, str] = {name: named[name] for name in _TIMES if name in named}
    numbers: dict[str, str] = {name: named[name] for name in ("attempts", "max_attempts") if name in named}
    gone += _of_other_type("JOBS__", relation, times, "a timestamp", faults)
    gone += _of_other_type("JOBS__", relation, numbers, "a number", faults)
    told = {named[name] for name in gone}
    width = relation.widths.get(named.get("error", ""), _NOTE_WIDTH)
    if width < _NOTE_WIDTH:
        gone.append("error")
        notes.append(
            f"JOBS__ERROR: {relation.shape}.{jobs.error} holds {width} characters, too few for a reason"
            f" ({_NOTE_WIDTH}): it is never written"
        )
    changes: dict[str, Any] = dict.fromkeys(gone)
    for name in ("label", "clear"):
        changes[name] = tuple(column for column in getattr(jobs, name) if column in columns)
    _missing("JOBS__", relation, {"label": jobs.label, "clear": jobs.clear}, faults)
    references = tuple(one for one in mapping.references if one.column in columns)
    _missing("", relation, {"references": tuple(one.column for one in mapping.references)}, faults)
    # By default they go by columns that the user mapped: what is wrong with those has been told.
    stamps = tuple(
        pair
        for pair in mapping.timestamps
        if pair[1] not in told
        and not _missing("", relation, {"timestamps": pair[1]}, faults)
        and not _of_other_type("", relation, {"timestamps": pair[1]}, "a timestamp", faults)
    )
    return replace(
        mapping,
        jobs=replace(jobs, **changes),
        positions=_strip_positions(mapping.positions, relation, faults),
        references=references,
        timestamps=stamps,
    )


def _strip_positions(positions: Positions | None, relation: Relation, faults: list[str]) -> Positions | None:
    if positions is None:
        return None
    own = {"column": positions.column} if positions.column is not None else {}
    ranked: dict[str, str | tuple[str, ...]] = {
        **own,
        "lane": positions.lane,
        "order_by": tuple(term.column for term in positions.order_by),
    }
    gone = _missing("POSITIONS__", relation, ranked, faults)
    gone += _of_other_type("POSITIONS__", relation, own, "a number or text", faults)
    return None if gone else positions


def _strip_workers(
    mapping: Mapping, relation: Relation | None, environment: str, faults: list[str]
) -> Mapping:
    workers = mapping.workers
    if workers is None or workers.registered_in not in (None, environment):
        return mapping
    if relation is None or mapping.jobs.worker is None:
        return replace(mapping, workers=None)
    optional = ("status", "current_job", "started_at")
    named = {name: getattr(workers, name) for name in optional if getattr(workers, name) is not None}
    gone = _missing("WORKERS__", relation, named, faults)
    needed = {"id": workers.id, "heartbeat": workers.heartbeat}
    if _missing("WORKERS__", relation, needed, faults):
        return replace(mapping, workers=None)
    times = {name: column for name in ("heartbeat", "started_at") if (column := getattr(workers, name))}
    if _of_other_type("WORKERS__", relation, times, "a timestamp", faults):
        return replace(mapping, workers=None)
    identity = relation.shape.columns[workers.id]
    if identity.own_equality:
        faults.append(
            f"WORKERS__ID: {relation.shape}.{workers.id} is of type {identity.type[1]}, whose = is not the"
            " server's own: workers that are one could look like two; use text"
        )
    changes: dict[str, Any] = dict.fromkeys(gone)
    return replace(mapping, workers=replace(workers, **changes))


def _missing(
    prefix: str, relation: Relation, named: MappingOf[str, str | tuple[str, ...]], faults: list[str]
) -> list[str]:
    """Names whose column does not exist."""
    gone = []
    for name, value in named.items():
        columns = value if isinstance(value, tuple) else (value,)
        for column in columns:
            if column not in relation.shape.columns:
                meant = _nearest(column, relation.shape.columns)
                faults.append(f"{prefix}{name.upper()}: {relation.shape} has no column {column}{meant}")
                gone.append(name)
    return gone


def _nearest(column: str, columns: Collection[str]) -> str:
    close = get_close_matches(column, columns, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _of_other_type(
    prefix: str, relation: Relation, named: MappingOf[str, str], wanted: str, faults: list[str]
) -> list[str]:
    """Names whose column is there, but not of the type that is wanted, as ``_FAMILIES`` words it."""
    wrong = []
    for name, column in named.items():
        known = relation.shape.columns.get(column)
        if known is not None and known.family not in _FAMILIES[wanted]:
            faults.append(
                f"{prefix}{name.upper()}: {relation.shape}.{column} is of type {known.type[1]}, not {wanted}"
            )
            wrong.append(name)
    return wrong


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
