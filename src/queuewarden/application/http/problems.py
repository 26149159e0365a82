"""Problems: what a client is told when its request fails; an id, which the log has, too, and no details."""

from __future__ import annotations

import secrets
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from starlette.responses import JSONResponse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.responses import Response

_PLACES = frozenset({"query", "path", "body", "header"})


class Problem(Exception):  # noqa: N818 -- an answer rather than a mistake
    """Ends a request with this status and a message for the client."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})


class Fault(BaseModel):
    """What is wrong.

    Attributes:
        id: of this one answer; the daemon's log has it where the mistake is the daemon's.
    """

    id: str
    status: int
    message: str


class Failure(BaseModel):
    """The body of each answer that is an error."""

    error: Fault


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of these answers, as `responses` of a route."""
    return {
        status: {"model": Failure, "description": HTTPStatus(status).phrase}
        for status in (401, 403, 422, 429, *statuses)
    }


def answer(
    status: int,
    message: str,
    headers: Mapping[str, str] | None = None,
    *,
    id: str | None = None,  # noqa: A002 -- its name in the answer
) -> Response:
    """The answer of a problem."""
    fault = {"id": id or new_id(), "status": status, "message": message}
    return JSONResponse({"error": fault}, status, dict(headers or {}))


def new_id() -> str:
    """An id for an answer."""
    return secrets.token_hex(4)


def handle(app: FastAPI) -> None:
    """Have the app answer its errors so."""
    from fastapi.exceptions import RequestValidationError
    from starlette.exceptions import HTTPException

    async def problem(_: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)  # noqa: S101 -- as it is registered
        return answer(error.status, str(error), error.headers)

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 -- as above
        words = {
            404: "there is nothing here",
            405: "not by this method",
            413: "too large a body",
        }
        message = words.get(error.status_code, HTTPStatus(error.status_code).phrase)
        headers = dict(error.headers or {})
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            headers |= _allowed(app, request.scope["path"])
        return answer(error.status_code, message, headers)

    async def invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101 -- as above
        faults = [f"{_name(one['loc'])}: {one['msg']}" for one in error.errors()]
        return answer(422, "; ".join(faults))

    app.add_exception_handler(Problem, problem)
    app.add_exception_handler(HTTPException, refused)
    app.add_exception_handler(RequestValidationError, invalid)


def _allowed(app: FastAPI, path: str) -> dict[str, str]:
    """All methods of a path: a route knows only its own."""
    methods = app.openapi()["paths"].get(path, ())
    return {"Allow": ", ".join(sorted(method.upper() for method in methods))} if methods else {}


def _name(location: tuple[int | str, ...]) -> str:
    parts = [str(part) for part in location if part not in _PLACES]
    return ".".join(parts) or str(location[0])
