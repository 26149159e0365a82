"""``GET /api/export``: everything, as JSON or CSV, streamed."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, Literal

import psycopg
import structlog
from fastapi import APIRouter, Query, Request
from starlette.responses import StreamingResponse

from queuewarden.application.http.access import Reader, StationOf
from queuewarden.application.http.choice import ChoiceOf
from queuewarden.application.http.data.answers import RETRY
from queuewarden.application.http.data.csv_text import lines
from queuewarden.application.http.data.desk import failure, while_there
from queuewarden.application.http.data.history import CheckOf, SweepOf
from queuewarden.application.http.data.parameters import DeskOf, Since, clean, off_loop, since_of
from queuewarden.application.http.data.rows import COLUMNS, FILTERS, Page, Rows, What
from queuewarden.application.http.problems import Problem, documented, new_id
from queuewarden.engine.reading.jobs import JobFilter, State
from queuewarden.errors import QueuewardenError, UnavailableError

router = APIRouter()

LONGEST = 600.0
"""Seconds that an export may take."""

Format = Literal["json", "csv"]
_TYPES: dict[Format, str] = {"json": "application/json", "csv": "text/csv; charset=utf-8; header=present"}
_OK: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "An array of rows, or the same as CSV with a header.",
        "content": {
            "application/json": {"schema": {"type": "array", "items": {"type": "object"}}},
            "text/csv": {"schema": {"type": "string"}},
        },
    }
}


@router.get(
    "/api/export",
    responses=_OK | documented(404, 503),
    response_class=StreamingResponse,
    summary="Everything as JSON or CSV",
)
async def export(
    request: Request,
    _: Reader,
    choice: ChoiceOf,
    desk: DeskOf,
    station: StationOf,
    what: Annotated[What, Query(description="Which rows.")] = "jobs",
    format: Annotated[Format, Query(description="Of the answer.")] = "json",  # noqa: A002 -- as callers know it
    state: Annotated[State | None, Query(description="Jobs in this state only.")] = None,
    since: Since = None,
    check: CheckOf = None,
    sweep: SweepOf = None,
) -> StreamingResponse:
    """All rows that there are, in pages of short transactions.

    An export that breaks off is no valid JSON, and as CSV ends in a line that begins with ``# incomplete``.
    """
    given = {"lane": choice.lane, "state": state, "since": since, "check": check, "sweep": sweep}
    for filter_, value in given.items():
        if value is not None and filter_ not in FILTERS[what]:
            raise Problem(422, f"{filter_}: an export of {what} is not filtered by it")
    wanted = JobFilter(state, since=since_of(since))
    rows = Rows(desk, station, choice, what, wanted, check, sweep)
    stream = _Stream(rows, format)
    # What fails before the first row is an error with a status of its own.
    await while_there(request, stream.begin())
    name = f"queuewarden-{what}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.{format}"
    return StreamingResponse(
        stream.text(),
        media_type=_TYPES[format],
        headers={"content-disposition": f'attachment; filename="{name}"'},
    )


class _Stream:
    """One export on its way."""

    def __init__(self, rows: Rows, format: Format) -> None:  # noqa: A002 -- as above
        self._columns = COLUMNS[rows.what]
        self._what = rows.what
        self._csv = format == "csv"
        self._pages = rows.pages()
        self._first: Page | None = None
        self._until = asyncio.get_running_loop().time() + LONGEST

    async def begin(self) -> None:
        """Read the first page.

        Raises:
            Problem: it cannot be read.
        """
        try:
            self._first = await anext(self._pages, None)
        except (QueuewardenError, psycopg.Error) as error:
            raise Problem(503, clean(failure(error)), RETRY) from None

    async def text(self) -> AsyncIterator[str]:
        """The answer's body."""
        try:
            yield self._head()
            page, more = self._first, False
            while page is not None:
                if page:
                    yield await off_loop(partial(self._part, page, more=more))
                    more = True
                page = self._first = None
                page = await self._next()
            yield "" if self._csv else "\n]\n"
        except (QueuewardenError, psycopg.Error, Problem) as error:
            yield self._broken(error, more=more)
        finally:
            await self._pages.aclose()

    async def _next(self) -> Page | None:
        if asyncio.get_running_loop().time() > self._until:
            raise UnavailableError(f"no export takes more than {LONGEST:g} s: ask for less")
        return await anext(self._pages, None)

    def _head(self) -> str:
        return lines([self._columns]) if self._csv else "["

    def _part(self, page: Page, *, more: bool) -> str:
        if self._csv:
            return lines([[row[name] for name in self._columns] for row in page])
        texts = ",\n".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in page)
        return f",\n{texts}" if more else f"\n{texts}"

    def _broken(self, error: Exception, *, more: bool) -> str:
        """The end of an export that broke off; nobody may take it for complete."""
        id_, why = new_id(), clean(failure(error) if not isinstance(error, Problem) else str(error))
        structlog.get_logger().warning("http.export_failed", id=id_, what=self._what, reason=why)
        if self._csv:
            return lines([[f"# incomplete ({id_}): {why}"]])
        rest = json.dumps({"error": {"id": id_, "status": 503, "message": why}})
        return f",\n{rest}\n" if more else f"\n{rest}\n"
