"""`/api/status`: the daemon and all environments at a glance; the worst of them tells how they are."""

from datetime import UTC, datetime
from typing import Any, Literal

from fastapi import APIRouter
from starlette.responses import Response

from queuewarden import __version__
from queuewarden.application.guard import Guard
from queuewarden.application.http import problems
from queuewarden.application.http.access import Reader, StationOf
from queuewarden.application.http.answers import json_answer
from queuewarden.application.http.documents import Overview, Status
from queuewarden.application.watching.station import Station
from queuewarden.model import Mode
from queuewarden.redact import redact

router = APIRouter()

_WORDS = ("reason", "brakes", "anomalies", "recommendations")
"""What holds words of others, to be redacted; the rest are numbers, times and our own words."""


def environment_status(guard: Guard, critical: frozenset[str]) -> Status:
    """How an environment is.

    Args:
        guard: its guard.
        critical: environments of which a critical alert fires.
    """
    status = guard.status
    if status.state == "down":
        return "unhealthy"
    well = status.state == "up" and not status.brakes and not status.anomalies
    return "healthy" if well and status.name not in critical else "degraded"


def statuses(station: Station) -> dict[str, Status]:
    """How each environment is."""
    critical = _critical(station)
    return {name: environment_status(guard, critical) for name, guard in station.guards.items()}


def overall(station: Station, environments: dict[str, Status]) -> Status:
    """How they are together: unhealthy once none can be used."""
    each = set(environments.values())
    if each == {"unhealthy"}:
        return "unhealthy"
    # What concerns the daemon itself has no environment.
    return "healthy" if each <= {"healthy"} and "" not in _critical(station) else "degraded"


def overview(station: Station) -> dict[str, Any]:
    """The document."""
    each = statuses(station)
    return {
        "version": __version__,
        "started": station.started.isoformat(),
        "last_restart": station.started.isoformat(),
        "uptime_seconds": round((datetime.now(UTC) - station.started).total_seconds(), 3),
        "ready": station.ready,
        "status": overall(station, each),
        "environments": {
            name: {"status": each[name], "mode": _mode(guard), **_document(guard)}
            for name, guard in station.guards.items()
        },
    }


def _critical(station: Station) -> frozenset[str]:
    firing = station.alarm.alerts()
    return frozenset(one.about.environment for one in firing if one.severity == "critical" and not one.muted)


def _mode(guard: Guard) -> Mode | Literal["mixed"]:
    """What the configuration lets it do with its queues."""
    config = guard.config
    modes: set[Mode] = {one.mode for one in (config.queue_limits or {"": config.limits}).values()}
    return modes.pop() if len(modes) == 1 else "mixed"


def _document(guard: Guard) -> dict[str, Any]:
    hints = dict.fromkeys(one.hint for one in guard.status.anomalies if one.hint)
    document = guard.status.document() | {"recommendations": list(hints)}
    told = {name: document[name] for name in _WORDS if document[name]}
    redacted: dict[str, Any] = redact(told, names=False)
    return document | redacted


@router.get(
    "/api/status",
    summary="The daemon and all environments at a glance.",
    response_model=Overview,
    responses=problems.documented(),
)
async def status(_: Reader, station: StationOf) -> Response:
    """What is known without asking any database."""
    return json_answer(overview(station))
