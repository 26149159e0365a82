"""The terms in which checks speak of a mapped queue: its states, its times, its workers.

Aliases, here and everywhere: ``j`` is the jobs table, ``w`` the workers table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

from queuewarden.queues.sqltext import (
    INTERVAL,
    TEXT,
    TRUE,
    Name,
    Value,
    cast,
    every,
    some,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from psycopg.sql import Composable

    from queuewarden.model import Table
    from queuewarden.queues.target import Shape, Target

ALIAS: dict[str, str] = {"jobs": "j", "workers": "w"}


def shape(target: Target, table: Table) -> Shape:
    """The catalog's shape of the table that a rule is about."""
    if table == "jobs":
        return target.jobs
    if target.workers is None:
        raise ValueError(f"queue {target.queue} has no workers table in {target.environment}")
    return target.workers


def job(column: str) -> Name:
    """A column of the jobs table."""
    return Name("j", column)


def worker(column: str) -> Name:
    """A column of the workers table."""
    return Name("w", column)


def now(target: Target, shape_: Shape, column: str) -> Composable:
    """The database's clock in the type of a time column; naive columns by the mapped zone."""
    if shape_.columns[column].family == "naive":
        zone = Value("time_zone", target.mapping.jobs.time_zone, TEXT)
        return sql.SQL("(statement_timestamp() AT TIME ZONE {})").format(zone)
    return sql.SQL("statement_timestamp()")


def instant(target: Target, shape_: Shape, alias: str, column: str) -> Composable:
    """A time column as timestamptz, for comparing columns of different types with each other."""
    if shape_.columns[column].family == "naive":
        zone = Value("time_zone", target.mapping.jobs.time_zone, TEXT)
        return sql.SQL("({} AT TIME ZONE {})").format(Name(alias, column), zone)
    return Name(alias, column)


def older(target: Target, column: str, limit: timedelta, *, name: str) -> Composable:
    """A time of the job lies further back than a limit. The column stands alone, for the index's sake."""
    return _older(target, target.jobs, "j", column, limit, name)


def _older(target: Target, shape_: Shape, alias: str, column: str, limit: timedelta, name: str) -> Composable:
    return sql.SQL("{} < {}").format(Name(alias, column), ago(target, shape_, column, limit, name))


def ago(target: Target, shape_: Shape, column: str, limit: timedelta, name: str) -> Composable:
    """The moment that lies a limit back, in the type of a time column.

    A naive clock leaps when summer time begins or ends. Taking the limit off before and after the conversion,
    and going by the earlier result, errs on the young side in both nights.
    """
    span = Value(name, limit, INTERVAL)
    if shape_.columns[column].family != "naive":
        return sql.SQL("statement_timestamp() - {}").format(span)
    return sql.SQL("least({} - {}, (statement_timestamp() - {}) AT TIME ZONE {})").format(
        now(target, shape_, column), span, span, Value("time_zone", target.mapping.jobs.time_zone, TEXT)
    )


def age(target: Target, shape_: Shape, alias: str, column: str) -> Composable:
    """Whole seconds since a time column, by the database's clock; NULL where it is infinite."""
    return sql.SQL(
        "CASE WHEN isfinite({since}) THEN CAST(extract(epoch FROM {now} - {since}) AS int8) END"
    ).format(now=now(target, shape_, column), since=Name(alias, column))


def status_is(target: Target, name: str, values: Sequence[str]) -> Composable:
    """The job's status is one of some values; ``name`` is the state's word."""
    column: Composable = job(target.mapping.jobs.status)
    named = {f"{name}_{number}": value for number, value in enumerate(values, start=1)}
    if len(values) == 1:
        named = {name: values[0]}
    parts: list[Composable] = [status(target, word, value) for word, value in named.items()]
    if target.jobs.columns[target.mapping.jobs.status].family == "other":
        column, parts = cast(column, TEXT), [cast(part, TEXT) for part in parts]
    if len(parts) == 1:
        return sql.SQL("{} = {}").format(column, parts[0])
    return sql.SQL("{} IN ({})").format(column, sql.SQL(", ").join(parts))


