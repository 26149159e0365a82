"""The terms in which checks speak of a mapped queue: its states and its workers.

Aliases, here and everywhere: ``j`` is the jobs table, ``w`` the workers table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

from psycopg import sql

from queuewarden.queues.conditions import Compared, Has, Locked, Null, condition, contradict
from queuewarden.queues.signs import advisory_locked
from queuewarden.queues.sqltext import TEXT, TRUE, Name, Value, cast, every, folded, negate, some, spelled
from queuewarden.queues.times import ago, ahead, instant, older_than

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import timedelta

    from psycopg.sql import Composable

    from queuewarden.model import Table
    from queuewarden.queues.conditions import Condition, Operator
    from queuewarden.queues.target import Shape, Target

ALIAS: dict[str, str] = {"jobs": "j", "workers": "w"}
STATES = ("waiting", "running", "done", "failed", "cancelled")

OPERATORS: dict[Operator, LiteralString] = {
    "=": "{} = {}", "<>": "{} <> {}", "<": "{} < {}", "<=": "{} <= {}", ">": "{} > {}", ">=": "{} >= {}",
}  # fmt: skip


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


def status_is(target: Target, name: str, values: Sequence[str]) -> Composable:
    """The job is in a state; ``name`` is the state's word, ``values`` what the mapping says of it.

    Where states are conditions on other columns, all of them hold; and a job that is over neither waits nor
    runs, whatever it has kept of the time when it did.
    """
    if target.mapping.jobs.status is None:
        held = all_hold(target, name, values)
        return every([held, *_not_over(target, values)]) if name in STATES[:2] else held
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


def _not_over(target: Target, texts: Sequence[str]) -> Iterator[Composable]:
    """No condition of a final state holds, as far as these do not say so themselves."""
    own = [condition(text) for text in texts]
    for word in STATES[2:]:
        final = getattr(target.mapping.states, word)
        if final and not any(contradict(one, condition(text)) for one in own for text in final):
            yield negate(all_hold(target, f"over_{word}", final))


def all_hold(target: Target, name: str, texts: Sequence[str]) -> Composable:
    """All of some conditions of the mapping hold; ``name`` is for their values."""
    return every(
        _holds(target, f"{name}_{number}", condition(text)) for number, text in enumerate(texts, start=1)
    )


def _holds(target: Target, name: str, one: Condition) -> Composable:
    match one:
        case Locked(wanted):
            held = advisory_locked(target)
            return held if wanted else negate(held)
        case Has(column, key):
            return sql.SQL("pg_catalog.jsonb_exists({}, {})").format(job(column), Value(name, key, TEXT))
        case Null(column, wanted):
            return sql.SQL("{} IS NULL" if wanted else "{} IS NOT NULL").format(job(column))
        case Compared(column, operator, value, other):
            ours: Composable = job(column)
            theirs: Composable = (
                job(other) if other is not None else Value(name, value, target.jobs.columns[column].type)
            )
            if operator in ("=", "<>") and target.jobs.columns[column].family == "other":
                ours, theirs = cast(ours, TEXT), cast(theirs, TEXT)
            return sql.SQL(OPERATORS[operator]).format(ours, theirs)


def status(target: Target, name: str, value: str) -> Value:
    """A status value in the type of the status column."""
    column = target.mapping.jobs.status
    if column is None:
        raise ValueError(f"queue {target.queue} has no status column")
    return Value(f"status_{name}", value, target.jobs.columns[column].type)


def state(target: Target) -> Composable:
    """Our word for the state that the job is in; NULL where the mapping does not know it."""
    cases = [
        sql.SQL("WHEN {} THEN {}").format(status_is(target, word, values), Value(f"word_{word}", word, TEXT))
        for word in STATES
        if (values := getattr(target.mapping.states, word))
    ]
    return sql.SQL("CASE {} END").format(sql.SQL(" ").join(cases))


def status_text(target: Target) -> Composable:
    """The job's status as the application spells it, as text; our word where no column tells it."""
    column = target.mapping.jobs.status
    return state(target) if column is None else cast(job(column), TEXT)


def older(target: Target, column: str, limit: timedelta, *, name: str) -> Composable:
    """A time of the job lies further back than a limit."""
    return older_than(target, target.jobs, "j", column, limit, name)


def running(target: Target) -> Composable:
    """The job is marked running."""
    return status_is(target, "running", target.mapping.states.running)


def spared(target: Target) -> Composable | None:
    """The job is to be left alone though it looks stuck; None where no such condition is mapped."""
    texts = target.mapping.spare
    return all_hold(target, "spare", texts) if texts else None


