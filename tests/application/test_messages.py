from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from queuewarden.application.alerting.messages import BLOCKS, LONGEST_TITLE, compose, kind
from queuewarden.engine.alerting.notices import About, Alert, AlertNotice

BEGUN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def wall(moment: float) -> datetime:
    return BEGUN + timedelta(seconds=moment)


def notice(change: Any = "fired", severity: Any = "critical", times: int = 0, **given: Any) -> AlertNotice:
    about = About(given.pop("environment", "prod"), given.pop("queue", "mail"), given.pop("subject", ""))
    fields: dict[str, Any] = {
        "id": "7f3a",
        "rule": "waiting_jobs",
        "value": 120.0,
        "threshold": 100.0,
        "summary": "120 jobs wait",
        "hint": "add workers",
        "since": 0.0,
    }
    return AlertNotice(change, Alert(severity=severity, about=about, **(fields | given)), times=times)


def title(*notices: AlertNotice) -> str:
    return compose(notices, wall).title


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("fired", "[critical] prod/mail: 120 jobs wait"),
        ("resolved", "[resolved] prod/mail: 120 jobs wait"),
        ("escalated", "[escalated] prod/mail: 120 jobs wait"),
        ("reminded", "[still critical] prod/mail: 120 jobs wait"),
        ("acknowledged", "[acknowledged] prod/mail: 120 jobs wait"),
    ],
)
def test_title_of_one(change: str, expected: str) -> None:
    assert title(notice(change)) == expected


def test_place_is_not_named_twice() -> None:
    assert title(notice(summary="prod/mail: 120 jobs wait")) == "[critical] prod/mail: 120 jobs wait"
    assert title(notice(summary="prod cannot be used", queue="")) == "[critical] prod cannot be used"
    assert title(notice(summary="production is down", queue="")) == "[critical] prod: production is down"
    assert title(notice(environment="", queue="", summary="memory is short")) == "[critical] memory is short"


def test_title_of_several() -> None:
    assert title(notice(), notice(), notice(severity="warning")) == "[critical] prod: 3 alerts"
    assert title(notice(), notice(environment="staging")) == "[critical] 2 alerts"
    assert title(notice(), notice("resolved")) == "[critical] prod: 1 alert, 1 resolved"
    assert title(notice("resolved"), notice("resolved")) == "[resolved] prod: 2 alerts"
    assert title(notice("resolved"), notice("acknowledged")) == "[resolved] prod: 1 resolved, 1 acknowledged"
    assert title(notice(), notice("escalated", "warning")) == "[escalated] prod: 2 alerts"


def test_body_holds_all_that_a_person_needs() -> None:
    message = compose([notice()], wall)
    assert message.body == (
        "CRITICAL prod/mail: 120 jobs wait\n"
        "Since 2026-01-02 03:04:05 UTC\n"
        "Value: 120, threshold: 100\n"
        "What to do: add workers\n"
        "Rule: waiting_jobs, id: 7f3a\n"
        "Acknowledge: queuewarden alerts ack 7f3a"
    )
    assert (message.severity, message.swallowed) == ("critical", 0)


def test_body_of_what_is_over_asks_for_nothing() -> None:
    body = compose([notice("resolved", resolved=60.0)], wall).body
    assert "Since 2026-01-02 03:04:05 UTC, until 2026-01-02 03:05:05 UTC" in body
    assert "What to do" not in body
    assert "alerts ack" not in body


def test_who_took_note_is_told() -> None:
    body = compose([notice("acknowledged", acked_by="kim")], wall).body
    assert "Acknowledged by kim" in body
    assert "alerts ack" not in body


def test_what_came_and_went_meanwhile_is_told() -> None:
    assert "came and went 3 times" in compose([notice(times=3)], wall).body
    assert "came and went 1 time " in compose([notice(times=1)], wall).body


def test_loudest_comes_first_and_what_is_over_last() -> None:
    notices = [
        notice("resolved", "critical", id="over"),
        notice("fired", "warning", id="warning"),
        notice("fired", "critical", id="critical"),
        notice("escalated", "warning", id="escalated"),
    ]
    message = compose(notices, wall)
    assert [one.alert.id for one in message.notices] == ["escalated", "critical", "warning", "over"]
    assert message.severity == "critical"


def test_of_very_many_the_number_is_given() -> None:
    message = compose([notice() for _ in range(BLOCKS + 7)], wall)
    assert message.body.endswith("and 7 more: queuewarden alerts list")
    assert len(message.body) < 10_000
    assert len(message.notices) == BLOCKS


def test_what_the_cap_held_back_is_told() -> None:
    message = compose([notice()], wall, 4)
    assert "4 notices were not sent here" in message.body
    assert message.swallowed == 4


@pytest.mark.parametrize(
    ("notices", "expected"),
    [
        ([notice()], "failure"),
        ([notice(severity="warning")], "warning"),
        ([notice(severity="info")], "info"),
        ([notice("escalated", "warning")], "failure"),
        ([notice("reminded")], "failure"),
        ([notice("resolved")], "success"),
        ([notice("acknowledged")], "info"),
        ([notice("resolved"), notice("acknowledged")], "success"),
        ([notice("resolved"), notice(severity="warning")], "warning"),
    ],
)
def test_colour(notices: list[AlertNotice], expected: str) -> None:
    assert kind(compose(notices, wall)) == expected


def test_nothing_that_a_receiver_would_obey_is_passed_on() -> None:
    hostile = "x\r\nBcc: all@example.com\x1b[2J\u202eevil password=hunter2 postgresql://u:hunter3@h/d"
    message = compose(
        [notice(summary=hostile, hint=hostile, queue="q\nX-Header: 1", acked_by=hostile, rule=hostile)], wall
    )
    text = message.title + message.body
    assert "\n" not in message.title
    assert len(message.body.splitlines()) == 6
    for one in ("\r", "\x1b", "\u202e", "hunter2", "hunter3", "all@"):
        assert one not in text


def test_long_texts_are_cut() -> None:
    message = compose([notice(summary="x" * 10_000, hint="y" * 10_000)], wall)
    assert len(message.title) == LONGEST_TITLE
    assert len(message.body) < 3000


def test_composing_of_very_many_takes_no_time() -> None:
    begun = time.thread_time()
    compose([notice() for _ in range(10_000)], wall)
    assert time.thread_time() - begun < 1
