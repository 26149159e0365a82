"""Parameters and fields that the endpoints share."""

import asyncio
import base64
import binascii
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, TypeVar, cast

from fastapi import Depends, Query
from pydantic import BaseModel, Field, ValidationError
from starlette.requests import Request

from queuewarden.application.guard import Guard
from queuewarden.application.http.choice import Choice
from queuewarden.application.http.data.answers import Answers
from queuewarden.application.http.data.desk import Desk
from queuewarden.application.http.problems import Problem
from queuewarden.queues.target import Target
from queuewarden.redact import redact
from queuewarden.settings import types

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

LONGEST = 500
"""Characters of a text that are told."""

LONGEST_CURSOR = 8000
LONGEST_SINCE = 40

Moment = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
"""A time in UTC, as ISO 8601 writes it."""

Limit = Annotated[int, Query(ge=1, le=1000, description="At most so many.")]
Cursor = Annotated[
    str | None,
    Query(
        max_length=LONGEST_CURSOR,
        pattern="^[A-Za-z0-9_-]+$",
        description="Where the page before ended, as it told.",
    ),
]
Since = Annotated[
    str | None,
    Query(max_length=LONGEST_SINCE, description="A time as ISO 8601 writes it, or a duration such as 1h."),
]
Hours = Annotated[int, Query(ge=1, le=168, description="How far to look back.")]


class Trouble(BaseModel):
    """What could not be read, and why; other environments, or queues, were."""

    environment: str
    queue: str | None = None
    message: str


async def desk_of(request: Request) -> Desk:
    """The app's desk; asked for on the loop, so that no two requests make one each."""
    state = request.app.state
    if not hasattr(state, "desk"):
        state.desk = Desk()
    return cast("Desk", state.desk)


DeskOf = Annotated[Desk, Depends(desk_of)]


def clean(value: Any) -> Any:
    """A value of a database for somebody to see: secrets masked, and not too long."""
    return redact(value, names=False, limit=LONGEST)


async def off_loop(work: Callable[[], T]) -> T:
    """Have something worked out in a thread: masking long texts takes longer than sweeps should wait."""
    return await asyncio.to_thread(work)


def since_of(text: str | None) -> datetime | timedelta | None:
    """A moment, or how long ago.

    Raises:
        Problem: it is neither.
    """
    if text is None:
        return None
    try:
        return types.duration(text)
    except ValueError:
        pass
    try:
        # A plus that was not written as %2B has become a blank.
        moment = datetime.fromisoformat(text.strip().replace(" ", "+") if "T" in text else text.strip())
    except ValueError:
        raise Problem(
            422, "since: neither a time such as 2031-01-31T12:00:00Z nor a duration such as 1h"
        ) from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def to_cursor(place: BaseModel) -> str:
    """A place as an opaque word."""
    return base64.urlsafe_b64encode(place.model_dump_json().encode()).decode().rstrip("=")


def from_cursor(text: str | None, kind: type[M]) -> M | None:
    """The place that a cursor names.

    Raises:
        Problem: it names none.
    """
    if text is None:
        return None
    try:
        padded = text + "=" * (-len(text) % 4)
        return kind.model_validate_json(base64.b64decode(padded, b"-_", validate=True), strict=True)
    except (ValidationError, binascii.Error, ValueError):
        raise wrong_cursor() from None


def wrong_cursor() -> Problem:
    """What to answer to a cursor that leads nowhere."""
    return Problem(422, "cursor: not one that this list gave; begin without")


def by_name(guards: Sequence[Guard]) -> list[Guard]:
    """Guards in the order of their environments' names."""
    return sorted(guards, key=lambda guard: guard.config.name)


def targets_of(choice: Choice, guard: Guard) -> list[Target]:
    """The queues that are meant in one environment, by name."""
    return sorted((one for one in guard.targets if choice.has(one.queue)), key=lambda one: one.queue)


def unread(choice: Choice, guard: Guard) -> list[Trouble]:
    """Queues that are meant and cannot be read, each with the reason as far as it is known."""
    known = {one.queue for one in guard.targets}
    hints = {one.queue: one.hint for one in guard.status.anomalies if one.kind == "drift"}
    return [
        Trouble(
            environment=guard.config.name,
            queue=mapping.name,
            message=clean(hints.get(mapping.name) or "its tables are just being looked up: ask again"),
        )
        for mapping in guard.config.queues
        if choice.has(mapping.name) and mapping.name not in known
    ]


def troubles(answers: Answers[Any]) -> list[Trouble]:
    """The environments that gave no answer."""
    return [Trouble(environment=name, message=clean(why)) for name, why in sorted(answers.errors.items())]