def waiting(target: Target) -> Composable:
    """The job is marked waiting."""
    return status_is(target, "waiting", target.mapping.states.waiting)


def owns(target: Target) -> Composable:
    """Worker ``w`` is the one that the job names.

    Texts are compared in the type of the jobs' column, for its index; other types that differ, whatever their
    spelling: a living worker must not be taken for none.
    """
    shape_ = shape(target, "workers")
    name, id_ = target.mapping.jobs.worker, workers_id(target)
    if name is None:
        raise ValueError(f"queue {target.queue} maps workers without JOBS__WORKER")
    ours, theirs = target.jobs.columns[name], shape_.columns[id_]
    if ours.family == theirs.family == "text" and (ours.own_equality or theirs.own_equality):
        return sql.SQL("{} = {}").format(folded(job(name)), folded(worker(id_)))
    if ours.type == theirs.type or ours.family == theirs.family == "number":
        return sql.SQL("{} = {}").format(job(name), worker(id_))
    if ours.family == theirs.family == "text":
        return sql.SQL("{} = {}").format(job(name), cast(worker(id_), ours.type))
    return sql.SQL("{} = {}").format(spelled(job(name)), spelled(worker(id_)))


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
    silent = older_than(target, shape_, "w", mapped.heartbeat, target.limits.dead_after, "dead_after")
    if mapped.started_at is None:
        return silent
    never = sql.SQL("{} IS NULL AND {}").format(
        worker(mapped.heartbeat),
        older_than(target, shape_, "w", mapped.started_at, target.limits.dead_after, "dead_after"),
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
    """The job started, and last beat where it does, further back than a limit, and than its own limits."""
    jobs = target.mapping.jobs
    if jobs.started_at is None:
        return TRUE
    started = instant(target, target.jobs, "j", jobs.started_at)
    parts = [older(target, jobs.started_at, limit, name=name)]
    silent: Composable = TRUE
    beaten = started
    if jobs.heartbeat is not None:
        silent = sql.SQL("({} IS NULL OR {})").format(
            job(jobs.heartbeat), older(target, jobs.heartbeat, limit, name=name)
        )
        beaten = sql.SQL("greatest({}, {})").format(
            started, instant(target, target.jobs, "j", jobs.heartbeat)
        )
    return every([*parts, own_limits(target, started, beaten, silent)])


def beats(target: Target, limit: timedelta) -> Composable | None:
    """The job has beaten within ``dead_after`` or its own seconds, by a clock that is not that far ahead.

    None where it has no heartbeat.
    """
    jobs = target.mapping.jobs
    if jobs.heartbeat is None:
        return None
    beat, name = job(jobs.heartbeat), "dead_after"
    late = [sql.SQL("{} >= {}").format(beat, ago(target, target.jobs, jobs.heartbeat, limit, name))]
    if jobs.heartbeat_seconds is not None:
        beaten = instant(target, target.jobs, "j", jobs.heartbeat)
        silent = _seconds_ago(jobs.heartbeat_seconds, beaten)
        late.append(sql.SQL("{} IS NOT NULL AND NOT ({})").format(job(jobs.heartbeat_seconds), silent))
    latest = ahead(target, target.jobs, jobs.heartbeat, limit, name)
    return every([some(late), sql.SQL("{} <= {}").format(beat, latest)])


def own_limits(target: Target, started: Composable, beaten: Composable, silent: Composable) -> Composable:
    """The job has outrun its own limits, where its row has any.

    Args:
        target: the queue.
        started: when it started, as timestamptz; a later time errs on the young side.
        beaten: when it last beat.
        silent: what must hold, too, of a job that has no heartbeat of its own.
    """
    jobs = target.mapping.jobs
    parts = [silent]
    if jobs.timeout_seconds is not None:
        parts.append(_seconds_ago(jobs.timeout_seconds, started))
    unbound = every(parts)
    if jobs.heartbeat is None or jobs.heartbeat_seconds is None:
        return unbound
    return sql.SQL("CASE WHEN {} IS NOT NULL THEN {} ELSE {} END").format(
        job(jobs.heartbeat_seconds), _seconds_ago(jobs.heartbeat_seconds, beaten), unbound
    )


def _seconds_ago(seconds: str, since: Composable) -> Composable:
    """A time lies further back than the job's own number of seconds says, which may mean: for ever."""
    return sql.SQL(
        "{} + make_interval(secs => least(greatest(coalesce(CAST({} AS float8), 0), 0), 3e9))"
        " < statement_timestamp()"
    ).format(since, job(seconds))
