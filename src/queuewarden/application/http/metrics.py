"""`/metrics`: for Prometheus."""

from fastapi import APIRouter
from starlette.responses import Response

from queuewarden.application.http import problems
from queuewarden.application.http.access import Reader, StationOf
from queuewarden.application.watching.metering import CONTENT_TYPE

router = APIRouter()


@router.get(
    "/metrics",
    summary="The metrics, as Prometheus reads them.",
    response_class=Response,
    responses={
        200: {
            "description": "The text format of Prometheus.",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        },
        **problems.documented(),
    },
)
async def metrics(_: Reader, station: StationOf) -> Response:
    """What is known without asking any database."""
    return Response(station.exposition(), headers={"content-type": CONTENT_TYPE})
