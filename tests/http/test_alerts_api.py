"""Alerts through the API: what fires, acknowledging, suppressing; each act leaves a line in the log."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from eventually import eventually
from served import WRITE, Answer
from structlog.testing import capture_logs

from queuewarden.application.http.documents import AlertDocument, Alerts, SuppressionDocument
from queuewarden.engine.alerting.notices import About, Alert

if TYPE_CHECKING:
    from collections.abc import Callable

    from served import Served


def act(served: Served, path: str, body: Any = None, method: str = "POST") -> Answer:
    connection = served.connect()
    headers = {"Authorization": f"Bearer {WRITE}", "Content-Type": "application/json"}
    connection.request(method, path, None if body is None else json.dumps(body), headers)
    response = connection.getresponse()
    answer = Answer(response.status, response.headers, response.read())
    connection.close()
    return answer


def alerts(served: Served, **query: Any) -> list[dict[str, Any]]:
    document = served.json("/api/alerts", **query)
    Alerts.model_validate(document)
    found: list[dict[str, Any]] = document["alerts"]
    return found


@pytest.fixture
def alarmed(serve: Callable[..., Served]) -> Served:
    """A daemon that cries that both of its environments are down."""
    served = serve(
        reached=True, RULE__ENVIRONMENT_DOWN__FOR="100ms", RULE__CONNECTION_FAILURES__ENABLED="false"
    )
    eventually(lambda: len(alerts(served, rule="environment_down")) == 2)
    return served


def test_alerts_are_chosen_by_what_they_are(alarmed: Served) -> None:
    assert {one["environment"] for one in alerts(alarmed, type="environment_down")} == {"prod", "test"}
    assert {one["environment"] for one in alerts(alarmed, env="test")} == {"test"}
    assert {one["rule"] for one in alerts(alarmed, severity="critical", active="true")} == {
        "environment_down"
    }
    assert alerts(alarmed, severity="info") == []
    assert alerts(alarmed, active="false") == []
    assert alerts(alarmed, queue="mail") == []
    assert len(alerts(alarmed, limit=1)) == 1
    assert [alarmed.get("/api/alerts", limit=limit).status for limit in (0, 1001, 1000)] == [422, 422, 200]


def test_alerts_about_the_daemon_itself_are_of_no_environment(
    serve: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    served = serve(ENV__TEST__DSN=None)
    alert = Alert("1", "memory_used", "warning", About(), 1, 0, "s", "h", since=0.0)
    monkeypatch.setattr(served.station.alarm, "alerts", lambda: [alert])
    assert [one["environment"] for one in alerts(served)] == [""]
    assert alerts(served, env="prod") == []
    assert [one["id"] for one in served.json("/api/export", what="alerts")] == ["1"]
    assert served.json("/api/export", what="alerts", env="prod") == []


def test_acknowledging_names_who_and_is_logged(alarmed: Served) -> None:
    (alert,) = alerts(alarmed, env="prod", rule="environment_down")
    with capture_logs() as lines:
        answer = act(alarmed, "/api/alerts/ack", {"id": alert["id"]})
    assert answer.status == 200
    AlertDocument.model_validate(answer.json)
    (now,) = alerts(alarmed, env="prod", rule="environment_down")
    assert now["acked_by"] == "http (write token)"
    (line,) = [line for line in lines if line["event"] == "http.acted"]
    assert (line["who"], line["action"], line["environment"]) == ("http (write token)", "alerts.ack", "prod")


def test_an_alert_that_does_not_fire_cannot_be_acknowledged(alarmed: Served) -> None:
    assert act(alarmed, "/api/alerts/ack", {"id": "none"}).status == 404


def test_suppressing_mutes_until_it_is_lifted(alarmed: Served) -> None:
    with capture_logs() as lines:
        made = act(
            alarmed,
            "/api/alerts/suppress",
            {"environment": "prod", "for": "30m", "reason": "known, password=opensesame"},
        )
        assert made.status == 201
        SuppressionDocument.model_validate(made.json)
        assert "opensesame" not in made.body.decode()
        (alert,) = alerts(alarmed, env="prod", rule="environment_down")
        assert alert["muted"].startswith("suppressed")
        assert [one["id"] for one in alarmed.json("/api/alerts")["suppressions"]] == [made.json["id"]]
        lifted = act(alarmed, f"/api/alerts/suppress/{made.json['id']}", method="DELETE")
    assert lifted.status == 200
    assert alarmed.json("/api/alerts")["suppressions"] == []
    actions = [line["action"] for line in lines if line["event"] == "http.acted"]
    assert actions == ["alerts.suppress", "alerts.lift"]
    assert act(alarmed, f"/api/alerts/suppress/{made.json['id']}", method="DELETE").status == 404


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"reason": "all of it"}, 201),
        ({"rule": "environment_*", "queue": "any*", "reason": "some of it"}, 201),
        ({}, 422),
        ({"reason": ""}, 422),
        ({"reason": "  "}, 422),
        ({"reason": "x" * 501}, 422),
        ({"reason": "x", "for": "0s"}, 422),
        ({"reason": "x", "for": "soon"}, 422),
        ({"reason": "x", "for": "999d"}, 201),
        ({"reason": "x", "for": "9999d"}, 422),
        ({"reason": "what no database takes \0"}, 422),
        ({"reason": "x", "for": "-1h"}, 422),
        ({"reason": "x", "until": "1h"}, 422),
        ({"reason": "x", "rule": "environment_dwn"}, 404),
        ({"reason": "x", "environment": "prood"}, 404),
    ],
)
def test_a_suppression_says_what_why_and_how_long(api: Served, body: dict[str, str], status: int) -> None:
    assert act(api, "/api/alerts/suppress", body).status == status


def test_sweeping_at_once_is_accepted_and_logged(api: Served) -> None:
    with capture_logs() as lines:
        answer = api.post("/api/sweep", env="test")
    assert (answer.status, answer.json) == (202, {"environments": ["test"]})
    (line,) = [line for line in lines if line["event"] == "http.acted"]
    assert (line["action"], line["environment"]) == ("sweep", "test")
    assert api.post("/api/sweep").json == {"environments": ["prod", "test"]}
    assert api.post("/api/sweep", env="none").status == 404
