"""The state of anomalies: raised and cleared once each, reminded now and then."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from queuewarden.engine.alerting.blocked import BLOCKED_AFTER, Skips
from queuewarden.engine.alerting.raised import Raised
from queuewarden.model import Anomaly

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
STALLED = Anomaly("stalled", "prod", "mail")
ZOMBIE = Anomaly("zombie", "prod", "mail", "w1")


def told(raised: Raised, seen: list[Anomaly], minutes: int, *unknown: str) -> list[tuple[str, str, str]]:
    notices = raised.update(seen, NOW + timedelta(minutes=minutes), HOUR, unknown)
    return [(notice.change, notice.anomaly.kind, notice.anomaly.subject) for notice in notices]


def test_r14_an_anomaly_is_raised_once_and_cleared_once() -> None:
    raised = Raised()
    assert told(raised, [STALLED], 0) == [("raised", "stalled", "")]
    assert told(raised, [STALLED], 1) == []
    assert raised.active == (STALLED,)
    assert told(raised, [], 2) == [("cleared", "stalled", "")]
    assert told(raised, [], 3) == []
    assert raised.active == ()
    assert told(raised, [STALLED], 4) == [("raised", "stalled", "")]


def test_one_that_stays_is_told_again_now_and_then() -> None:
    raised = Raised()
    events = [told(raised, [STALLED], minutes) for minutes in (0, 59, 60, 61, 119, 120)]
    assert [bool(event) for event in events] == [True, False, True, False, False, True]
    assert events[2] == [("reminded", "stalled", "")]
    (notice,) = raised.update([STALLED], NOW + 5 * HOUR, HOUR)
    assert notice.since == NOW


def test_two_subjects_are_two_anomalies() -> None:
    raised = Raised()
    other = Anomaly("zombie", "prod", "mail", "w2")
    assert len(told(raised, [ZOMBIE, other], 0)) == 2
    assert told(raised, [other], 1) == [("cleared", "zombie", "w1")]


def test_r13_what_could_not_be_looked_at_is_neither_raised_nor_cleared() -> None:
    raised = Raised()
    told(raised, [STALLED], 0)
    assert told(raised, [], 1, "mail") == []
    assert raised.active == (STALLED,)
    assert told(raised, [], 2, "other") == [("cleared", "stalled", "")]


def test_reminders_survive_a_clock_that_goes_back() -> None:
    raised = Raised()
    told(raised, [STALLED], 0)
    assert told(raised, [STALLED], -120) == [("reminded", "stalled", "")]


def test_the_facts_are_the_newest() -> None:
    raised = Raised()
    raised.update([Anomaly("stalled", "prod", "mail", facts={"age": 1})], NOW, HOUR)
    raised.update([Anomaly("stalled", "prod", "mail", facts={"age": 2})], NOW, HOUR)
    assert raised.active[0].facts == {"age": 2}


def test_a_row_counts_once_a_sweep_however_many_rules_found_it() -> None:
    skips, place = Skips(), ("jobs", ("1",))
    results = [skips.update({place: 2 * sweep}) for sweep in range(1, BLOCKED_AFTER + 1)]  # type: ignore[dict-item]
    assert results == [[]] * (BLOCKED_AFTER - 1) + [[place]]


def test_a_row_that_was_mended_begins_anew() -> None:
    skips, place = Skips(), ("jobs", ("1",))
    for count in range(1, BLOCKED_AFTER):
        assert not skips.update({place: count})  # type: ignore[dict-item]
    assert not skips.update({})
    assert not skips.update({place: 1})  # type: ignore[dict-item]
    for count in range(2, BLOCKED_AFTER):
        assert not skips.update({place: count})  # type: ignore[dict-item]
    assert skips.update({place: BLOCKED_AFTER}) == [place]  # type: ignore[dict-item]
