"""Runs of upkeep in the ledger's schema: one at a time in a database, each with what it did.

A run is taken for alive while it is renewed; whoever begins the next one finds those that were killed. All
moments are the database's.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from queuewarden.adapters.db.session import Query
from queuewarden.engine.upkeep.schedule import LATE, Last
from queuewarden.engine.upkeep.task import Step
from queuewarden.redact import redact

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime

    from queuewarden.adapters.db.session import Row, Session
    from queuewarden.engine.upkeep.config import TaskName

Result = Literal["running", "done", "failed", "skipped", "killed"]
Trigger = Literal["schedule", "hand"]

ALIVE = timedelta(seconds=60)
"""A run that was not renewed for so long was killed."""

BEAT = 15.0
"""Seconds between two renewals."""

FIRST = "a new schedule: it begins with the next moment"
MISSED = "missed"
"""Why nothing was run at a moment of the schedule."""

MOST_STEPS = 500
"""Steps of one run that are recorded."""

_BURY = Query(
    b"UPDATE queuewarden.upkeep_runs SET result = 'killed', finished_at = alive_until,"
    b" summary = 'it gave no sign of life any more'"
    b" WHERE result = 'running' AND alive_until < clock_timestamp()",
    {},
)
_BEGIN = b"""
INSERT INTO queuewarden.upkeep_runs (environment, task, trigger, actor, slot, schedule, alive_until)
SELECT %(environment)s, %(task)s, %(trigger)s, %(actor)s, %(slot)s::timestamptz, %(schedule)s,
       clock_timestamp() + %(alive)s::interval
 WHERE NOT EXISTS (
    SELECT FROM queuewarden.upkeep_runs AS r
     WHERE r.environment = %(environment)s AND r.task = %(task)s AND r.trigger = 'schedule'
       AND r.schedule = %(schedule)s AND r.slot >= %(slot)s::timestamptz AND r.result <> 'killed'
       AND r.slot <= clock_timestamp() + %(late)s::interval)
    ON CONFLICT (result) WHERE result = 'running' DO NOTHING
RETURNING number"""
_RUNNING = Query(b"SELECT task, environment, actor FROM queuewarden.upkeep_runs WHERE result = 'running'", {})
_BEAT = (
    b"UPDATE queuewarden.upkeep_runs SET alive_until = clock_timestamp() + %(alive)s::interval"
    b" WHERE number = %(number)s AND result = 'running'"
)
_END = (
    b"UPDATE queuewarden.upkeep_runs SET finished_at = clock_timestamp(), result = %(result)s,"
    b" summary = %(summary)s, did = %(did)s::jsonb"
    b" WHERE number = %(number)s AND result IN ('running', 'killed')"
)
_NOTE = (
    b"INSERT INTO queuewarden.upkeep_runs (environment, task, trigger, actor, slot, schedule, alive_until,"
    b" finished_at, result, summary) VALUES (%(environment)s, %(task)s, 'schedule', %(actor)s,"
    b" %(slot)s::timestamptz, %(schedule)s, clock_timestamp(), clock_timestamp(), 'skipped', %(summary)s)"
)
_COLUMNS = (
    b"number, environment, task, trigger, actor, slot, started_at, finished_at,"
    b" CASE WHEN result = 'running' AND alive_until < clock_timestamp() THEN 'killed' ELSE result END,"
    b" summary, did"
)
_LIST = (
    b"SELECT " + _COLUMNS + b" FROM queuewarden.upkeep_runs WHERE environment = %(environment)s"
    b" AND (%(task)s::text IS NULL OR task = %(task)s) ORDER BY number DESC LIMIT %(most)s"
)
_KNOWN = b"""
SELECT t.task, s.slot, s.schedule, s.result, s.attempts, r.result, r.finished_at, r.seconds, r.summary,
       d.finished_at, clock_timestamp()
  FROM unnest(%(tasks)s::text[]) AS t(task)
  LEFT JOIN LATERAL (
    SELECT x.slot, x.schedule,
           CASE WHEN x.result = 'running' AND x.alive_until < clock_timestamp() THEN 'killed' ELSE x.result
            END AS result,
           (SELECT count(*) FROM queuewarden.upkeep_runs AS y
             WHERE y.environment = x.environment AND y.task = x.task AND y.slot = x.slot
               AND y.schedule = x.schedule) AS attempts
      FROM queuewarden.upkeep_runs AS x
     WHERE x.environment = %(environment)s AND x.task = t.task AND x.trigger = 'schedule'
     ORDER BY x.number DESC LIMIT 1) AS s ON true
  LEFT JOIN LATERAL (
    SELECT x.result, x.finished_at, x.summary,
           extract(epoch FROM x.finished_at - x.started_at)::float8 AS seconds
      FROM queuewarden.upkeep_runs AS x
     WHERE x.environment = %(environment)s AND x.task = t.task AND x.result IN ('done', 'failed', 'killed')
     ORDER BY x.number DESC LIMIT 1) AS r ON true
  LEFT JOIN LATERAL (
    SELECT x.finished_at FROM queuewarden.upkeep_runs AS x
     WHERE x.environment = %(environment)s AND x.task = t.task AND x.result = 'done'
     ORDER BY x.number DESC LIMIT 1) AS d ON true"""
_FORGET = b"""
DELETE FROM queuewarden.upkeep_runs WHERE number IN (
    SELECT r.number FROM queuewarden.upkeep_runs AS r
     WHERE r.started_at < statement_timestamp() - %(keep)s::interval AND r.result <> 'running'
       AND EXISTS (SELECT FROM queuewarden.upkeep_runs AS n
                    WHERE n.environment = r.environment AND n.task = r.task AND n.trigger = r.trigger
                      AND n.number > r.number AND (n.result = r.result OR n.result = 'done'))
     ORDER BY r.started_at LIMIT 1000)
