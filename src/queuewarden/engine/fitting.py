"""Fitting a mapping to its tables: what they do not have is a fault, and is left out of the mapping."""

from __future__ import annotations

from dataclasses import replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from queuewarden.queues.signs import lock_columns

if TYPE_CHECKING:
    from collections.abc import Collection
    from collections.abc import Mapping as MappingOf

    from queuewarden.engine.catalog import Relation
    from queuewarden.queues.conditions import Written
    from queuewarden.queues.mapping import Alive, Jobs, Mapping, Positions, Starts

_NOTE_WIDTH = 64
"""Characters that our longest note takes; a narrower error column is left to the application."""

_FAMILIES = {
    "a timestamp": ("instant", "naive"),
    "a time": ("instant", "naive", "number"),
    "a number": ("number",),
    "a number or text": ("number", "text"),
}
_TIMES = (
    "started_at",
    "heartbeat",
    "enqueued_at",
    "scheduled_at",
    "finished_at",
    "failed_at",
    "updated_at",
)
_NUMBERS = ("attempts", "max_attempts", "heartbeat_seconds", "timeout_seconds")


def strip_jobs(mapping: Mapping, relation: Relation, faults: list[str], notes: list[str]) -> Mapping:
    """The mapping without the columns that the table does not have, each of them a fault."""
    jobs, columns = mapping.jobs, relation.shape.columns
    optional = ("worker", *_TIMES, *_NUMBERS, "error")
    named: dict[str, str] = {
        name: getattr(jobs, name) for name in optional if isinstance(getattr(jobs, name), str)
    }
    gone = missing("JOBS__", relation, named, faults)
    missing("JOBS__", relation, {"id": jobs.id}, faults)
    states = "status" if jobs.status is not None else "states"
    missing("JOBS__" if jobs.status is not None else "", relation, {states: mapping.state_columns}, faults)
    times: dict[str, str] = {name: named[name] for name in _TIMES if name in named}
    numbers: dict[str, str] = {name: named[name] for name in _NUMBERS if name in named}
    gone += _of_other_type("JOBS__", relation, times, _time_of(jobs), faults)
    gone += _of_other_type("JOBS__", relation, numbers, "a number", faults)
    told = {named[name] for name in gone}
    width = relation.widths.get(named.get("error", ""), _NOTE_WIDTH)
    if width < _NOTE_WIDTH:
        gone.append("error")
        notes.append(
            f"JOBS__ERROR: {relation.shape}.{jobs.error} holds {width} characters, too few for a reason"
            f" ({_NOTE_WIDTH}): it is never written"
        )
    if mapping.positions is not None and mapping.positions.column in jobs.id:
        notes.append("POSITIONS__COLUMN: it is part of JOBS__ID, so that wrong positions are only told")
    changes: dict[str, Any] = dict.fromkeys(gone)
    for name in ("label", "clear"):
        changes[name] = tuple(column for column in getattr(jobs, name) if column in columns)
    missing("JOBS__", relation, {"label": jobs.label, "clear": jobs.clear}, faults)
    references = tuple(one for one in mapping.references if one.column in columns)
    missing("", relation, {"references": tuple(one.column for one in mapping.references)}, faults)
    # By default they go by columns that the user mapped: what is wrong with those has been told.
    stamps = tuple(
        pair
        for pair in mapping.timestamps
        if pair[1] not in told
        and not missing("", relation, {"timestamps": pair[1]}, faults)
        and not _of_other_type("", relation, {"timestamps": pair[1]}, _time_of(jobs), faults)
    )
    return replace(
        mapping,
        jobs=replace(jobs, **changes),
        positions=_strip_positions(mapping.positions, relation, faults),
        references=references,
        timestamps=stamps,
        alive=_strip_alive(mapping.alive, relation, faults),
        requeue=_strip_written(mapping.requeue, "requeue", relation, jobs, faults),
        fail=_strip_written(mapping.fail, "fail", relation, jobs, faults),
    )


