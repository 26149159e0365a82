"""config/http.md tells of just the endpoints, parameters and limits that there are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest

from queuewarden.application.http import events, gate, protocol
from queuewarden.application.http.app import create_app
from queuewarden.application.watching.station import Station
from queuewarden.settings.listening import LEAST_TOKEN
from queuewarden.settings.sections import Settings

GUIDE = (Path(__file__).parents[1] / "config/http.md").read_text()
ROW = re.compile(r"^\| (GET|POST|DELETE) \| `([^`]+)` \|([^|]*)\|", re.MULTILINE)
ROWS = {(method, path): set(re.findall(r"`(\w+)`", cell)) for method, path, cell in ROW.findall(GUIDE)}


@pytest.fixture(scope="module")
def described() -> dict[tuple[str, str], Any]:
    station = MagicMock(spec=Station)
    station.configuration.http = None
    document = create_app(station).openapi()
    return {
        (method.upper(), path): operation
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }


def test_every_endpoint_is_in_the_guide_and_no_other(described: dict[tuple[str, str], Any]) -> None:
    assert set(ROWS) == set(described)


def test_every_parameter_is_one(described: dict[tuple[str, str], Any]) -> None:
    for endpoint, named in ROWS.items():
        known = {one["name"] for one in described[endpoint].get("parameters", [])}
        assert named <= known, endpoint
        if (
            "…" not in GUIDE[GUIDE.index(f"`{endpoint[1]}`") :].split("\n")[0]
            and named
            and "what" not in named
        ):
            assert named == known, endpoint


def test_tokens_are_needed_where_the_guide_says_so(described: dict[tuple[str, str], Any]) -> None:
    free = {path for (_, path), operation in described.items() if not operation.get("security")}
    assert free == {"/health/live", "/health/ready"}
    for path in free:
        assert re.search(rf"^\| GET \| `{path}` .*no token", GUIDE, re.MULTILINE)


@pytest.mark.parametrize(
    "said",
    [
        f"| {gate.BODY // 1024} KiB | 413 |",
        f"| {protocol.HEAD // 1024} KiB | 431 |",
        f"| {protocol.REQUEST_WITHIN:g} s | 408 |",
        f"| {gate.WITHIN:g} s | 504 |",
        f"| {protocol.READ_WITHIN:g} s | the connection is cut |",
        f"| connections | {protocol.CONNECTIONS} | 503 |",
        f"| {events.LISTENERS} | 503 |",
        f"A token is {LEAST_TOKEN} characters or more",
        f"may make: {Settings.model_fields['http_rate'].default}, never below 50",
    ],
)
def test_limits_are_those_that_hold(said: str) -> None:
    assert said in GUIDE
