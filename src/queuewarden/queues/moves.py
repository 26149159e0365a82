"""Moves: how a job of this queue is put back to waiting, failed, or cancelled, and by what right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from psycopg import sql

from queuewarden.model import Rule
from queuewarden.queues.calls import calls
from queuewarden.queues.conditions import Compared, Has, Locked, Null, condition
from queuewarden.queues.keys import key_among
from queuewarden.queues.signs import unlocked
from queuewarden.queues.sqltext import INTEGER, TEXT, Value, cast, every, negate, some
from queuewarden.queues.starts import too_many_starts
from queuewarden.queues.terms import job, spared, status
from queuewarden.queues.times import now
from queuewarden.writes import Put

if TYPE_CHECKING:
    from collections.abc import Mapping

    from psycopg.sql import Composable

    from queuewarden.queues.conditions import Condition, Written
    from queuewarden.queues.target import Target
    from queuewarden.writes import Beside

NOTE_PREFIX = "queuewarden: "
NULL = sql.SQL("NULL")


def requeue(target: Target, note: str, *, count_attempt: bool = True) -> Put | None:
    """Back to waiting: worker, start and job heartbeat cleared, the lost attempt counted where it must be.

    None where the mapping leaves nothing to write that would end its running: such a job is only reported.
    """
    own = calls(target)
    if not own.possible:
        return None
    if own.requeue is not None:
        return own.requeue(target)
    jobs, states = target.mapping.jobs, target.mapping.states
    values = _cleared(target, (jobs.worker, jobs.started_at, jobs.heartbeat, *jobs.clear))
    if count_attempt:
        values |= _counted(target)
    values |= _noted(target, note)
    stated = _stated(target, "to_waiting", states.waiting)
    values = _worded(target, stated | values, target.mapping.requeue)
    if not _ends(target, "running", values):
        return None
    return Put(values, beside=_beside(target, states.waiting, note))


def fail(target: Target, note: str) -> Put | None:
    """To failed, its worker and start kept for whoever looks why; None where no failed state is mapped.

    Without a status column it takes the mapping's own word (``fail``, or ``failed_at``) to make a job failed.
    """
    mapping, own = target.mapping, calls(target)
    if not own.possible:
        return None
    if own.fail is not None:
        return own.fail(target)
    if mapping.jobs.status is None and not (mapping.fail or mapping.jobs.failed_at):
        return None
    put = _finish(target, mapping.states.failed, "to_failed", note, counted=True)
    if put is None:
        return None
    values = _worded(target, dict(put.values), mapping.fail)
    if not _ends(target, "running", values):
        return None
    return Put(values, beside=_beside(target, mapping.states.failed, note))


def _beside(target: Target, states: tuple[str, ...], note: str) -> Beside | None:
    """What its library needs to be written beside a job that becomes such."""
    beside = calls(target).beside
    return beside(target, states[0], note) if beside is not None else None


def cancel(target: Target, note: str) -> Put | None:
    """To cancelled; None where no cancelled state is mapped, or no status column could tell it."""
    if target.mapping.jobs.status is None:
        return None
    return _finish(target, target.mapping.states.cancelled, "to_cancelled", note, counted=False)


def retry(target: Target) -> Put | None:
    """A failed job back to waiting, with its attempts to come; None where that does not undo its failure."""
    own = calls(target)
    if not own.possible:
        return None
    if own.requeue is not None:
        return own.requeue(target)
    jobs, states = target.mapping.jobs, target.mapping.states
    over = (jobs.worker, jobs.started_at, jobs.heartbeat, jobs.finished_at, jobs.failed_at, *jobs.clear)
    values = _cleared(target, over)
    if jobs.attempts is not None:
        values[jobs.attempts] = cast(sql.SQL("0"), target.jobs.columns[jobs.attempts].type)
    values |= _touched(target)
    stated = _stated(target, "to_waiting", states.waiting)
    values = _worded(target, stated | values, target.mapping.requeue)
    if not _ends(target, "failed", values):
        return None
    return Put(values, beside=_beside(target, states.waiting, ""))


def release(
    target: Target,
    *,
    code: str,
    where: Composable,
    reason: str,
    patience: object = None,
    **rest: object,
) -> tuple[Rule, ...]:
    """The two rules for jobs that nobody runs any more: back to waiting, or to failed once they are spent.

    Args:
        target: the queue.
        code: the rules' code; the second one's ends in ``_spent``.
        where: which running jobs.
        reason: why, for log and error column.
        patience: see `Rule`.
        rest: further fields of `Rule`.
    """
    note = f"{NOTE_PREFIX}{reason.replace('_', ' ')}"
    over = spent(target)
    if (left := spared(target)) is not None:
        where = every([where, negate(left)])
    common = {"table": "jobs", "reason": reason, "patience": patience, "brake": True, **rest}
    if free := unlocked(target):
        common["cleared"] = free
    back = Rule(
        code=code,
        event="jobs.reset",
        where=every([where, negate(over)]) if over is not None else where,
        write=requeue(target, note),
        **common,  # type: ignore[arg-type]  # the fields of Rule, passed through
    )
    if over is None:
        return (back,)
    copied = calls(target).copied
    failed = Rule(
        code=f"{code}_spent",
        event="jobs.failed",
        where=every([where, over, *([negate(copied(target))] if copied is not None else [])]),
        write=fail(target, f"{note}, no attempt left"),
        **common,  # type: ignore[arg-type]  # as above
    )
    return back, failed


def spent(target: Target) -> Composable | None:
    """The job has no attempt left, by its own maximum or by the rescue budget; None where neither applies."""
    parts: list[Composable] = []
    jobs = target.mapping.jobs
    if jobs.attempts is not None and jobs.max_attempts is not None:
        limit = (
            Value("max_attempts", jobs.max_attempts, INTEGER)
            if isinstance(jobs.max_attempts, int)
            else job(jobs.max_attempts)
        )
        lost = sql.SQL(" + 1") if jobs.attempts_counted == "finish" else sql.SQL("")
        parts.append(
            sql.SQL("{limit} > 0 AND coalesce({attempts}, 0){lost} >= {limit}").format(
                limit=limit, attempts=job(jobs.attempts), lost=lost
            )
        )
    if jobs.attempts_counted == "never" and (often := too_many_starts(target)) is not None:
        parts.append(often)
    if (gives_up := calls(target).over) is not None:
        parts.append(gives_up(target))
    if target.worn:
        parts.append(key_among(target, "jobs", "worn", sorted(target.worn)))
    return some(parts) if parts else None


def _finish(target: Target, states: tuple[str, ...], name: str, note: str, *, counted: bool) -> Put | None:
    if not states:
        return None
    jobs = target.mapping.jobs
    values = _cleared(target, jobs.clear)
    if counted:
        values |= _counted(target)
    ended = (jobs.failed_at if counted else None) or jobs.finished_at
    if ended is not None:
        values[ended] = now(target, target.jobs, ended)
    values |= _noted(target, note)
    return Put(_stated(target, name, states) | values)


def _stated(target: Target, name: str, values: tuple[str, ...]) -> dict[str, Composable]:
    """The status column's new value; nothing where other columns tell the state."""
    column = target.mapping.jobs.status
    return {} if column is None else {column: status(target, name, values[0])}


