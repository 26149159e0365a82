"""What metrics and alerts read of the API."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from eventually import eventually

from queuewarden.application.http.counts import Counts

if TYPE_CHECKING:
    from served import Served


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, to be moved."""
    moment = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: moment[0])
    return moment


def test_answers_are_counted_by_template_and_class(api: Served) -> None:
    counts = api.station.own.http
    assert counts is not None
    api.get("/api/status")
    api.get("/api/status", token=None)
    api.get("/nope")
    api.get("/nope/other")
    api.get("/api/alerts/suppress/17", method="DELETE")
    api.get("/health/live", method="HEAD")
    eventually(lambda: counts.answers.total() == 6)
    assert counts.answers == {
        ("/api/status", "2xx"): 1,
        ("/api/status", "4xx"): 1,
        ("other", "4xx"): 2,
        ("/api/alerts/suppress/{id}", "4xx"): 1,
        ("/health/live", "2xx"): 1,
    }
    assert counts.refused == {401: 1, 403: 1}
    assert counts.seconds["/api/status"] > 0


def test_refusals_are_those_of_the_last_minute(now: list[float]) -> None:
    counts = Counts()
    for status in (401, 403, 429, 404, 200):
        counts.take("x", status, 0.001)
    assert counts.refused_lately() == 3
    now[0] += 30
    counts.take("x", 429, 0.001)
    assert counts.refused_lately() == 4
    now[0] += 40
    assert counts.refused_lately() == 1
    now[0] += 60
    assert counts.refused_lately() == 0


def test_the_share_of_errors_is_of_enough_answers_of_the_last_five_minutes(now: list[float]) -> None:
    counts = Counts()
    for _ in range(19):
        counts.take("x", 200, 0.001)
    assert counts.error_share() is None
    counts.take("x", 503, 0.001)
    assert counts.error_share() == pytest.approx(0.05)
    now[0] += 299
    assert counts.error_share() == pytest.approx(0.05)
    now[0] += 10
    assert counts.error_share() is None
