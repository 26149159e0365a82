"""The app: all routes of the HTTP API and the page."""

from importlib import import_module
from importlib.util import find_spec

from fastapi import FastAPI
from starlette.responses import Response

from queuewarden import __version__
from queuewarden.application.http import (
    alerts,
    events,
    findings,
    health,
    metrics,
    overview,
    problems,
    stats,
    sweep,
)
from queuewarden.application.http.access import Access, Reader
from queuewarden.application.http.answers import json_answer
from queuewarden.application.http.counts import Counts
from queuewarden.application.http.gate import Gate
from queuewarden.application.http.page_files import page_router
from queuewarden.application.watching.station import Station
from queuewarden.settings.configuration import HttpConfig


def create_app(station: Station) -> FastAPI:
    """The app that shows a station."""
    app = FastAPI(
        title="queuewarden",
        summary="What the guard of the job queues sees and does.",
        version=__version__,
        openapi_url=None,
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
    )
    config = station.configuration.http or HttpConfig(None, 0)
    # Those of the server before a reload go on.
    station.own.http = counts = station.own.http or Counts()
    app.state.station = station
    app.state.access = Access(config)
    app.state.streams = events.Streams()
    app.add_middleware(Gate, rate=config.rate, counts=counts)
    problems.handle(app)
    app.include_router(page_router())
    for room in (health, overview, stats, findings, alerts, sweep, events, metrics):
        app.include_router(room.router)
    if find_spec("queuewarden.application.http.data"):
        app.include_router(import_module("queuewarden.application.http.data").router)

    @app.get("/api/openapi.json", include_in_schema=False)
    async def openapi(_: Reader) -> Response:
        return json_answer(app.openapi())

    return app
