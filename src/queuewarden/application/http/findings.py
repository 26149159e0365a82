"""`/api/findings`: what each check found when it looked last, and what of it is left."""

from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import Response

from queuewarden.application.http import problems
from queuewarden.application.http.access import Reader, StationOf
from queuewarden.application.http.answers import json_answer
from queuewarden.application.http.choice import LONGEST_NAME, Choice, ChoiceOf
from queuewarden.application.http.documents import Findings
from queuewarden.application.http.problems import Problem
from queuewarden.application.http.rows import row_document
from queuewarden.application.watching.station import Station
from queuewarden.application.watching.trends import Found, Row
from queuewarden.checks import CHECKS
from queuewarden.redact import redact
from queuewarden.settings.names import nearest

router = APIRouter()


@router.get(
    "/api/findings",
    summary="What the checks found last, and what is left of it.",
    response_model=Findings,
    responses=problems.documented(404),
)
async def findings(
    _: Reader,
    station: StationOf,
    choice: ChoiceOf,
    check: Annotated[str | None, Query(max_length=LONGEST_NAME, description="Only of this check.")] = None,
) -> Response:
    """From the last sweeps; rules that found nothing are left out, those that failed are not."""
    if check is not None and check not in CHECKS:
        raise Problem(404, f"check: no check of this name; {nearest(check, CHECKS)}")
    known = list(_findings(station, choice, check))
    return json_answer({"findings": known, "lanes": _lanes(known)})


def _findings(station: Station, choice: Choice, check: str | None) -> Iterator[dict[str, Any]]:
    for guard in choice.guards:
        trends = station.trends.get(guard.config.name)
        for queue, checks in trends.found.items() if trends is not None else ():
            if not choice.has(queue):
                continue
            for name in sorted(checks, key=_order):
                for one in checks[name] if check in {None, name} else ():
                    rows = [row for row in one.rows if choice.lane in {None, row.facts.get("lane")}]
                    if (one.found or one.error) and (rows or choice.lane is None):
                        yield _document(guard.config.name, queue, one, rows)


def _order(check: str) -> int:
    """As a sweep runs them; what is none of them failed before them."""
    return list(CHECKS).index(check) if check in CHECKS else -1


def _document(environment: str, queue: str, found: Found, rows: list[Row]) -> dict[str, Any]:
    return {
        "environment": environment,
        "queue": queue,
        "check": found.check,
        "code": found.code,
        "event": found.event,
        "reason": found.reason,
        "at": found.at.isoformat(),
        "found": found.found,
        "mended": found.mended,
        "left": found.left,
        "skipped": found.skipped,
        "set_aside": found.set_aside,
        "seconds": round(found.seconds, 4),
        "held": found.held,
        "error": found.error,
        "failure": redact(found.failure),
        "rows": [row_document(row) for row in rows],
    }


def _lanes(findings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same by lane, the fullest first."""
    lanes: dict[tuple[str, str, str], dict[str, Any]] = {}
    for one in findings:
        for row in one["rows"]:
            if row["lane"] is None:
                continue
            place = (one["environment"], one["queue"], row["lane"])
            lane = lanes.setdefault(
                place,
                dict(zip(("environment", "queue", "lane"), place, strict=True)) | {"rows": 0, "checks": []},
            )
            lane["rows"] += 1
            if one["check"] not in lane["checks"]:
                lane["checks"].append(one["check"])
    return sorted(lanes.values(), key=lambda lane: -lane["rows"])
