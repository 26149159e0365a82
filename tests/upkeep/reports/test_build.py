"""Reports from made-up samples: golden values, and what holds of whatever samples there are."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from upkeep.reports import making
from upkeep.test_samples import some_readings

from queuewarden.application.upkeep.report_views.document import document
from queuewarden.application.upkeep.report_views.page import page
from queuewarden.application.upkeep.report_views.text import lines, spark
from queuewarden.application.upkeep.report_views.words import message
from queuewarden.engine.reading.failures import Failure
from queuewarden.engine.upkeep.report.build import Builder, Recorded, Subject
from queuewarden.engine.upkeep.report.values import BIN, Frame, Period, Repairs, Report, Thresholds
from queuewarden.engine.upkeep.samples import Readings, Sample

NOON = 20_000 * 86_400 + 12 * 3600
DAY = Frame("prod", "day", NOON - 24 * 3600, NOON + 600)
LIMITS = Thresholds(180, None, 120, 3600)
HOURS = range(DAY.since, NOON, 3600)


def built(*series: list[Sample], recorded: Recorded = Recorded(), own: list[Sample] = []) -> Report:  # noqa: B006, B008
    builder = Builder(DAY, recorded)
    for place, samples in enumerate(series):
        name = samples[0].queue if samples else f"empty{place}"
        builder.queue(Subject(name, f"public.{name}", LIMITS), samples)
    return builder.report(own)


def test_a_day_as_it_was() -> None:
    own = [making.environment(at) for at in HOURS]
    own[3] = making.environment(HOURS[3], up=3000, down=600)
    del own[10]
    mail = [making.hour(at, "mail", done=100, failed=2 if at != HOURS[5] else 40) for at in HOURS]
    fax = [making.hour(at, "fax", done=10, failed=0) for at in HOURS]
    recorded = Recorded(
        (Repairs("mail", "dead_workers", "jobs.reset", "worker_dead", 50), Repairs("old", "x", "y", "z", 2)),
        {HOURS[5]: 48, HOURS[6]: 4},
        3,
    )
    made = built(fax, mail, recorded=recorded, own=own)
    found = made.availability
    assert (found.up, found.down, found.unknown) == (23 * 3600 - 600, 600, 3600 + 600)
    assert found.share == pytest.approx(1 - 600 / (23 * 3600))
    assert found.known == pytest.approx(23 / (24 + 1 / 6))
    assert (made.totals.done, made.totals.failed) == (24 * 110, 24 * 2 + 38)
    assert (made.totals.arrived, made.totals.repaired, made.totals.taken_back) == (2640 + 86, 52, 3)
    first, second = made.queues
    assert (first.queue, first.failure_rate, first.per_hour) == ("fax", 0, 10)
    assert (second.done, second.failed, second.repaired) == (2400, 86, 50)
    assert second.failure_rate == pytest.approx(86 / 2486)
    assert second.per_hour == pytest.approx(2486 / 24)
    assert second.counted == pytest.approx(24 / (24 + 1 / 6))
    assert (second.timed, second.beyond) == (2400, 0)
    assert second.p50 == pytest.approx(1, rel=0.2)
    assert second.p95 == pytest.approx(20, rel=0.2)
    assert second.p99 == pytest.approx(100, rel=0.2)
    assert (second.waiting, second.waiting_most, second.oldest_most, second.backlog) == (5, 5, 50, 0)
    assert [(one.kind, one.at, one.value, one.queue) for one in made.worst] == [
        ("down", HOURS[3], 600, ""),
        ("failed", HOURS[5], 40, "mail"),
        ("repaired", HOURS[5], 48, ""),
    ]
    kinds = [one.kind for one in made.recommendations]
    assert kinds == ["availability", "repairs", "taken_back"]
    assert "50 rows were repaired by dead_workers" in made.recommendations[1].reason


def test_limits_are_held_against_run_times() -> None:
    slow = [making.hour(at, "mail", done=100) for at in HOURS]
    for one in slow:
        one.readings.times = {29: 100}  # 152 to 181 s
    assert [one.kind for one in built(slow).recommendations if one.queue] == ["stuck_after_short"]
    (advice,) = [one for one in built(slow).recommendations if one.queue]
    assert "STUCK_AFTER is 3 min" in advice.reason
    assert built(slow).queues[0].beyond == 0, "their slot holds the limit itself"
    for one in slow:
        one.readings.times = {40: 100}
    assert built(slow).queues[0].beyond == 2400


def test_a_queue_that_falls_behind() -> None:
    behind = [
        making.hour(at, "mail", done=50, failed=20, waiting=place * 10) for place, at in enumerate(HOURS)
    ]
    for one in behind:
        one.readings.sums["arrived"] = 100
    advice = {one.kind: one for one in built(behind).recommendations}
    assert {"failures", "falling_behind"} <= advice.keys()
    assert (
        advice["falling_behind"].reason == "100 jobs come an hour and 70 end, and 200 more wait than at first"
    )
    assert "28.6%" in advice["failures"].reason


def test_a_queue_whose_jobs_end_otherwise_does_not_fall_behind() -> None:
    cancelled = [making.hour(at, "mail", done=10, waiting=0) for at in HOURS]
    deleted = [making.hour(at, "fax", failed=1, waiting=place) for place, at in enumerate(HOURS)]
    for one in cancelled + deleted:
        one.readings.sums["arrived"] = 100
    for one in deleted:
        del one.readings.sums["looked_done"], one.readings.sums["done"]
    made = built(cancelled, deleted)
    assert [one.per_hour for one in made.queues] == [11, None]
    assert [one for one in made.recommendations if one.queue] == []


def test_growth_is_no_matter_where_the_table_is_small_or_no_more() -> None:
    builder = Builder(DAY)
    for name, table, scale in (
        ("gone", "", 1e9),
        ("mail", "public.mail", 1e9),
        ("small", "public.small", 1e6),
    ):
        builder.queue(
            Subject(name, table), [], [making.day(at * 86_400, name, size=at * scale) for at in range(1, 30)]
        )
    assert [one.queue for one in builder.report([]).recommendations if one.queue] == ["mail"]


def test_what_is_not_counted_is_unknown_and_not_zero() -> None:
    half = [making.hour(at, "mail", done=100, failed=10) for at in HOURS]
    for one in half:
        del one.readings.sums["looked_failed"], one.readings.sums["failed"]
    (queue,) = built(half).queues
    assert (queue.done, queue.failed, queue.failure_rate) == (2400, None, None)
    made = built([])
    (empty,) = made.queues
    assert (empty.done, empty.p50, empty.waiting, empty.per_hour) == (None,) * 4
    assert made.availability.share is None
    assert made.totals.done is None


def test_failures_become_patterns() -> None:
    builder = Builder(DAY)
    builder.queue(Subject("mail"), [])
    failures = [
        ("prod", "mail", Failure(str(n), f"2024-10-04T0{n}:00:00Z", f"no host 10.0.0.{n}")) for n in range(5)
    ]
    builder.failed(failures[:2])
    builder.failed(failures[2:])
    (pattern,) = builder.report([]).errors
    assert (pattern.pattern, pattern.count, pattern.example_id) == ("no host <ip>", 5, "4")


@st.composite
def reports(draw: st.DrawFn) -> Report:
    period: Period = draw(st.sampled_from(["day", "week", "month"]))
    frame = Frame("prod", period, NOON - {"day": 1, "week": 7, "month": 30}[period] * 86_400, NOON + 300)
    names = draw(st.lists(st.sampled_from(["mail", "fax", "a" * 63, "x_1"]), unique=True, max_size=3))
    moments = st.integers(frame.since // 3600, NOON // 3600 - 1).map(lambda hour: hour * 3600)
    ats = st.lists(moments, max_size=3, unique=True)

    def series(name: str) -> list[Sample]:
        return [Sample(name, at, "1h", draw(some_readings())) for at in sorted(draw(ats))]

    repairs = tuple(
        Repairs(
            draw(st.sampled_from([*names, "gone"])),
            "c",
            "e",
            draw(st.text(max_size=9)),
            draw(st.integers(1, 99)),
        )
        for _ in range(draw(st.integers(0, 3)))
    )
    by_hour = {draw(moments): sum(one.rows for one in repairs)} if repairs else {}
    builder = Builder(frame, Recorded(repairs, by_hour, draw(st.integers(0, 9))))
    for name in names:
        sizes = draw(st.lists(st.floats(0, 1e15), max_size=9))
        days = [making.day((19_990 + n) * 86_400, name, size=size) for n, size in enumerate(sizes)]
        builder.queue(Subject(name, draw(st.text(max_size=9)), LIMITS, 32_767), series(name), days)
    return builder.report(series(""))


@settings(max_examples=30, deadline=None)
@given(reports(), st.sampled_from([80, 160, 10]))
def test_totals_add_up_and_all_is_a_number(made: Report, width: int) -> None:
    for name in ("done", "failed", "arrived"):
        of_queues = [value for one in made.queues if (value := getattr(one, name)) is not None]
        total = getattr(made.totals, name)
        assert total == (sum(of_queues) if of_queues else None)
        if name != "arrived":
            steps = [value for one in made.steps if (value := getattr(one, name)) is not None]
            assert sum(steps) == (total or 0)
    assert sum(one.repaired for one in made.steps) == made.totals.repaired
    found = made.availability
    assert found.up + found.down + found.unknown >= made.frame.seconds - 1
    assert found.share is None or 0 <= found.share <= 1
    for one in made.queues:
        assert one.failure_rate is None or 0 <= one.failure_rate <= 1
        assert 0 <= one.counted <= 1
        assert one.p50 is None or one.p50 <= (one.p95 or 0) <= (one.p99 or 0)
    told = json.dumps(document({"prod": made}), allow_nan=False)
    assert len(made.steps) <= 30 * 86_400 // BIN["month"] + 2
    shown = [line.text for line in lines(made, width)]
    assert all(len(line) <= max(width, 60) for line in shown)
    for text in (told, *shown, page({"prod": made}), *message(made)):
        # As words: a made-up name, or a hash in base64, may hold the letters.
        assert not re.search(r"(?<![\w+/=-])(nan|inf)(?![\w+/=-])", text.lower())


def test_bars() -> None:
    assert spark([0, 1, 2, None, 8], 10) == "▁▁▂·█" or spark([0, 1, 2, None, 8], 10) == "▁▂▂·█"
    assert spark([1.0, 0.5, 1.0, None], 2, share=True) == "▄█"
    assert spark([], 5) == ""
    assert spark([0, 0], 5) == "▁▁"


def test_names_of_the_json_stay() -> None:
    """A name that goes, or means something else, takes another number of the schema."""
    made = document({"prod": built([making.hour(at, "mail") for at in HOURS]), "gone": "it is down"})
    assert made["schema"] == 1
    assert made["environments"]["gone"] == {"error": "it is down"}
    prod = made["environments"]["prod"]
    assert set(prod) == {
        "error", "period", "since", "until", "availability", "totals", "queues", "repairs", "errors",
        "worst_hours", "growth", "recommendations", "notes", "step_seconds", "steps",
    }  # fmt: skip
    assert set(prod["availability"]) == {
        "share", "known_share", "up_seconds", "down_seconds", "unknown_seconds",
    }  # fmt: skip
    assert set(prod["totals"]) == {"done", "failed", "arrived", "repaired", "taken_back"}
    assert set(prod["queues"][0]) == {
        "queue", "table", "counted_share", "done", "failed", "arrived", "ended_per_hour", "arrived_per_hour",
        "failure_rate", "run_seconds", "thresholds", "waiting", "waiting_most", "oldest_waiting_seconds_most",
        "backlog_change", "workers", "repaired", "check_errors", "lacks", "steps",
    }  # fmt: skip
    assert set(prod["queues"][0]["run_seconds"]) == {"jobs", "p50", "p95", "p99", "beyond_stuck_after"}
    assert set(prod["steps"][0]) == {
        "at", "up_seconds", "down_seconds", "done", "failed", "done_per_hour", "failed_per_hour", "repaired",
        "waiting",
    }  # fmt: skip
    assert (prod["since"], prod["period"]) == ("2024-10-03T12:00:00Z", "day")


def test_a_message_is_short() -> None:
    own = [making.environment(at, up=0, down=3600) for at in HOURS]
    title, body = message(built([making.hour(at, "mail", failed=90) for at in HOURS], own=own))
    assert title == "[report] prod: day until 2024-10-04 12:10 UTC"
    assert "available 0% of the time that is known" in body
    assert len(body.splitlines()) <= 14
    assert Readings() == Readings()
