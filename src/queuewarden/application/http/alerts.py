"""`/api/alerts`: what fires, what fired, and what people have answered."""

import time
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from queuewarden.application.alerting.document import described, suppression
from queuewarden.application.alerting.suppressions import LONGEST_REASON
from queuewarden.application.http import problems
from queuewarden.application.http.access import Reader, StationOf, Writer
from queuewarden.application.http.acting import acted
from queuewarden.application.http.answers import json_answer
from queuewarden.application.http.choice import LONGEST_NAME, PlacesOf
from queuewarden.application.http.documents import AlertDocument, Alerts, SuppressionDocument
from queuewarden.application.http.problems import Problem
from queuewarden.application.watching.station import Station
from queuewarden.engine.alerting.notices import Alert, Suppression
from queuewarden.engine.alerting.rules import Severity
from queuewarden.engine.alerting.suppression import fits
from queuewarden.redact import redact
from queuewarden.settings.names import nearest
from queuewarden.settings.types import duration

router = APIRouter()

_ID = r"^[^\x00-\x20\x7f]{1,200}$"
_PATTERN = r"^[A-Za-z0-9_-]{0,63}\*?$"
_LASTS = r"^([1-9][0-9]{0,3}[smh]|[1-9][0-9]{0,2}d)$"
_REASON = r"^[^\x00]*[^\x00\s][^\x00]*$"


class Ack(BaseModel):
    """Which alert somebody takes note of."""

    model_config = ConfigDict(extra="forbid")

    id: str = Field(pattern=_ID)


class Suppress(BaseModel):
    """Which alerts nobody wants to hear of; what is absent stands for all, ``*`` at an end for anything."""

    model_config = ConfigDict(extra="forbid")

    rule: str | None = Field(None, pattern=_PATTERN)
    environment: str | None = Field(None, pattern=_PATTERN)
    queue: str | None = Field(None, pattern=_PATTERN)
    lasts: str = Field("1h", alias="for", pattern=_LASTS, description="For how long, such as 30m, 1h or 2d.")
    reason: str = Field(pattern=_REASON, max_length=LONGEST_REASON)


@router.get(
    "/api/alerts",
    summary="What fires, what fired, and what is suppressed.",
    response_model=Alerts,
    responses=problems.documented(404),
)
async def alerts(
    _: Reader,
    station: StationOf,
    choice: PlacesOf,
    active: Annotated[
        bool | None, Query(description="Only those that fire, or only those that ended.")
    ] = None,
    severity: Annotated[Severity | None, Query(description="Only of this severity.")] = None,
    rule: Annotated[str | None, Query(max_length=LONGEST_NAME, description="Only under this rule.")] = None,
    kind: Annotated[str | None, Query(alias="type", max_length=LONGEST_NAME, description="As rule.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """Those that fire, the loudest first; then those that ended, the latest first."""
    alarm = station.alarm
    found = [
        *(alarm.alerts() if active is not False else ()),
        *(alarm.history() if active is not True else ()),
    ]
    shown = [
        described(one)
        for one in found
        if choice.about(one.about)
        and severity in {None, one.severity}
        and rule in {None, one.rule}
        and kind in {None, one.rule}
    ]
    document = {
        "alerts": shown[:limit],
        "suppressions": [suppression(one) for one in alarm.suppressions()],
    }
    return json_answer(redact(document, names=False))


@router.post(
    "/api/alerts/ack",
    summary="Take note of an alert: it is neither reminded nor escalated any more.",
    response_model=AlertDocument,
    responses=problems.documented(400, 404),
)
async def ack(who: Writer, station: StationOf, body: Ack) -> Response:
    """It goes on to fire until what it is about is over."""
    try:
        alert = station.alarm.acknowledge(body.id, who)
    except LookupError:
        raise Problem(404, "no alert of this id fires") from None
    acted(who, "alerts.ack", alert=alert.id, **_about(alert))
    return json_answer(redact(described(alert), names=False))


@router.post(
    "/api/alerts/suppress",
    summary="Keep alerts from being announced for a while.",
    status_code=201,
    response_model=SuppressionDocument,
    responses=problems.documented(400, 404),
)
async def suppress(who: Writer, station: StationOf, body: Suppress) -> Response:
    """They are still shown here."""
    _require_known(station, body)
    until = time.monotonic() + duration(body.lasts).total_seconds()
    made = station.alarm.suppress(
        Suppression("", until, body.reason.strip(), who, body.rule, body.environment, body.queue)
    )
    acted(
        who,
        "alerts.suppress",
        environment=made.environment,
        queue=made.queue,
        rule=made.rule,
        lasts=body.lasts,
        reason=made.reason,
    )
    return json_answer(redact(suppression(made), names=False), 201)


@router.delete(
    "/api/alerts/suppress/{id}",
    summary="End a suppression.",
    response_model=SuppressionDocument,
    responses=problems.documented(404),
)
async def lift(who: Writer, station: StationOf, id: Annotated[str, Path(pattern=_ID)]) -> Response:  # noqa: A002 -- its name in the path
    """What it kept silent is announced, where it still fires."""
    try:
        ended = station.alarm.lift(id, who)
    except LookupError:
        raise Problem(404, "no suppression of this id holds") from None
    acted(who, "alerts.lift", environment=ended.environment, queue=ended.queue, rule=ended.rule)
    return json_answer(redact(suppression(ended), names=False))


def _require_known(station: Station, body: Suppress) -> None:
    """A misspelt name would suppress nothing, and nobody would know."""
    known = {
        "rule": {one.name for one in station.configuration.rules},
        "environment": set(station.guards),
    }
    for field, names in known.items():
        pattern = getattr(body, field)
        if pattern is not None and not any(fits(pattern, name) for name in names):
            raise Problem(404, f"{field}: there is none of this name; {nearest(pattern, names)}")


def _about(alert: Alert) -> dict[str, str | None]:
    return {
        "environment": alert.about.environment or None,
        "queue": alert.about.queue or None,
        "rule": alert.rule,
    }
