"""`/health/…`: for whoever starts and stops the daemon, or sends it traffic; needs no token."""

import time
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from queuewarden.application.http import problems
from queuewarden.application.http.access import StationOf
from queuewarden.application.http.answers import json_answer
from queuewarden.application.http.documents import Live, Ready
from queuewarden.application.http.overview import overall, statuses

router = APIRouter()

_LIMITED: dict[int | str, dict[str, Any]] = {
    429: {"model": problems.Failure, "description": "Too Many Requests"}
}


@router.get(
    "/health/live",
    summary="Whether the daemon does its work; restart it where it does not.",
    response_model=Live,
    responses={503: {"model": Live, "description": "It hangs."}, **_LIMITED},
)
async def live(station: StationOf) -> Response:
    """200 while every environment keeps the time it announced, whatever its database does."""
    now = time.monotonic()
    hung = any(guard.due < now for guard in station.guards.values())
    return json_answer({"status": "hung" if hung else "live"}, 503 if hung else 200)


@router.get(
    "/health/ready",
    summary="Whether the daemon has begun its work, and can do it somewhere.",
    response_model=Ready,
    responses={503: {"model": Ready, "description": "Not yet, or no database can be used."}, **_LIMITED},
)
async def ready(station: StationOf) -> Response:
    """200 once it is ready, while some database can be used."""
    status = overall(station, statuses(station))
    document = {
        "ready": station.ready,
        "status": status,
        "environments": {name: guard.status.state for name, guard in station.guards.items()},
    }
    return json_answer(document, 200 if station.ready and status != "unhealthy" else 503)
