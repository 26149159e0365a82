"""``GET /api/history``: what was changed, as the ledger has it."""

import heapq
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from queuewarden.application.changes import document
from queuewarden.application.http.access import Reader
from queuewarden.application.http.choice import Choice, PlacesOf
from queuewarden.application.http.data.answers import Answers
from queuewarden.application.http.data.desk import Seat
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
    to_cursor,
    troubles,
)
from queuewarden.application.http.problems import documented
from queuewarden.engine.ledger.entries import Wanted, batches
from queuewarden.engine.ledger.schema import read_schema
from queuewarden.model import Change

router = APIRouter()

Check = Literal["dead_workers", "stuck_jobs", "orphans", "timestamps", "lanes", "positions", "by_hand"]

PAGE = 5
"""Rows of the ledger that are read at a time, each of up to 1000 changes: the daemon stays small."""

CheckOf = Annotated[Check | None, Query(description="Changes of this check only.")]
SweepOf = Annotated[str | None, Query(max_length=40, description="Changes of this sweep only.")]


class Recorded(BaseModel):
    """One change; ``before`` and ``after`` are the row, column by column, as PostgreSQL prints it."""

    id: int
    at: Moment
    environment: str
    queue: str
    check: str
    rule: str
    event: str
    reason: str
    table: str
    key: list[str]
    actor: str
    epoch: int | None
    sweep: str
    undoes: int | None
    undone_by: int | None
    before: dict[str, str | None] | None
    after: dict[str, str | None] | None


class History(BaseModel):
    """A page of changes, the newest first.

    Attributes:
        cursor: where the next page begins; null where there is none.
        errors: what could not be read, and is missing here.
        notes: environments without a ledger.
    """

    changes: list[Recorded]
    cursor: str | None
    errors: list[Trouble]
    notes: list[str]


class Place(BaseModel):
    """Below which change a page begins, by environment; one that is not named begins at its end."""

    b: dict[str, Annotated[int, Field(ge=0, lt=2**63)]]


@router.get("/api/history", responses=documented(404, 503), summary="What was changed")
async def history(
    request: Request,
    _: Reader,
    choice: PlacesOf,
    desk: DeskOf,
    since: Since = None,
    check: CheckOf = None,
    sweep: SweepOf = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> History:
    """What was changed, by whom and why."""
    place = from_cursor(cursor, Place)
    below = place.b if place is not None else {}
    after = since_of(since)
    notes: list[str] = []

    async def work(seat: Seat) -> list[Change]:
        if (note := await no_ledger(seat)) is not None:
            notes.append(note)
            return []
        name = seat.guard.config.name
        return await changes(
            seat, wanted(choice, name, after, check, sweep, below.get(name)), after, limit + 1
        )

    answers: Answers[list[Change]] = Answers()
    answers.take(await desk.visit(request, by_name(choice.guards), work))
    answers.require_any()
    # Merged rather than sorted: the cursor goes by ids, of which times may differ by a hair.
    found = list(heapq.merge(*answers.results.values(), key=lambda one: one.at, reverse=True))
    next_: dict[str, int] = dict(below)
    for one in found[:limit]:
        name = one.finding.environment
        next_[name] = min(one.id, next_.get(name, one.id))
    return History(
        changes=[Recorded(**one) for one in await off_loop(lambda: told(found[:limit]))],
        cursor=to_cursor(Place(b=next_)) if len(found) > limit else None,
        errors=troubles(answers),
        notes=sorted(notes),
    )


async def no_ledger(seat: Seat) -> str | None:
    """Why there is nothing to read, if so.

    Raises:
        psycopg.Error: as the server reports it.
    """
    schema, name = await read_schema(seat.session), seat.guard.config.name
    if schema.faults:
        return f"{name}: {clean(schema.faults[0])}"
    if schema.version is None:
        return f"{name} has no ledger: run `queuewarden install --env {name}`"
    return None


def wanted(
    choice: Choice,
    environment: str,
    since: datetime | timedelta | None,
    check: str | None,
    sweep: str | None,
    before: int | None,
) -> Wanted:
    """Which changes of one environment."""
    return Wanted(
        environment=environment,
        queues=(choice.queue,) if choice.queue is not None else (),
        checks=(check,) if check is not None else (),
        sweep=sweep.replace("\0", "") if sweep is not None else None,
        since=since if isinstance(since, timedelta) else None,
        before=before,
    )


async def changes(
    seat: Seat, filter_: Wanted, since: datetime | timedelta | None, limit: int
) -> list[Change]:
    """The newest changes, at most so many.

    Raises:
        psycopg.Error: as the server reports it.
    """
    found: list[Change] = []
    async for batch in batches(seat.session, filter_, PAGE):
        if isinstance(since, datetime) and batch.changes[0].at < since:
            break
        found += batch.changes[: limit - len(found)]
        if len(found) == limit:
            break
    return found


def told(found: Iterable[Change]) -> list[dict[str, Any]]:
    """Changes as plain values."""
    return [fields(change) for change in found]


def fields(change: Change) -> dict[str, Any]:
    """A change as plain values, its texts cut."""
    values: dict[str, Any] = {name: clean(value) for name, value in document(change).items()}
    return values