def _strip_alive(alive: Alive, relation: Relation, faults: list[str]) -> Alive:
    """Without the signs that the table has no column for; each is a fault, so that nobody is reset."""
    gone = []
    if alive.advisory_lock is not None:
        columns = lock_columns(alive.advisory_lock)
        gone += missing("ALIVE__", relation, {"advisory_lock": columns}, faults)
        if not gone and columns == (alive.advisory_lock,):
            own = {"advisory_lock": alive.advisory_lock}
            gone += _of_other_type("ALIVE__", relation, own, "a number", faults)
    for name in ("row_lock", "backend"):
        one = getattr(alive, name)
        gone += missing("ALIVE__", relation, {name: one.column}, faults) if one is not None else []
    changes: dict[str, Any] = dict.fromkeys(gone)
    return replace(alive, **changes)


def _strip_written(
    written: tuple[Written, ...], name: str, relation: Relation, jobs: Jobs, faults: list[str]
) -> tuple[Written, ...]:
    known = relation.shape.columns
    named = [one.column for one in written] + [one.text for one in written if one.word == "column"]
    missing("", relation, {name: tuple(named)}, faults)
    there = [one for one in written if one.column in known and (one.word != "column" or one.text in known)]
    for one in there:
        column = f"{name.upper()}: {relation.shape}.{one.column}"
        if one.word in ("now", "not before now", "+1"):
            wanted = "a number" if one.word == "+1" else _time_of(jobs)
            _of_other_type("", relation, {name: one.column}, wanted, faults)
        elif one.word == "null" and known[one.column].not_null:
            faults.append(f"{column} cannot be NULL")
        if one.word != "keep" and one.column in jobs.id:
            faults.append(f"{column} is the job's key, which never changes")
    return tuple(there)


def strip_starts(
    starts: Starts | None, relation: Relation | None, jobs: Jobs, faults: list[str]
) -> Starts | None:
    """The mapping of the table that notes starts, where it fits."""
    if starts is None or relation is None:
        return None
    named = {name: column for name in ("job", "at", "kind") if (column := getattr(starts, name)) is not None}
    gone = missing("STARTS__", relation, named, faults)
    gone += _of_other_type("STARTS__", relation, {"at": starts.at}, _time_of(jobs), faults)
    if len(jobs.id) > 1:
        faults.append("STARTS__JOB: one column cannot name a job whose key has several")
        return None
    return None if gone else starts


def _time_of(jobs: Jobs) -> str:
    return "a timestamp" if jobs.epoch is None else "a time"


def _strip_positions(positions: Positions | None, relation: Relation, faults: list[str]) -> Positions | None:
    if positions is None:
        return None
    own = {"column": positions.column} if positions.column is not None else {}
    ranked: dict[str, str | tuple[str, ...]] = {
        **own,
        "lane": positions.lane,
        "order_by": tuple(term.column for term in positions.order_by),
    }
    gone = missing("POSITIONS__", relation, ranked, faults)
    gone += _of_other_type("POSITIONS__", relation, own, "a number or text", faults)
    return None if gone else positions


def strip_workers(
    mapping: Mapping, relation: Relation | None, environment: str, faults: list[str]
) -> Mapping:
    """The mapping with what of the workers table is there; without it where a needed column is missing."""
    workers = mapping.workers
    if workers is None or workers.registered_in not in (None, environment):
        return mapping
    if relation is None or mapping.jobs.worker is None:
        return replace(mapping, workers=None)
    optional = ("status", "current_job", "started_at")
    named = {name: getattr(workers, name) for name in optional if getattr(workers, name) is not None}
    gone = missing("WORKERS__", relation, named, faults)
    needed = {"id": workers.id, "heartbeat": workers.heartbeat}
    if missing("WORKERS__", relation, needed, faults):
        return replace(mapping, workers=None)
    times = {name: column for name in ("heartbeat", "started_at") if (column := getattr(workers, name))}
    if _of_other_type("WORKERS__", relation, times, _time_of(mapping.jobs), faults):
        return replace(mapping, workers=None)
    identity = relation.shape.columns[workers.id]
    if identity.own_equality:
        faults.append(
            f"WORKERS__ID: {relation.shape}.{workers.id} is of type {identity.type[1]}, whose = is not the"
            " server's own: workers that are one could look like two; use text"
        )
    changes: dict[str, Any] = dict.fromkeys(gone)
    return replace(mapping, workers=replace(workers, **changes))


def missing(
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
