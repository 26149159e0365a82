"""Resolving a mapping against the catalog: a target, and every reason not to write to it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from psycopg import sql

from queuewarden.checks import CHECKS
from queuewarden.engine.catalog import Relation, read_relation
from queuewarden.engine.words import word_faults
from queuewarden.queues.target import Fleet, Target

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from collections.abc import Mapping as MappingOf

    from queuewarden.adapters.db.session import Session
    from queuewarden.model import Limits
    from queuewarden.queues.mapping import Mapping, TableName

_ANY_FLEET = Fleet(live=("",), dead=("",), absent=("",))
"""Stands for workers that register elsewhere, so that every rule about them shows what it would write."""

_KINDS = {"v": "a view", "m": "a materialised view", "f": "a foreign table"}
_SYSTEM = ("xmin", "ctid")
"""Columns that tell whether a row has changed, and where it lies; the right to a whole table covers them."""

_NOTE_WIDTH = 64
"""Characters that our longest note takes; a narrower error column is left to the application."""

_FAMILIES = {
    "a timestamp": ("instant", "naive"),
    "a number": ("number",),
    "a number or text": ("number", "text"),
}
_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")
_TIMES = ("started_at", "heartbeat", "enqueued_at", "scheduled_at", "finished_at", "updated_at")


@dataclass(frozen=True, slots=True)
class Resolution:
    """A mapping held against a database.

    Attributes:
        target: None where not even counts can be read.
        faults: what does not fit, each with its remedy; with any, the queue is only observed.
    """

    target: Target | None
    faults: tuple[str, ...]


async def resolve(session: Session, environment: str, mapping: Mapping, limits: Limits) -> Resolution:
    """Verify tables, columns, types, keys, status values and rights.

    Raises:
        psycopg.Error: the catalog could not be read.
    """
    faults: list[str] = []
    jobs = await _relation(session, mapping.jobs.table, faults)
    workers: Relation | None = None
    if mapping.workers is not None and mapping.workers.registered_in in (None, environment):
        workers = await _relation(session, mapping.workers.table, faults)
    if jobs is None or {*mapping.jobs.id, mapping.jobs.status} - set(jobs.shape.columns):
        if jobs is not None:
            _strip_jobs(mapping, jobs, faults)
        return Resolution(None, tuple(faults))
    known = _strip_jobs(mapping, jobs, faults)
    known = _strip_workers(known, workers, environment, faults)
    parents = {}
    for reference in known.references:
        parent = await _relation(session, reference.parent, faults)
        if parent is None:
            continue
        if _missing("", parent, {"references": (reference.parent_column,)}, faults):
            continue
        _readable(parent, [reference.parent_column], faults)
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
    if not faults and limits.mode == "repair":
        faults += _writing_faults(target, jobs, workers)
    return Resolution(replace(target, hold="; ".join(faults) or None), tuple(faults))


async def _relation(session: Session, table: TableName, faults: list[str]) -> Relation | None:
    """The table, where it can be read."""
    found = await read_relation(session, table)
    if found is None:
        faults.append(f"table {table} does not exist, or is not on the search_path of this role")
        return None
    if not found.usable_schema:
        faults.append(f"no right to look into schema {found.shape.schema}: {_grant(found, 'USAGE')}")
        return None
    if found.filtered:
        faults.append(
            f"row-level security hides rows of {found.shape} from role {found.role}: every job could look"
            f" like an orphan; ALTER ROLE … BYPASSRLS, or guard with the table's owner"
        )
        return None
    return found


def _strip_jobs(mapping: Mapping, relation: Relation, faults: list[str]) -> Mapping:
    """The mapping without the columns that the table does not have, each of them a fault."""
    jobs, columns = mapping.jobs, relation.shape.columns
    optional = ("worker", *_TIMES, "attempts", "max_attempts", "error")
    named: dict[str, str] = {
        name: getattr(jobs, name) for name in optional if isinstance(getattr(jobs, name), str)
    }
    gone = _missing("JOBS__", relation, named, faults)
    _missing("JOBS__", relation, {"id": jobs.id, "status": jobs.status}, faults)
    used = [*jobs.id, jobs.status, *named.values(), *jobs.label, *jobs.clear]
    _readable(relation, [*used, *_SYSTEM], faults)
    times: dict[str, str] = {name: named[name] for name in _TIMES if name in named}
    numbers: dict[str, str] = {name: named[name] for name in ("attempts", "max_attempts") if name in named}
    gone += _of_other_type("JOBS__", relation, times, "a timestamp", faults)
    gone += _of_other_type("JOBS__", relation, numbers, "a number", faults)
    if relation.widths.get(named.get("error", ""), _NOTE_WIDTH) < _NOTE_WIDTH:
        gone.append("error")
    changes: dict[str, Any] = dict.fromkeys(gone)
    for name in ("label", "clear"):
        changes[name] = tuple(column for column in getattr(jobs, name) if column in columns)
    _missing("JOBS__", relation, {"label": jobs.label, "clear": jobs.clear}, faults)
    kept = replace(jobs, **changes)
    positions = mapping.positions
    if positions is not None:
        ranked = [*positions.lane, *(term.column for term in positions.order_by)]
        ranked += [positions.column] if positions.column is not None else []
        own = {"column": positions.column} if positions.column is not None else {}
        if _missing("POSITIONS__", relation, {"column": tuple(ranked)}, faults) or _of_other_type(
            "POSITIONS__", relation, own, "a number or text", faults
        ):
            positions = None
    references = tuple(one for one in mapping.references if one.column in columns)
    _missing("", relation, {"references": tuple(one.column for one in mapping.references)}, faults)
    stamps = tuple(
        pair
        for pair in mapping.timestamps
        if not _missing("", relation, {"timestamps": pair[1]}, faults)
        and not _of_other_type("", relation, {"timestamps": pair[1]}, "a timestamp", faults)
    )
    return replace(mapping, jobs=kept, positions=positions, references=references, timestamps=stamps)


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
    _readable(relation, [*needed.values(), *named.values(), *_SYSTEM], faults)
    times = {name: column for name in ("heartbeat", "started_at") if (column := getattr(workers, name))}
    if _of_other_type("WORKERS__", relation, times, "a timestamp", faults):
        return replace(mapping, workers=None)
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
                faults.append(f"{prefix}{name.upper()}: {relation.shape} has no column {column}")
                gone.append(name)
    return gone


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


def _readable(relation: Relation, columns: Iterable[str], faults: list[str]) -> None:
    hidden = sorted(set(columns) & relation.unreadable)
    if hidden:
        faults.append(f"no right to read {relation.shape}: {_grant(relation, f'SELECT ({_list(hidden)})')}")


def _writing_faults(target: Target, jobs: Relation, workers: Relation | None) -> Iterator[str]:
    """Why the repairs of this target would fail, or could hit the wrong row."""
    if target.mapping.workers is not None and workers is None:
        target = replace(target, fleet=_ANY_FLEET)
    keys = frozenset(target.mapping.jobs.id)
    yield from _row_faults(jobs, keys, _touched(target, "jobs"))
    if workers is not None and target.mapping.workers is not None:
        yield from _row_faults(workers, frozenset({target.mapping.workers.id}), _touched(target, "workers"))
        if not any(column.writable for column in workers.shape.columns.values()):
            yield (
                f"no right to lock rows of {workers.shape}, without which a heartbeat could be missed:"
                f" {_grant(workers, f'UPDATE ({target.mapping.workers.heartbeat})')}"
            )


def _row_faults(relation: Relation, keys: frozenset[str], touched: frozenset[str]) -> Iterator[str]:
    if relation.kind in _KINDS:
        yield f"{relation.shape} is {_KINDS[relation.kind]}: map the table behind it"
        return
    if relation.inherited:
        yield f"{relation.shape} has inheriting tables, whose keys its unique index does not cover"
    if not any(unique <= keys for unique in relation.unique):
        yield (
            f"no unique index over non-null columns {_list(sorted(keys))} of {relation.shape}:"
            " map its primary key as JOBS__ID (or WORKERS__ID)"
        )
    columns = relation.shape.columns
    generated = sorted(name for name in touched if columns[name].generated)
    if generated:
        yield f"{relation.shape}: generated column {_list(generated)} cannot be written"
    forbidden = sorted(name for name in touched if not columns[name].writable)
    if forbidden:
        yield f"no right to repair {relation.shape}: {_grant(relation, f'UPDATE ({_list(forbidden)})')}"


def _touched(target: Target, table: str) -> frozenset[str]:
    """Columns that the rules of the enabled checks write."""
    names: set[str] = set()
    for name in target.limits.checks:
        for rule in CHECKS[name].rules(target):
            if rule.table == table and rule.write is not None:
                names |= set(rule.write.values)
    return frozenset(names)


def _grant(relation: Relation, right: str) -> str:
    schema, name = _quoted(relation.shape.schema), _quoted(relation.shape.name)
    where = f"SCHEMA {schema}" if right == "USAGE" else f"{schema}.{name}"
    return f"GRANT {right} ON {where} TO {_quoted(relation.role)}"


def _list(names: Iterable[str]) -> str:
    return ", ".join(_quoted(name) for name in names)


def _quoted(name: str) -> str:
    """An identifier as a person would write it in a statement."""
    return name if _PLAIN.fullmatch(name) else sql.Identifier(name).as_string(None)