def status(target: Target, name: str, value: str) -> Value:
    """A status value in the type of the status column."""
    return Value(f"status_{name}", value, target.jobs.columns[target.mapping.jobs.status].type)


def running(target: Target) -> Composable:
    """The job is marked running."""
    return status_is(target, "running", target.mapping.states.running)


def waiting(target: Target) -> Composable:
    """The job is marked waiting."""
    return status_is(target, "waiting", target.mapping.states.waiting)


def owns(target: Target) -> Composable:
    """Worker ``w`` is the one that the job names; compared in the type of the jobs' column, for its index."""
    shape_ = shape(target, "workers")
    name, id_ = target.mapping.jobs.worker, workers_id(target)
    if name is None:
        raise ValueError(f"queue {target.queue} maps workers without JOBS__WORKER")
    ours, theirs = target.jobs.columns[name], shape_.columns[id_]
    if ours.type == theirs.type:
        return sql.SQL("{} = {}").format(job(name), worker(id_))
    if ours.family == "text":
        return sql.SQL("{} = {}").format(job(name), cast(worker(id_), ours.type))
    return sql.SQL("{} = {}").format(cast(job(name), TEXT), cast(worker(id_), TEXT))


def workers_id(target: Target) -> str:
    """The column that identifies a worker."""
    if target.mapping.workers is None:
        raise ValueError(f"queue {target.queue} maps no workers")
    return target.mapping.workers.id


def dead(target: Target) -> Composable:
    """Worker ``w`` has not beaten for ``dead_after``. One that never beat is as old as its start."""
    mapped = target.mapping.workers
    shape_ = shape(target, "workers")
    if mapped is None:
        raise ValueError(f"queue {target.queue} maps no workers")
    silent = _older(target, shape_, "w", mapped.heartbeat, target.limits.dead_after, "dead_after")
    if mapped.started_at is None:
        return silent
    never = sql.SQL("{} IS NULL AND {}").format(
        worker(mapped.heartbeat),
        _older(target, shape_, "w", mapped.started_at, target.limits.dead_after, "dead_after"),
    )
    return some([silent, never])


def alive(target: Target) -> Composable:
    """Worker ``w`` has beaten within ``dead_after``."""
    mapped = target.mapping.workers
    if mapped is None:
        raise ValueError(f"queue {target.queue} maps no workers")
    since = ago(target, shape(target, "workers"), mapped.heartbeat, target.limits.dead_after, "dead_after")
    return sql.SQL("{} >= {}").format(worker(mapped.heartbeat), since)


def no_owner(target: Target) -> Composable:
    """The job's worker has no row (or the job names none)."""
    return sql.SQL("NOT EXISTS (SELECT FROM {} AS w WHERE {})").format(
        relation(shape(target, "workers")), owns(target)
    )


def role_path(shape_: Shape) -> list[Composable]:
    """Where triggers need it, a value that switches to the role's search_path as soon as it is computed."""
    if shape_.role_path is None:
        return []
    path = Value("role_path", shape_.role_path, TEXT)
    return [sql.SQL("(SELECT set_config('search_path', {}, true)) AS role_path").format(path)]


def relation(shape_: Shape) -> Name:
    """A table's qualified name."""
    return Name(shape_.schema, shape_.name)


def among(target: Target, name: str, ids: Sequence[str]) -> Composable:
    """The job's worker is one of some ids, given as text."""
    column = target.mapping.jobs.worker
    if column is None:
        raise ValueError(f"queue {target.queue} maps workers without JOBS__WORKER")
    return sql.SQL("{} = ANY({})").format(
        cast(job(column), TEXT), Value(name, list(ids), ("pg_catalog", "_text"))
    )


def expired(target: Target, limit: timedelta, name: str) -> Composable:
    """The job started, and last beat where it does, further back than a limit."""
    jobs = target.mapping.jobs
    if jobs.started_at is None:
        return TRUE
    parts = [older(target, jobs.started_at, limit, name=name)]
    if jobs.heartbeat is not None:
        parts.append(
            sql.SQL("({} IS NULL OR {})").format(
                job(jobs.heartbeat), older(target, jobs.heartbeat, limit, name=name)
            )
        )
    return every(parts)
