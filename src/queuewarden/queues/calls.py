"""What data cannot say of a library's moves: its own functions, and rows of other tables freed with a job."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import sql

from queuewarden.queues.presets import library_of
from queuewarden.queues.sqltext import TEXT, Name, Value, cast
from queuewarden.queues.terms import job
from queuewarden.writes import Beside, Call

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg.sql import Composable

    from queuewarden.queues.target import Target

_NULL = sql.SQL("NULL")


@dataclass(frozen=True, slots=True)
class Calls:
    """The moves of one library that are code.

    Attributes:
        requeue, fail: the call that makes the move; None: a plain write, as the mapping says.
        beside: what is written beside a job, by its new state and the reason.
        over: a condition on which the library itself would give a job up.
        copied: a condition on a job that is given up: the library itself has to do it, since it copies it.
        needs: columns of the jobs table that all of this goes by.
        noted: it needs the table that notes starts, too.
        possible: what it needs is there; else no job is moved at all.
    """

    requeue: Callable[[Target], Call] | None = None
    fail: Callable[[Target], Call] | None = None
    beside: Callable[[Target, str, str], Beside] | None = None
    over: Callable[[Target], Composable] | None = None
    copied: Callable[[Target], Composable] | None = None
    needs: tuple[str, ...] = ()
    noted: bool = False
    possible: bool = True


def calls(target: Target) -> Calls:
    """The coded moves of a target's library; none for any other table."""
    library = library_of(target.mapping.preset)
    known = _CALLS.get(library.moves, _NONE) if library is not None else _NONE
    if set(known.needs) <= target.jobs.columns.keys() and not (known.noted and target.starts is None):
        return known
    return _IMPOSSIBLE


def _procrastinate_retry(target: Target) -> Call:
    """As its `retry_job`: one attempt more, due now; events are noted by its triggers."""
    columns = target.jobs.columns
    again = {
        "status": Value("procrastinate_todo", "todo", columns["status"].type),
        "attempts": sql.SQL("{} + 1").format(job("attempts")),
        "scheduled_at": sql.SQL("statement_timestamp()"),
    }
    call = sql.SQL("{}({}, statement_timestamp(), {}, {}, {})").format(
        Name(target.jobs.schema, "procrastinate_retry_job_v2"),
        Name("h", "k0"),
        cast(_NULL, ("pg_catalog", "int4")),
        cast(_NULL, ("pg_catalog", "varchar")),
        cast(_NULL, ("pg_catalog", "varchar")),
    )
    return Call(again, call=call)


def _procrastinate_finish(target: Target) -> Call:
    """As its worker ends a job that failed."""
    type_ = target.jobs.columns["status"].type
    failed = Value("procrastinate_failed", "failed", type_)
    values = {
        "status": failed,
        "attempts": sql.SQL("{} + 1").format(job("attempts")),
        "abort_requested": sql.SQL("false"),
    }
    call = sql.SQL("{}({}, {}, false)").format(
        Name(target.jobs.schema, "procrastinate_finish_job_v1"), Name("h", "k0"), failed
    )
    return Call(values, call=call)


def _graphile_queue(target: Target, _state: str, _note: str) -> Beside:
    """The named queue of a job runs one job at a time, and is locked with it: by one claim, at one moment.

    The library's own reset locks queues first, and jobs behind them: we must not wait for a queue that it
    holds. Whoever holds it frees it.
    """
    queues = Name(target.jobs.schema, "_private_job_queues")
    return Beside(
        {
            "queue_id": job("job_queue_id"),
            "owner": cast(job("locked_by"), TEXT),
            "claimed": job("locked_at"),
        },
        sql.SQL(
            "UPDATE {queues} AS q SET locked_at = NULL, locked_by = NULL WHERE q.id IN"
            " (SELECT s.id FROM {queues} AS s JOIN done AS h ON s.id = h.queue_id"
            " AND s.locked_by = h.owner AND s.locked_at = h.claimed FOR UPDATE OF s SKIP LOCKED)"
        ).format(queues=queues),
    )


def _retries_used_up(_: Target) -> Composable:
    """Where the library's maximum is 0 it means: never again."""
    return sql.SQL("{} >= {}").format(job("retry_count"), job("retry_limit"))


def _pgqueuer_log(target: Target, state: str, note: str) -> Beside:
    """Its log has a row for each change of a job; a failure has a traceback, as its own tools read it."""
    log = target.starts
    if log is None:
        raise ValueError(f"queue {target.queue} maps no STARTS, where its library logs each change")
    told: Composable = _NULL
    if state == "failed":
        told = sql.SQL(
            "jsonb_build_object('job_id', h.k0, 'timestamp', statement_timestamp(),"
            " 'exception_type', 'queuewarden', 'exception_message', {note}, 'traceback', {note},"
            " 'additional_context', NULL)"
        ).format(note=Value("log_note", note, TEXT))
    return Beside(
        {"priority": job("priority"), "entrypoint": job("entrypoint")},
        sql.SQL(
            "INSERT INTO {} (job_id, status, priority, entrypoint, traceback)"
            " SELECT h.k0, {}, h.priority, h.entrypoint, {} FROM done AS h"
        ).format(Name(log.schema, log.name), Value("log_state", state, log.columns["status"].type), told),
    )


_NONE = Calls()
_IMPOSSIBLE = Calls(possible=False)
_CALLS = {
    "procrastinate": Calls(
        requeue=_procrastinate_retry,
        fail=_procrastinate_finish,
        over=lambda _: job("abort_requested"),
        needs=("status", "attempts", "scheduled_at", "abort_requested"),
    ),
    "pgqueuer": Calls(beside=_pgqueuer_log, needs=("priority", "entrypoint"), noted=True),
    "graphile_worker": Calls(beside=_graphile_queue, needs=("job_queue_id", "locked_by", "locked_at")),
    "pg_boss": Calls(
        over=_retries_used_up,
        copied=lambda _: sql.SQL("{} IS NOT NULL").format(job("dead_letter")),
        needs=("retry_count", "retry_limit", "dead_letter"),
    ),
}
