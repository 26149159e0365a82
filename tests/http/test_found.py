"""Stats and findings: what the last sweeps saw, from memory."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from queuewarden.application.http.documents import Findings, Stats
from queuewarden.application.watching.trends import Trends
from queuewarden.engine.report import QueueReport, SweepReport
from queuewarden.model import Counts, Finding, Outcome, ServerState

if TYPE_CHECKING:
    from served import Served

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
JOB = Finding(
    "prod",
    "mail",
    "positions",
    "gap",
    "jobs",
    ("17",),
    {"id": "17", "payload": "x" * 10_000},
    facts={"lane": "7", "reference": "password=opensesame"},
    label="to someone@example.com",
)
GAP = Outcome(
    "prod",
    "mail",
    "positions",
    "gap",
    "positions.renumbered",
    found=3,
    mended=1,
    skipped=1,
    seconds=0.25,
    sample=(JOB, replace(JOB, key=("18",), after={}), replace(JOB, key=("19",), facts={"lane": "8"})),
)
BROKEN = Outcome(
    "prod", "mail", "stuck_jobs", "stuck", "jobs.reset", error="42703", failure="password=opensesame"
)
CLEAN = Outcome("prod", "mail", "dead_workers", "dead", "workers.offline")


def report(*outcomes: Outcome, looked: frozenset[str] = frozenset(), waiting: int = 5) -> SweepReport:
    server = ServerState(NOW, NOW - timedelta(days=1), standby=False, timeline="1", system="1")
    queue = QueueReport("mail", Counts(waiting=waiting), outcomes, looked=looked)
    return SweepReport("prod", "ab12", server, (queue,), (), (), 0.5, 3)


@pytest.fixture
def swept(api: Served) -> Served:
    """A daemon that swept environment prod."""
    guard, done = api.guards["prod"], threading.Event()
    swept = report(GAP, BROKEN, CLEAN, looked=frozenset({"positions", "stuck_jobs", "dead_workers"}))

    def take() -> None:
        guard.shut()  # else it finds again and again that its database is down, and forgets all counts
        guard.status.take(swept, {"mail"})
        api.station.trends["prod"] = trends = Trends()
        trends.take(swept, {"mail"})
        done.set()

    api._loop.call_soon_threadsafe(take)
    assert done.wait(30)
    return api


def findings(served: Served, **query: Any) -> list[dict[str, Any]]:
    document = served.json("/api/findings", **query)
    Findings.model_validate(document)
    found: list[dict[str, Any]] = document["findings"]
    return found


def test_findings_are_what_was_found_and_what_failed(swept: Served) -> None:
    broken, gap = findings(swept)
    assert (gap["check"], gap["found"], gap["mended"], gap["left"], gap["skipped"]) == (
        "positions",
        3,
        1,
        2,
        1,
    )
    assert [(row["key"], row["lane"], row["mended"]) for row in gap["rows"]] == [
        (["17"], "7", False),
        (["18"], "7", True),
        (["19"], "8", False),
    ]
    assert (broken["check"], broken["error"], broken["rows"]) == ("stuck_jobs", "42703", [])


def test_findings_show_no_secrets_and_no_columns(swept: Served) -> None:
    body = swept.get("/api/findings").body.decode()
    assert "opensesame" not in body
    assert "someone" not in body
    assert "payload" not in body


def test_findings_are_chosen_by_environment_queue_lane_and_check(swept: Served) -> None:
    assert findings(swept, env="test") == []
    assert len(findings(swept, env="prod", queue="mail")) == 2
    (gap,) = findings(swept, lane="8")
    assert [row["key"] for row in gap["rows"]] == [["19"]]
    assert findings(swept, lane="9") == []
    assert [one["check"] for one in findings(swept, check="stuck_jobs")] == ["stuck_jobs"]


def test_findings_are_grouped_by_lane(swept: Served) -> None:
    assert swept.json("/api/findings")["lanes"] == [
        {"environment": "prod", "queue": "mail", "lane": "7", "rows": 2, "checks": ["positions"]},
        {"environment": "prod", "queue": "mail", "lane": "8", "rows": 1, "checks": ["positions"]},
    ]


def test_a_check_that_found_nothing_anew_takes_its_findings_back() -> None:
    trends = Trends()
    trends.take(report(GAP, looked=frozenset({"positions"})), {"mail"})
    trends.take(report(looked=frozenset({"stuck_jobs"})), {"mail"})
    assert len(trends.found["mail"]["positions"]) == 1
    trends.take(report(looked=frozenset({"positions"})), {"mail"})
    assert trends.found["mail"]["positions"] == ()
    trends.take(report(), set())
    assert trends.found.get("mail", {}) == {}


def test_stats_are_counts_points_durations_and_repairs(swept: Served) -> None:
    document = swept.json("/api/stats")
    Stats.model_validate(document)
    prod = document["environments"]["prod"]
    mail = prod["queues"]["mail"]
    assert mail["counts"]["waiting_jobs"] == 5
    assert [point["waiting"] for point in mail["points"]] == [5]
    assert mail["checks"] == {"positions": 0.25, "stuck_jobs": 0.0, "dead_workers": 0.0}
    (repair,) = prod["repairs"]
    assert (repair["check"], repair["count"], repair["sweep"]) == ("positions", 1, "ab12")
    assert document["environments"]["test"]["queues"] == {}


def test_stats_are_chosen_by_environment_and_queue(swept: Served) -> None:
    assert list(swept.json("/api/stats", env="test")["environments"]) == ["test"]
    assert list(swept.json("/api/stats", queue="mail")["environments"]["prod"]["queues"]) == ["mail"]
    assert swept.get("/api/stats", queue="none").status == 404
