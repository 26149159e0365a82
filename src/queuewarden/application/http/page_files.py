"""The page's files: read once, from the package, and served by name."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from starlette.responses import Response

from queuewarden.application.http.problems import Problem

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "png": "image/png",
}


@dataclass(frozen=True, slots=True)
class _File:
    body: bytes
    etag: str
    type: str


def page_router() -> APIRouter:
    """``/`` and ``/page/…``; needs no token, since it holds nothing but code."""
    files = _files()
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    async def index(request: Request) -> Response:
        return _answer(files.get("index.html"), request)

    @router.get("/page/{name}")
    async def file(name: str, request: Request) -> Response:
        return _answer(files.get(name), request)

    return router


def _files() -> dict[str, _File]:
    """All there are; what is not among them cannot be asked for."""
    place: Traversable = resources.files("queuewarden.application.http") / "page"
    if not place.is_dir():
        return {}
    found = {}
    for one in place.iterdir():
        kind = _TYPES.get(one.name.rpartition(".")[2])
        if kind is not None and one.is_file():
            body = one.read_bytes()
            found[one.name] = _File(body, f'"{hashlib.sha256(body).hexdigest()[:16]}"', kind)
    return found


def _answer(file: _File | None, request: Request) -> Response:
    if file is None:
        raise Problem(404, "there is nothing here")
    headers = {"etag": file.etag, "cache-control": "no-cache"}
    if file.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(file.body, headers=headers, media_type=file.type)
