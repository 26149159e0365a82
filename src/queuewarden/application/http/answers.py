"""Answers: documents as JSON; what a route's model says of them is for OpenAPI and for tests.

They are not passed through the models: that would take longer than all the rest of a request.
"""

from __future__ import annotations

from typing import Any

from pydantic_core import to_json
from starlette.responses import Response


def encoded(document: Any) -> bytes:
    """As JSON; a number that is none (NaN, infinite) is null there."""
    return to_json(document, inf_nan_mode="null")


def json_answer(document: Any, status: int = 200) -> Response:
    """An answer that is a document."""
    return Response(encoded(document), status, media_type="application/json")
