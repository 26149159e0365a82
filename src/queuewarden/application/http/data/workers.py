"""``GET /api/workers``: who works, who is silent."""

from functools import partial
from typing import Any

import psycopg
from fastapi import APIRouter, Request
from pydantic import BaseModel

from queuewarden.application.http.access import Reader
from queuewarden.application.http.choice import PlacesOf
from queuewarden.application.http.data.answers import Answers
from queuewarden.application.http.data.desk import Seat, failure
from queuewarden.application.http.data.parameters import (
    DeskOf,
    Limit,
    Moment,
    Trouble,
    by_name,
    clean,
    off_loop,
    targets_of,
    troubles,
    unread,
)
from queuewarden.application.http.problems import documented
from queuewarden.engine.reading.workers import WorkerRow, worker_page, worker_row
from queuewarden.queues.target import Target

router = APIRouter()


class Worker(BaseModel):
    """One worker; what the queue's mapping does not name is null.

    Attributes:
        alive: it has beaten within DEAD_AFTER.
        silent_seconds: since its last heartbeat; null where there was none.
        running_jobs: those of this queue that name it.
    """

    environment: str
    queue: str
    id: str
    status: str | None
    alive: bool
    heartbeat_at: Moment | None
    silent_seconds: int | None
    current_job: str | None
    running_jobs: int
    started_at: Moment | None


class Workers(BaseModel):
    """Workers, by environment, queue and id.

    Attributes:
        more: there are others, behind the limit.
        errors: what could not be read, and is missing here.
        notes: queues whose workers are not in this list, and why.
    """

    workers: list[Worker]
    more: bool
    errors: list[Trouble]
    notes: list[str]


@router.get("/api/workers", responses=documented(404, 503), summary="Workers, and which of them beat")
async def workers(request: Request, _: Reader, choice: PlacesOf, desk: DeskOf, limit: Limit = 100) -> Workers:
    """Workers of all environments and queues; those that two queues share stand in both."""
    missing: list[Trouble] = []
    notes: list[str] = []

    async def work(seat: Seat) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for target in targets_of(choice, seat.guard):
            if (note := elsewhere(target)) is not None:
                notes.append(note)
            try:
                rows = await workers_of(seat, target, None, limit + 1 - len(found))
            except psycopg.Error as error:
                if not seat.session.usable:
                    raise
                message = failure(error)
                missing.append(Trouble(environment=target.environment, queue=target.queue, message=message))
                continue
            found += await off_loop(partial(told, target, rows))
        missing.extend(unread(choice, seat.guard))
        return found

    answers: Answers[list[dict[str, Any]]] = Answers()
    answers.take(await desk.visit(request, by_name(choice.guards), work))
    answers.require_any()
    found = [Worker(**one) for name in sorted(answers.results) for one in answers.results[name]]
    return Workers(
        workers=found[:limit],
        more=len(found) > limit,
        errors=[*troubles(answers), *missing],
        notes=sorted(notes),
    )


async def workers_of(seat: Seat, target: Target, after: str | None, limit: int) -> list[WorkerRow]:
    """The workers of one queue behind an id.

    Raises:
        psycopg.Error: as the server reports it.
    """
    query = worker_page(target, after, limit) if limit > 0 else None
    return [worker_row(row) for row in await seat.session.rows(query)] if query is not None else []


def elsewhere(target: Target) -> str | None:
    """Why a queue's workers are not in its database's list, if they are not."""
    mapped, place = target.mapping.workers, f"{target.environment}/{target.queue}"
    if mapped is None:
        return f"{place} maps no workers"
    if target.workers is None:
        return f"the workers of {place} register in {mapped.registered_in}"
    return None


def told(target: Target, rows: list[WorkerRow]) -> list[dict[str, Any]]:
    """Workers as plain values."""
    return [fields(target, row) for row in rows]


def fields(target: Target, row: WorkerRow) -> dict[str, Any]:
    """A worker as plain values."""
    values: dict[str, Any] = row._asdict()
    for name in ("id", "status", "current_job"):
        values[name] = clean(values[name])
    return {"environment": target.environment, "queue": target.queue, **values}
