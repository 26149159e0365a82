"""`POST /api/sweep`: do not wait for the interval to pass."""

from fastapi import APIRouter
from starlette.responses import Response

from queuewarden.application.http import problems
from queuewarden.application.http.access import Writer
from queuewarden.application.http.acting import acted
from queuewarden.application.http.answers import json_answer
from queuewarden.application.http.choice import EnvironmentsOf
from queuewarden.application.http.documents import Swept

router = APIRouter()


@router.post(
    "/api/sweep",
    summary="Sweep at once.",
    status_code=202,
    response_model=Swept,
    responses=problems.documented(404),
)
async def sweep(who: Writer, guards: EnvironmentsOf) -> Response:
    """The sweep begins at once; amid one, another follows it."""
    for guard in guards:
        guard.sweep_at_once()
        acted(who, "sweep", environment=guard.config.name)
    return json_answer({"environments": [guard.config.name for guard in guards]}, 202)
