"""``GET /api/jobs``: jobs, a page at a time."""

import asyncio
from typing import Annotated, Any

import psycopg
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel

from queuewarden.application.http.access import Reader
from queuewarden.application.http.choice import Choice, ChoiceOf
from queuewarden.application.http.data.answers import Answers
from queuewarden.application.http.data.desk import WITHIN, Seat, failure
from queuewarden.application.http.data.lanes import LaneSearch
from queuewarden.application.http.data.parameters import (
    Cursor,
    DeskOf,
    Limit,
    Moment,
    Since,
    Trouble,
    by_name,
    clean,
    from_cursor,
    off_loop,
    since_of,
    targets_of,
    to_cursor,
    troubles,
    unread,
    wrong_cursor,
)
from queuewarden.application.http.problems import documented
from queuewarden.engine.reading.jobs import JobFilter, JobRow, State, job_page, job_row, last_known
from queuewarden.model import Key
from queuewarden.queues.target import Target

router = APIRouter()

WAVE = 4
"""Environments that are asked at a time: the first ones may have enough."""


class Job(BaseModel):
    """One job; what the queue's mapping does not name is null.

    Attributes:
        state: what the status means; null where the mapping does not know it.
    """

    environment: str
    queue: str
    id: str
    label: str | None
    state: State | None
    status: str | None
    worker: str | None
    lane: str | None
    position: int | str | None
    enqueued_at: Moment | None
    started_at: Moment | None
    finished_at: Moment | None
    heartbeat_at: Moment | None
    attempts: int | str | None
    error: str | None


class Jobs(BaseModel):
    """A page of jobs.

    Attributes:
        cursor: where the next page begins; null where there is none.
        errors: what could not be read, and is missing here.
        notes: what the answer could not take into account.
    """

    jobs: list[Job]
    cursor: str | None
    errors: list[Trouble]
    notes: list[str]


class Place(BaseModel):
    """Behind which job a page begins."""

    e: str
    q: str
    k: list[str]


class Page:
    """One environment's part of a page.

    Attributes:
        rows: queue and job.
        troubles: queues that could not be read.
        notes: see `Jobs`.
    """

    def __init__(self) -> None:
        self.rows: list[tuple[str, JobRow]] = []
        self.troubles: list[Trouble] = []
        self.notes: list[str] = []


@router.get("/api/jobs", responses=documented(404, 503), summary="Jobs, in the order of their keys")
async def jobs(
    request: Request,
    _: Reader,
    choice: ChoiceOf,
    desk: DeskOf,
    state: Annotated[State | None, Query(description="Jobs in this state only.")] = None,
    since: Since = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Jobs:
    """Jobs of all environments and queues, ordered by environment, queue and key.

    ``since``: the latest time that is known of the job, by its database's clock, is not earlier.
    """
    wanted = JobFilter(state, since=since_of(since))
    place, search = from_cursor(cursor, Place), LaneSearch(choice.lane)
    guards = [one for one in by_name(choice.guards) if place is None or one.config.name >= place.e]
    until = asyncio.get_running_loop().time() + WITHIN
    answers: Answers[Page] = Answers()
    rows: list[tuple[str, str, JobRow]] = []
    missing: list[Trouble] = []
    notes: list[str] = []

    async def work(seat: Seat) -> Page:
        return await page(seat, choice, wanted, search, place, limit + 1)

    while guards and len(rows) <= limit:
        wave, guards = guards[:WAVE], guards[WAVE:]
        answers.take(await desk.visit(request, wave, work, until=until))
        for guard in wave:
            found = answers.results.get(guard.config.name)
            if found is not None and len(rows) <= limit:
                rows += [(guard.config.name, queue, row) for queue, row in found.rows]
                missing += [*unread(choice, guard), *found.troubles]
                notes += found.notes
    answers.require_any()
    # A later page need not come by the queue that has the lane.
    if place is None and not answers.errors:
        search.require()
    more = len(rows) > limit
    rows = rows[:limit]
    last = rows[-1] if more else None
    return Jobs(
        jobs=[Job(**one) for one in await off_loop(lambda: [fields(*row) for row in rows])],
        cursor=to_cursor(Place(e=last[0], q=last[1], k=list(last[2].key))) if last is not None else None,
        errors=[*troubles(answers), *missing],
        notes=notes,
    )


async def page(
    seat: Seat, choice: Choice, wanted: JobFilter, search: LaneSearch, place: Place | None, limit: int
) -> Page:
    """The jobs of one environment behind a place, as many as there is room for.

    Raises:
        Problem: the place is none in this list.
        psycopg.Error: the connection is lost.
    """
    found, environment = Page(), seat.guard.config.name
    for target in targets_of(choice, seat.guard):
        here = place is not None and place.e == environment
        if here and place is not None and target.queue < place.q:
            continue
        after = tuple(place.k) if here and place is not None and target.queue == place.q else None
        if len(found.rows) >= limit:
            break
        if wanted.since is not None and last_known(target) is None:
            found.notes.append(f"{environment}/{target.queue} maps no time: `since` finds nothing there")
        try:
            rows = await page_of(seat, target, wanted, search, after, limit - len(found.rows))
        except psycopg.Error as error:
            if not seat.session.usable:
                raise
            message = failure(error)
            found.troubles.append(Trouble(environment=environment, queue=target.queue, message=message))
            continue
        found.rows += [(target.queue, row) for row in rows]
    return found


async def page_of(
    seat: Seat, target: Target, wanted: JobFilter, search: LaneSearch, after: Key | None, limit: int
) -> list[JobRow]:
    """The jobs of one queue behind a key.

    Raises:
        Problem: the key is none of this queue's.
        psycopg.Error: as the server reports it.
    """
    meant, lane = await search.of(seat.session, target)
    if not meant:
        return []
    if after is not None and (len(after) != len(target.mapping.jobs.id) or "\0" in "".join(after)):
        raise wrong_cursor()
    query = job_page(target, JobFilter(wanted.state, lane, wanted.since), after, limit)
    if query is None:
        return []
    try:
        return [job_row(row) for row in await seat.session.rows(query)]
    except psycopg.DataError:
        if after is None:
            raise
        raise wrong_cursor() from None


def told(target: Target, rows: list[JobRow]) -> list[dict[str, Any]]:
    """Jobs of one queue as plain values."""
    return [fields(target.environment, target.queue, row) for row in rows]


def fields(environment: str, queue: str, row: JobRow) -> dict[str, Any]:
    """A job as plain values."""
    values: dict[str, Any] = row._asdict()
    del values["key"]
    for name in ("id", "label", "status", "worker", "lane", "position", "attempts", "error"):
        values[name] = clean(values[name])
    return {"environment": environment, "queue": queue, **values}
