"""Health and the overview: the worst tells how they are together."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from stations import station

from queuewarden.application.http.answers import encoded
from queuewarden.application.http.documents import Overview
from queuewarden.application.http.overview import overview
from queuewarden.application.status import EnvironmentStatus
from queuewarden.engine.alerting.notices import About, Alert
from queuewarden.model import Anomaly, BrakeChange, Counts

if TYPE_CHECKING:
    from collections.abc import Callable

    from served import Served

    from queuewarden.application.watching.station import Station
    from queuewarden.engine.alerting.rules import Severity

ANOMALY = Anomaly("drift", "prod", "mail", "jobs", {"missing": "column"}, hint="mend the mapping")
BRAKE = BrakeChange(on=True, kind="mass_death", queue="mail", why="many died", until=datetime.now(UTC))


@pytest.fixture
def two() -> Station:
    made = station(None, "prod", "test")
    for guard in made.guards.values():
        guard.status.turn("up")
    return made


def fire(
    made: Station,
    monkeypatch: pytest.MonkeyPatch,
    *,
    severity: Severity = "critical",
    muted: str | None = None,
) -> None:
    alert = Alert("1", "r", severity, About("prod"), 1, 0, "s", "h", since=0.0, muted=muted)
    monkeypatch.setattr(made.alarm, "alerts", lambda: [alert])


def of(made: Station) -> tuple[str, list[str]]:
    document = overview(made)
    return document["status"], [one["status"] for one in document["environments"].values()]


def test_all_well_is_healthy(two: Station) -> None:
    assert of(two) == ("healthy", ["healthy", "healthy"])


def test_one_down_is_degraded_and_all_down_unhealthy(two: Station) -> None:
    two.guards["prod"].status.turn("down", "gone")
    assert of(two) == ("degraded", ["unhealthy", "healthy"])
    two.guards["test"].status.turn("down", "gone")
    assert of(two) == ("unhealthy", ["unhealthy", "unhealthy"])


def test_a_brake_or_an_anomaly_is_degraded(two: Station) -> None:
    two.guards["prod"].status.brakes = (BRAKE,)
    assert of(two) == ("degraded", ["degraded", "healthy"])
    two.guards["prod"].status.brakes = ()
    two.guards["prod"].status.anomalies = (ANOMALY, ANOMALY)
    assert of(two) == ("degraded", ["degraded", "healthy"])
    assert overview(two)["environments"]["prod"]["recommendations"] == ["mend the mapping"]


def test_a_critical_alert_is_degraded_unless_it_is_muted(
    two: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    fire(two, monkeypatch)
    assert of(two) == ("degraded", ["degraded", "healthy"])
    fire(two, monkeypatch, muted="suppressed: known")
    assert of(two) == ("healthy", ["healthy", "healthy"])
    fire(two, monkeypatch, severity="warning")
    assert of(two) == ("healthy", ["healthy", "healthy"])


def test_the_overview_is_as_described_and_masks_secrets(two: Station) -> None:
    status = two.guards["prod"].status
    status.turn("down", "password=opensesame refused")
    status.brakes, status.anomalies = (BRAKE,), (ANOMALY,)
    status.counts = {"mail": Counts(waiting=1, live_workers=2), "sms": None}
    status.last_change = (datetime.now(UTC), "3 reset")
    status.lease = {"held": True}
    text = encoded(overview(two)).decode()
    assert "opensesame" not in text
    assert Overview.model_validate_json(text).environments["prod"].queues["mail"].waiting_jobs == 1


def test_numbers_that_are_none_do_not_break_the_json() -> None:
    assert json.loads(encoded({"value": float("nan"), "other": float("inf")})) == {
        "value": None,
        "other": None,
    }


def test_live_while_every_environment_keeps_the_time_it_announced(api: Served) -> None:
    assert (api.get("/health/live", token=None).status, api.json("/health/live")) == (200, {"status": "live"})
    with pytest.MonkeyPatch.context() as patch:
        # Not that of a guard that is running, which announces its next step at any moment.
        patch.setitem(api.guards, "prod", SimpleNamespace(due=0.0))
        answer = api.get("/health/live", token=None)
    assert (answer.status, answer.json) == (503, {"status": "hung"})


def test_ready_once_it_is_and_something_can_be_used(serve: Callable[..., Served]) -> None:
    served = serve(reached=True)
    served.station.ready = False

    def now() -> tuple[int, Any]:
        answer = served.get("/health/ready", token=None)
        return answer.status, answer.json

    states = {"prod": "down", "test": "down"}
    assert now() == (503, {"ready": False, "status": "unhealthy", "environments": states})
    served.station.ready = True
    assert now()[0] == 503
    with pytest.MonkeyPatch.context() as patch:
        # Not that of a guard that is running, which may find at any moment that it is down.
        patch.setitem(served.guards, "prod", SimpleNamespace(status=EnvironmentStatus("prod", "up")))
        assert now() == (200, {"ready": True, "status": "degraded", "environments": states | {"prod": "up"}})


def test_the_status_tells_since_when(api: Served) -> None:
    document = api.json("/api/status")
    assert datetime.fromisoformat(document["started"]).utcoffset() == UTC.utcoffset(None)
    assert 0 <= document["uptime_seconds"] < 60
    Overview.model_validate(document)