def _ends(target: Target, state: Literal["running", "failed"], values: Mapping[str, Composable]) -> bool:
    """What a move writes takes the job out of a state: else each look would find it there again."""
    jobs, texts = target.mapping.jobs, getattr(target.mapping.states, state)
    if jobs.status is None:
        return any(_breaks(condition(text), values) for text in texts)
    new = values.get(jobs.status)
    return new is not None and not (isinstance(new, Value) and new.value in texts)


def _breaks(one: Condition, values: Mapping[str, Composable]) -> bool:
    """A condition does not hold any more, or at least need not, once some columns have new values."""
    match one:
        case Null(column, wanted):
            return column in values and (values[column] is NULL) != wanted
        case Compared(column, _, _, other):
            return column in values or other in values
        case Has(column, _):
            return column in values
        case Locked():
            return False


def _worded(
    target: Target, values: dict[str, Composable], words: tuple[Written, ...]
) -> dict[str, Composable]:
    """What a move writes, with what the mapping says in its own words."""
    for number, one in enumerate(words):
        values.pop(one.column, None)
        if one.word != "keep":
            values[one.column] = _word(target, one, f"written_{number}")
    return values


def _word(target: Target, one: Written, name: str) -> Composable:
    type_ = target.jobs.columns[one.column].type
    match one.word:
        case "null":
            return NULL
        case "+1":
            return cast(sql.SQL("coalesce({}, 0) + 1").format(job(one.column)), type_)
        case "column":
            return cast(job(one.text), type_)
        case "text":
            return Value(name, one.text, type_)
    moment = now(target, target.jobs, one.column)
    if one.word == "not before now":
        return sql.SQL("greatest({}, {})").format(job(one.column), moment)
    return moment


def _cleared(target: Target, columns: tuple[str | None, ...]) -> dict[str, Composable]:
    """NULL for each column that can hold it."""
    return {
        column: NULL for column in columns if column is not None and not target.jobs.columns[column].not_null
    }


def _counted(target: Target) -> dict[str, Composable]:
    jobs = target.mapping.jobs
    if jobs.attempts is None or jobs.attempts_counted != "finish":
        return {}
    one_more = sql.SQL("coalesce({}, 0) + 1").format(job(jobs.attempts))
    return {jobs.attempts: cast(one_more, target.jobs.columns[jobs.attempts].type)}


def _noted(target: Target, note: str) -> dict[str, Composable]:
    """The reason, in the error column, but never over an error that the application wrote."""
    jobs = target.mapping.jobs
    values = _touched(target)
    if jobs.error is None or target.jobs.columns[jobs.error].family != "text":
        return values
    column = job(jobs.error)
    ours = sql.SQL("{column} IS NULL OR {column} = '' OR starts_with({text}, {prefix})").format(
        column=column, text=cast(column, TEXT), prefix=Value("note_prefix", NOTE_PREFIX, TEXT)
    )
    written = cast(Value("note", note, TEXT), target.jobs.columns[jobs.error].type)
    values[jobs.error] = sql.SQL("CASE WHEN {} THEN {} ELSE {} END").format(ours, written, column)
    return values


def _touched(target: Target) -> dict[str, Composable]:
    jobs = target.mapping.jobs
    if jobs.updated_at is None:
        return {}
    return {jobs.updated_at: now(target, target.jobs, jobs.updated_at)}