RETURNING 1"""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a task.

    Attributes:
        slot: the moment at which the schedule wanted it; None where a person did.
        finished_at: None while it runs.
    """

    number: int
    environment: str
    task: str
    trigger: Trigger
    actor: str
    slot: datetime | None
    started_at: datetime
    finished_at: datetime | None
    result: Result
    summary: str
    did: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of one task.

    Attributes:
        last: of its schedule; None where nothing was recorded of one.
        result: of its latest run that ended, whoever wanted it; None where there was none.
        ended_at, seconds, summary: of the same.
        succeeded_at: when it last went well.
        now: the database's moment.
    """

    task: TaskName
    last: Last | None
    result: Result | None
    ended_at: datetime | None
    seconds: float | None
    summary: str
    succeeded_at: datetime | None
    now: datetime


@dataclass(frozen=True, slots=True)
class Wanted:
    """A run that somebody wants.

    Attributes:
        slot, schedule: None where a person wants it.
    """

    environment: str
    task: TaskName
    actor: str
    slot: datetime | None = None
    schedule: str | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a run was not begun."""

    why: str


async def begin(session: Session, wanted: Wanted) -> int | Refusal:
    """Begin a run, where none is under way in this database; its number.

    Raises:
        psycopg.Error: as the server reports it.
    """
    trigger = "hand" if wanted.slot is None else "schedule"
    given = {**_values(wanted), "alive": ALIVE, "late": LATE, "trigger": trigger}
    _, begun, running = await session.together([_BURY, Query(_BEGIN, given), _RUNNING])
    if begun:
        ((number,),) = begun
        return int(number)
    if running:
        ((task, environment, actor),) = running
        return Refusal(f"{task} of {environment} is under way (by {actor})")
    return Refusal("somebody else has just done it")


async def beat(session: Session, number: int) -> None:
    """Renew a run.

    Raises:
        psycopg.Error: as the server reports it.
    """
    await session.together([Query(_BEAT, {"number": number, "alive": ALIVE})])


async def end(session: Session, number: int, result: Result, summary: str, did: Iterable[Step] = ()) -> None:
    """Record how a run ended; of its steps the first `MOST_STEPS`.

    Raises:
        psycopg.Error: as the server reports it.
    """
    steps = [redact(asdict(step)) for step, _ in zip(did, range(MOST_STEPS), strict=False)]
    # A NUL, which no text of the server may hold, has become visible by then.
    given = {
        "number": number,
        "result": result,
        "summary": redact(summary, limit=1000),
        "did": json.dumps(steps),
    }
    await session.together([Query(_END, given)])


async def note(session: Session, wanted: Wanted, summary: str) -> None:
    """Record a moment of the schedule at which nothing was run.

    Raises:
        psycopg.Error: as the server reports it.
    """
    await session.together([Query(_NOTE, {**_values(wanted), "summary": summary})])


async def latest(session: Session, environment: str, task: str | None = None, most: int = 20) -> list[Run]:
    """The latest runs, of one task or of all, the newest first.

    Raises:
        psycopg.Error: as the server reports it.
    """
    query = Query(_LIST, {"environment": environment, "task": task, "most": most})
    return [_run(row) for row in await session.rows(query)]


async def known(session: Session, environment: str, tasks: Collection[TaskName]) -> list[Known]:
    """What is known of some tasks.

    Raises:
        psycopg.Error: as the server reports it.
    """
    query = Query(_KNOWN, {"environment": environment, "tasks": list(tasks)})
    return [_known(row) for row in await session.rows(query)]


async def forget(session: Session, keep: timedelta) -> int:
    """Delete runs longer ago than ``keep``, 1000 at most, but never the last of a task; how many they were.

    Raises:
        psycopg.Error: as the server reports it.
    """
    (rows,) = await session.together([Query(_FORGET, {"keep": keep})])
    return len(rows)


def _values(wanted: Wanted) -> dict[str, Any]:
    return {
        "environment": wanted.environment,
        "task": wanted.task,
        "actor": wanted.actor,
        "slot": wanted.slot,
        "schedule": wanted.schedule,
    }


def _run(row: Row) -> Run:
    return replace(Run(*row[:-1]), did=tuple(Step(**step) for step in row[-1]))


def _known(row: Row) -> Known:
    task, slot, schedule, was, attempts, result, ended_at, seconds, summary, succeeded_at, now = row
    last = Last(slot, schedule, was, attempts) if slot is not None else None
    return Known(task, last, result, ended_at, seconds, summary or "", succeeded_at, now)
