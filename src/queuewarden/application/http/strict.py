"""Strictness: what a route does not take is refused; ignored, it would mean all where little was meant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from queuewarden.application.http.problems import Problem
from queuewarden.settings.names import nearest

if TYPE_CHECKING:
    from starlette.requests import Request

LONGEST = 63
"""Characters of a name by which a right one is looked for."""


def require_known(request: Request) -> None:
    """Refuse a parameter, or a body, that OpenAPI does not say of this route.

    Raises:
        Problem: there is one; names the nearest parameter.
    """
    path, paths = request.scope["route"].path, request.app.openapi()["paths"]
    described: dict[str, Any] | None = paths.get(path, {}).get(request.method.lower())
    if described is None or not path.startswith("/api/"):  # scrapers may say what they like
        return
    known = {one["name"] for one in described.get("parameters", ()) if one["in"] == "query"}
    for name in request.query_params:
        if name not in known:
            raise Problem(422, f"a parameter that there is not; {nearest(name[:LONGEST], known)}")
        if len(request.query_params.getlist(name)) > 1:
            raise Problem(422, f"{name}: more than once")
    headers = request.headers
    sent = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
    if sent and "requestBody" not in described:
        raise Problem(422, "body: none is read here; what is wanted is said by parameters")
