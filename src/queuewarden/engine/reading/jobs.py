"""Jobs a page at a time, in the order of their keys: what comes meanwhile disturbs no later page."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

from psycopg import sql

from queuewarden.engine.lanes import in_lane
from queuewarden.engine.lookup import lane_name
from queuewarden.engine.reading.parts import NOW, NULL, behind, latest, order, text, time
from queuewarden.engine.render import compiled, texts
from queuewarden.engine.shown import shown
from queuewarden.queues.keys import key_names
from queuewarden.queues.sqltext import INTEGER, INTERVAL, Value, commas, every
from queuewarden.queues.terms import relation, state, status_is, status_text
from queuewarden.queues.times import instant

if TYPE_CHECKING:
    from datetime import timedelta

    from psycopg.sql import Composable

    from queuewarden.adapters.db.session import Query, Row
    from queuewarden.engine.lanes import Lane
    from queuewarden.model import Key
    from queuewarden.queues.target import Target

State = Literal["waiting", "running", "done", "failed", "cancelled"]
STATES: tuple[State, ...] = get_args(State)

INSTANT = ("pg_catalog", "timestamptz")


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs: those that meet all that is given.

    Attributes:
        lane: as `find_lane` found it; for queues with lanes only.
        since: whose latest time that is known is not before this moment, or no older than this.
    """

    state: State | None = None
    lane: Lane | None = None
    since: datetime | timedelta | None = None


class JobRow(NamedTuple):
    """One job as people see it; what is not mapped is None."""

    key: Key
    id: str
    label: str | None
    state: State | None
    status: str | None
    worker: str | None
    lane: str | None
    position: int | str | None
    enqueued_at: str | None
    started_at: str | None
    finished_at: str | None
    heartbeat_at: str | None
    attempts: int | str | None
    error: str | None


def job_page(target: Target, wanted: JobFilter, after: Key | None, limit: int) -> Query | None:
    """The jobs behind a key; None where the mapping tells that there is none such.

    Args:
        target: the queue.
        wanted: which jobs.
        after: the key of the last one of the page before.
        limit: at most so many.
    """
    conditions: list[Composable] = []
    if wanted.state is not None:
        values = getattr(target.mapping.states, wanted.state)
        if not values:
            return None
        conditions.append(status_is(target, wanted.state, values))
    if wanted.lane is not None:
        conditions.append(in_lane(target, lane_columns(target), wanted.lane))
    if wanted.since is not None:
        known = last_known(target)
        if known is None:
            return None
        conditions.append(sql.SQL("{} >= {}").format(known, _moment(wanted.since)))
    if after is not None:
        conditions.append(behind(target, "jobs", after))
    return compiled(
        sql.SQL("SELECT {}\n  FROM {} AS j\n WHERE {}\n ORDER BY {} LIMIT {}").format(
            commas(_columns(target)),
            relation(target.jobs),
            every(conditions),
            commas(order(target, "jobs")),
            Value("limit", limit, INTEGER),
        )
    )


def job_row(row: Row) -> JobRow:
    """From a row of `job_page`."""
    key, labels, state, status, worker, lane, position, enqueued, started, finished, beat, attempts, error = (
        row
    )
    return JobRow(
        tuple(key),
        ",".join(key),
        ":".join(part for part in labels if part is not None) or None,
        state,
        status,
        worker,
        lane_name(tuple(lane)) if lane is not None else None,
        number(position),
        enqueued,
        started,
        finished,
        beat,
        number(attempts),
        error,
    )


def lane_columns(target: Target) -> tuple[str, ...]:
    """The columns that name a job's lane; empty where the queue has no lanes."""
    positions = target.mapping.positions
    return positions.lane if positions is not None else ()


def last_known(target: Target) -> Composable | None:
    """The latest time that is known of a job; None where none is mapped."""
    jobs = target.mapping.jobs
    times = [
        instant(target, target.jobs, "j", name)
        for name in (jobs.updated_at, jobs.finished_at, jobs.started_at)
        if name is not None
    ]
    known: list[Composable] = [latest(times)] if times else []
    if jobs.enqueued_at is not None:
        known.append(instant(target, target.jobs, "j", jobs.enqueued_at))
    return sql.SQL("coalesce({})").format(commas(known)) if known else None


def number(value: str | None) -> int | str | None:
    """A whole number as such, anything else as the text that it is."""
    if value is None:
        return None
    digits = value.removeprefix("-")
    return int(value) if digits.isascii() and digits.isdigit() and len(digits) < 19 else value  # noqa: PLR2004 -- so many fit 64 bits


def _columns(target: Target) -> list[Composable]:
    jobs, positions = target.mapping.jobs, target.mapping.positions
    lane = lane_columns(target)
    return [
        texts(key_names(target, "jobs")),
        texts([text(target, "jobs", name) for name in jobs.label]),
        state(target),
        shown(status_text(target)),
        text(target, "jobs", jobs.worker),
        texts([text(target, "jobs", name) for name in lane]) if lane else NULL,
        text(target, "jobs", positions.column if positions is not None else None),
        *(
            time(target, "jobs", name)
            for name in (jobs.enqueued_at, jobs.started_at, jobs.finished_at, jobs.heartbeat)
        ),
        text(target, "jobs", jobs.attempts),
        text(target, "jobs", jobs.error),
    ]


def _moment(since: datetime | timedelta) -> Composable:
    if isinstance(since, datetime):
        return Value("since", since, INSTANT)
    return sql.SQL("{} - {}").format(NOW, Value("since", since, INTERVAL))
