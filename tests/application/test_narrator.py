"""What the log says of a sweep: one line a change, each fault once, nothing that did not happen."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from queuewarden.application.narrator import Narrator, merged, named
from queuewarden.checks import CHECKS
from queuewarden.engine.alerting.raised import Notice
from queuewarden.engine.report import QueueReport, SweepReport
from queuewarden.model import Anomaly, BrakeChange, Finding, Outcome, ServerState

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
JOB = Finding(
    "prod",
    "mail",
    "stuck_jobs",
    "stuck",
    "jobs",
    ("17",),
    {"id": "17"},
    {"id": "17"},
    facts={"worker": "w1", "age": "200", "started": "2026-01-02"},
    label="letter:9",
)
RESET = Outcome(
    "prod", "mail", "stuck_jobs", "stuck", "jobs.reset", "stuck", found=1, mended=1, sample=(JOB,)
)


def report(*outcomes: Outcome, **parts: Any) -> SweepReport:
    server = ServerState(NOW, NOW - timedelta(days=1), standby=False, timeline="1", system="1")
    return SweepReport(
        "prod",
        "ab12",
        server,
        (QueueReport("mail", None, outcomes, looked=parts.get("looked", frozenset(CHECKS))),),
        tuple(parts.get("brakes", ())),
        tuple(parts.get("notices", ())),
        0.01,
        2,
    )


def told(narrator: Narrator, *reports: SweepReport) -> list[dict[str, Any]]:
    """What a person at level info reads."""
    with capture_logs() as lines:
        for one in reports:
            narrator.tell(one)
    return [dict(line) for line in lines if line["log_level"] != "debug"]


def test_a_change_is_one_line_that_says_what_whose_and_how_old() -> None:
    (line,) = told(Narrator("prod"), report(RESET))
    assert line == {
        "event": "jobs.reset",
        "log_level": "info",
        "environment": "prod",
        "queue": "mail",
        "sweep": "ab12",
        "reason": "stuck",
        "count": 1,
        "jobs": [{"id": "17", "worker": "w1", "label": "letter:9", "age": timedelta(seconds=200)}],
    }


def test_commands_by_hand_say_who_called_them() -> None:
    (line,) = told(Narrator("prod", by="ada"), report(RESET))
    assert line["by"] == "ada"


def test_at_most_twenty_jobs_are_named_and_the_rest_is_counted() -> None:
    many = replace(RESET, mended=45, found=45, sample=(JOB,) * 20)
    (line,) = told(Narrator("prod"), report(many))
    assert len(line["jobs"]) == 20
    assert line["more"] == 25


def test_rules_of_one_check_and_reason_make_one_line() -> None:
    other = replace(RESET, code="stuck_no_start", skipped=2)
    (line,) = told(Narrator("prod"), report(RESET, other))
    assert (line["count"], line["skipped"], len(line["jobs"])) == (2, 2, 2)
    assert len(merged((RESET, replace(RESET, reason="by_hand")))) == 2


@pytest.mark.parametrize("held", ["grace", "mass_death", "observe", None])
def test_what_was_found_and_not_changed_is_no_line(held: str | None) -> None:
    assert told(Narrator("prod"), report(replace(RESET, mended=0, found=3, held=held))) == []


def test_jobs_that_fail_are_a_warning() -> None:
    (line,) = told(Narrator("prod"), report(replace(RESET, event="jobs.failed")))
    assert line["log_level"] == "warning"


def test_a_failing_check_is_told_once_until_it_fails_otherwise() -> None:
    broken = replace(RESET, mended=0, found=0, sample=(), error="57014")
    other = replace(broken, error="53100")
    lines = told(Narrator("prod"), *map(report, [broken, broken, other, RESET, other]))
    assert [(line["event"], line.get("sqlstate")) for line in lines] == [
        ("check.failed", "57014"),
        ("check.failed", "53100"),
        ("jobs.reset", None),
        ("check.failed", "53100"),
    ]


def test_a_row_set_aside_is_named_with_its_sqlstate() -> None:
    row = replace(JOB, after=None, facts={"set_aside": "23505"})
    (line,) = told(Narrator("prod"), report(replace(RESET, mended=0, set_aside=1, sample=(row,))))
    assert line["event"] == "rows.set_aside"
    assert line["rows"] == [{"id": "17", "sqlstate": "23505"}]


def test_a_crowded_lane_is_told_when_the_number_changes() -> None:
    crowded = Outcome("prod", "mail", "lanes", "crowded", "lanes.crowded", "crowded", found=2)
    worse = replace(crowded, found=3)
    lines = told(Narrator("prod"), *map(report, [crowded, crowded, worse]), report(), report(worse))
    assert [line["count"] for line in lines] == [2, 3, 3]


def test_a_crowded_lane_is_not_told_again_because_the_check_was_not_due() -> None:
    crowded = Outcome("prod", "mail", "lanes", "crowded", "lanes.crowded", "crowded", found=2)
    lines = told(Narrator("prod"), report(crowded), report(looked=frozenset()), report(crowded))
    assert [line["count"] for line in lines] == [2]


def test_a_lanes_check_that_failed_tells_of_no_crowd() -> None:
    failed = Outcome("prod", "mail", "lanes", "crowded", "lanes.crowded", "crowded", error="42501")
    assert [line["event"] for line in told(Narrator("prod"), report(failed))] == ["check.failed"]


def test_a_failed_check_says_what_the_server_said_and_is_told_once_for_all_its_rules() -> None:
    failed = replace(RESET, mended=0, found=0, sample=(), error="42501", failure="permission denied for jobs")
    (line,) = told(Narrator("prod"), report(failed, replace(failed, event="jobs.failed")))
    assert (line["check"], line["sqlstate"], line["message"]) == (
        "stuck_jobs",
        "42501",
        "permission denied for jobs",
    )


def test_a_failing_check_that_was_not_due_is_not_told_again() -> None:
    failed = replace(RESET, mended=0, found=0, sample=(), error="42501")
    lines = told(Narrator("prod"), report(failed), report(looked=frozenset()), report(failed))
    assert len(lines) == 1


def test_brakes_are_told_when_they_go_on_and_off() -> None:
    brake = BrakeChange(on=True, kind="mass_death", queue="mail", why="9 workers silent", until=NOW)
    lines = told(Narrator("prod"), report(brakes=[brake, replace(brake, on=False, queue=None)]))
    assert [(line["event"], line["log_level"], line.get("queue")) for line in lines] == [
        ("brake.off", "info", None),
        ("brake.on", "warning", "mail"),
    ]


def test_a_brake_that_went_off_is_told_before_the_resets_that_it_allowed() -> None:
    brake = BrakeChange(on=False, kind="grace", queue=None, why="")
    lines = told(Narrator("prod"), report(RESET, brakes=[brake]))
    assert [line["event"] for line in lines] == ["brake.off", "jobs.reset"]


def test_anomalies_are_told_with_their_facts_and_what_to_do() -> None:
    old = Anomaly("oldest_waiting", "prod", "mail", "", {"age": 7200}, "add workers")
    drift = Anomaly("drift", "prod", None, "", {"faults": 1}, "mend the mapping")
    notices = [Notice("raised", old, NOW), Notice("reminded", drift, NOW), Notice("cleared", old, NOW)]
    raised, reminded, cleared = told(Narrator("prod"), report(notices=notices))
    assert raised["kind"] == "oldest_waiting"
    assert raised["age"] == timedelta(hours=2)
    assert raised["hint"] == "add workers"
    assert "since" not in raised
    assert reminded["since"] == NOW
    assert "queue" not in reminded
    assert cleared["event"] == "anomaly.cleared"


def test_drift_is_told_once_and_its_end_as_well() -> None:
    narrator = Narrator("prod")
    with capture_logs() as lines:
        for faults in [(), ("no table",), ("no table",), ("no table", "no key"), ()]:
            narrator.drifted("mail", faults)
    assert [(line["event"], line.get("fault")) for line in lines] == [
        ("queue.drifted", "no table"),
        ("queue.drifted", "no table"),
        ("queue.drifted", "no key"),
        ("queue.fits", None),
    ]


def test_hints_on_tables_that_were_recognised_are_told_once_for_each_change() -> None:
    narrator = Narrator("prod")
    with capture_logs() as lines:
        for hints in [["map it"], ["map it"], [], ["map it"]]:
            narrator.hinted(hints)
    assert [line["hint"] for line in lines] == ["map it", "map it"]


def test_a_row_is_named_as_a_person_knows_it() -> None:
    moved = replace(JOB, facts={"lane": "3", "fault": "gap or order", "position": None, "becomes": "2"})
    assert named(moved) == {
        "id": "17",
        "lane": "3",
        "fault": "gap or order",
        "position": "none→2",
        "label": "letter:9",
    }
    long = named(replace(JOB, key=("a", "b"), label="x" * 99))
    assert long["id"] == "a,b"
    assert long["label"] == "x" * 59 + "…"
