"""`/api/stats`: counts and trends of the queues, and what was repaired."""

from itertools import islice
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from queuewarden.application.guard import Guard
from queuewarden.application.http import problems
from queuewarden.application.http.access import Reader, StationOf
from queuewarden.application.http.answers import json_answer
from queuewarden.application.http.choice import Choice, PlacesOf
from queuewarden.application.http.documents import Stats
from queuewarden.application.http.rows import row_document
from queuewarden.application.watching.station import Station
from queuewarden.application.watching.trends import Point, Repair, Trends
from queuewarden.engine.upkeep.health.signs import loudness

router = APIRouter()

LATEST = 50
"""Repairs of each environment that are told: for more there is the ledger, `/api/history`."""


@router.get(
    "/api/stats",
    summary="Counts and trends.",
    response_model=Stats,
    responses=problems.documented(404),
)
async def stats(_: Reader, station: StationOf, choice: PlacesOf) -> Response:
    """Counts of now and of the last two hours, and the last repairs."""
    known = station.trends
    environments = {
        guard.config.name: _environment(guard, known.get(guard.config.name) or Trends(), choice)
        | {"health": _health(station, guard.config.name, choice)}
        for guard in choice.guards
    }
    return json_answer({"environments": environments})


def _environment(guard: Guard, trends: Trends, choice: Choice) -> dict[str, Any]:
    document = guard.status.document()
    queues = dict.fromkeys([*document["queues"], *trends.points])
    return {
        "state": document["state"],
        "last_sweep": document["last_sweep"],
        "sweep_seconds": document["sweep_seconds"],
        "queues": {
            queue: {
                "counts": document["queues"].get(queue, {"observed_only": None}),
                "points": [_point(point) for point in trends.points.get(queue, ())],
                "checks": _seconds(trends, queue),
            }
            for queue in queues
            if choice.has(queue)
        },
        "repairs": [
            _repair(one)
            for one in islice((one for one in reversed(trends.repairs) if choice.has(one.queue)), LATEST)
        ],
    }


def _health(station: Station, environment: str, choice: Choice) -> list[dict[str, Any]]:
    health = station.health.get(environment)
    return [
        {
            "reading": where.metric,
            "queue": where.queue or None,
            "subject": where.subject or None,
            "value": value,
            "severity": loudness(station.configuration.rules, where, value),
        }
        for where, value in (health.readings if health is not None else {}).items()
        if value is not None and (not where.queue or choice.has(where.queue))
    ]


def _seconds(trends: Trends, queue: str) -> dict[str, float]:
    found = trends.found.get(queue, {})
    return {check: round(sum(one.seconds for one in rules), 4) for check, rules in found.items()}


def _point(point: Point) -> dict[str, Any]:
    return {
        "at": point.at.isoformat(),
        "waiting": point.waiting,
        "running": point.running,
        "failed": point.failed,
        "workers": point.workers,
        "silent": point.silent,
    }


def _repair(repair: Repair) -> dict[str, Any]:
    return {
        "at": repair.at.isoformat(),
        "sweep": repair.sweep,
        "queue": repair.queue,
        "check": repair.check,
        "event": repair.event,
        "reason": repair.reason,
        "count": repair.count,
        "rows": [row_document(row) for row in repair.rows],
    }
