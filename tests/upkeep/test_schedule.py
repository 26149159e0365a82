"""When tasks are due: each moment once, whatever clocks, restarts and summer time do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from queuewarden.engine import cron
from queuewarden.engine.upkeep.config import Upkeep
from queuewarden.engine.upkeep.schedule import ATTEMPTS, LATE, Last, delay, due, next_begin, spelled

if TYPE_CHECKING:
    from queuewarden.engine.upkeep.schedule import Due

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
BERLIN = "Europe/Berlin"
NIGHTLY = Upkeep({"vacuum": "0 2 * * *"}, jitter=timedelta(0))
SPRING = datetime(2026, 3, 29, 1, tzinfo=UTC)  # 02:00 becomes 03:00
AUTUMN = datetime(2026, 10, 25, 1, tzinfo=UTC)  # 03:00 becomes 02:00


def recorded(found: Due, upkeep: Upkeep, result: str = "done", attempts: int = 1) -> Last:
    return Last(found.slot, spelled(upkeep, found.task), result, attempts)


def ran(upkeep: Upkeep, begin: datetime, end: datetime, step: timedelta) -> list[Due]:
    """What somebody who looks so often would run."""
    last, runs, now = None, [], begin
    while now <= end:
        found = due(upkeep, "prod", "vacuum", last, now)
        if found is not None:
            last = recorded(found, upkeep)
            if found.verdict == "run":
                runs.append(found)
        now += step
    return runs


def test_a_new_schedule_begins_with_its_next_moment() -> None:
    found = due(NIGHTLY, "prod", "vacuum", None, NOON)
    assert found is not None
    assert (found.verdict, found.slot) == ("first", NOON - 10 * HOUR)
    last = recorded(found, NIGHTLY, "skipped")
    assert due(NIGHTLY, "prod", "vacuum", last, NOON) is None
    tonight = due(NIGHTLY, "prod", "vacuum", last, NOON + 14 * HOUR)
    assert tonight is not None
    assert (tonight.verdict, tonight.slot) == ("run", NOON + 14 * HOUR)


def test_a_schedule_that_was_changed_begins_anew() -> None:
    last = Last(NOON - 10 * HOUR, spelled(NIGHTLY, "vacuum"), "done")
    for changed in (Upkeep({"vacuum": "0 9 * * *"}), Upkeep({"vacuum": "0 2 * * *"}, time_zone=BERLIN)):
        found = due(changed, "prod", "vacuum", last, NOON)
        assert found is not None
        assert found.verdict == "first"


def test_a_moment_that_a_wrong_clock_recorded_ahead_holds_nothing_up() -> None:
    ahead = Last(NOON + 300 * DAY, spelled(NIGHTLY, "vacuum"), "done")
    found = due(NIGHTLY, "prod", "vacuum", ahead, NOON)
    assert found is not None
    assert (found.verdict, found.slot) == ("first", NOON - 10 * HOUR)
    little = Last(NOON - 10 * HOUR, spelled(NIGHTLY, "vacuum"), "done")
    assert due(NIGHTLY, "prod", "vacuum", little, NOON - 10 * HOUR - MINUTE) is None, (
        "a clock that was set right"
    )


def test_what_is_off_is_never_due() -> None:
    assert due(Upkeep(), "prod", "vacuum", None, NOON) is None
    assert next_begin(Upkeep(), "prod", "vacuum", NOON) is None


@pytest.mark.parametrize(("missed", "verdict"), [("once", "run"), ("skip", "skip")])
def test_what_was_missed_is_made_up_for_once_or_skipped(missed: str, verdict: str) -> None:
    upkeep = Upkeep({"vacuum": "0 2 * * *"}, jitter=timedelta(0), missed=missed)  # type: ignore[arg-type]
    last = Last(NOON - 5 * DAY - 10 * HOUR, spelled(upkeep, "vacuum"), "done")
    found = due(upkeep, "prod", "vacuum", last, NOON)
    assert found is not None
    assert (found.verdict, found.slot) == (verdict, NOON - 10 * HOUR), "the latest of five, and no other"
    assert due(upkeep, "prod", "vacuum", recorded(found, upkeep), NOON) is None
    just = NOON + 14 * HOUR + LATE
    at_last = due(upkeep, "prod", "vacuum", last, just)
    assert at_last is not None
    assert at_last.verdict == "run", "a little late is not missed"


def test_a_run_that_was_killed_is_made_up_for_but_not_for_ever() -> None:
    slot = NOON - 10 * HOUR
    for attempts, result, wanted in ((1, "killed", True), (ATTEMPTS, "killed", False), (1, "failed", False)):
        last = Last(slot, spelled(NIGHTLY, "vacuum"), result, attempts)
        assert (due(NIGHTLY, "prod", "vacuum", last, NOON) is not None) is wanted


def test_the_jitter_delays_each_moment_by_the_same_for_everybody() -> None:
    upkeep = Upkeep({"vacuum": "0 2 * * *"}, jitter=10 * MINUTE)
    slots = [NOON + day * DAY for day in range(200)]
    delays = [delay(upkeep, "prod", "vacuum", slot) for slot in slots]
    assert delays == [delay(upkeep, "prod", "vacuum", slot.astimezone(ZoneInfo(BERLIN))) for slot in slots]
    assert all(timedelta(0) <= one < 10 * MINUTE for one in delays)
    assert 4 * MINUTE < sum(delays, timedelta(0)) / len(delays) < 6 * MINUTE
    assert delays != [delay(upkeep, "dev", "vacuum", slot) for slot in slots]
    slot = NOON + 14 * HOUR
    begin = slot + delay(upkeep, "prod", "vacuum", slot)
    last = Last(slot - DAY, spelled(upkeep, "vacuum"), "done")
    assert next_begin(upkeep, "prod", "vacuum", NOON) == begin
    assert due(upkeep, "prod", "vacuum", last, begin - timedelta(seconds=1)) is None
    assert due(upkeep, "prod", "vacuum", last, begin) is not None


def test_in_summer_time_s_missing_hour_it_runs_once_when_the_hour_is_over() -> None:
    upkeep = Upkeep({"vacuum": "30 2 * * *"}, time_zone=BERLIN, jitter=timedelta(0))
    runs = ran(upkeep, SPRING - DAY, SPRING + DAY, 10 * MINUTE)
    assert [run.slot for run in runs] == [SPRING - DAY + 30 * MINUTE, SPRING, SPRING + DAY - 30 * MINUTE]


@pytest.mark.parametrize("begin", [AUTUMN - 2 * HOUR, AUTUMN - 5 * MINUTE, AUTUMN, AUTUMN + 20 * MINUTE])
def test_in_the_hour_that_comes_twice_it_runs_once(begin: datetime) -> None:
    """Whenever somebody begins to look: in the second of the two hours the first one's moment is over."""
    upkeep = Upkeep({"vacuum": "30 2 * * *"}, time_zone=BERLIN, jitter=timedelta(0))
    last = Last(AUTUMN - DAY - 30 * MINUTE, spelled(upkeep, "vacuum"), "done")
    first = AUTUMN - 30 * MINUTE
    runs, now = [], begin
    while now < AUTUMN + 3 * HOUR:
        if (found := due(upkeep, "prod", "vacuum", last, now)) is not None:
            runs.append(found.slot)
            last = recorded(found, upkeep)
        now += MINUTE
    assert runs == [first]
    assert cron.next_fire("30 2 * * *", BERLIN, AUTUMN) == first + DAY + HOUR


def test_each_hour_of_a_day_of_25_hours() -> None:
    upkeep = Upkeep({"vacuum": "0 * * * *"}, time_zone=BERLIN, jitter=timedelta(0))
    midnight = datetime(2026, 10, 25, tzinfo=ZoneInfo(BERLIN))
    begin = midnight.astimezone(UTC) - MINUTE
    slots = [run.slot for run in ran(upkeep, begin, begin + 25 * HOUR, MINUTE)]
    assert len(slots) == 25
    assert {b - a for a, b in pairwise(slots)} == {HOUR}


ZONES = st.sampled_from([
    "UTC", BERLIN, "America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "America/Santiago",
    "Asia/Kathmandu", "Pacific/Apia",
])  # fmt: skip
MOMENTS = st.datetimes(datetime(2009, 1, 1), datetime(2035, 1, 1)).map(lambda at: at.replace(tzinfo=UTC))  # noqa: DTZ001 -- made aware here
MINUTES = st.integers(0, 59)
HOURS = st.integers(0, 23)
CRONS = st.one_of(
    st.builds("{} {} * * *".format, MINUTES, HOURS),
    st.builds("{} * * * *".format, MINUTES),
    st.builds("*/{} {} * * *".format, st.integers(1, 59), HOURS),
    st.builds("{} {} {} * *".format, MINUTES, HOURS, st.integers(1, 28)),
    st.builds("{} {},{} * * {}".format, MINUTES, HOURS, HOURS, st.integers(0, 7)),
)


@settings(max_examples=300, deadline=None)
@given(CRONS, ZONES, MOMENTS)
def test_last_and_next_agree(expression: str, zone: str, now: datetime) -> None:
    """Between the last moment and the next there is none; going on from one moment leads to the other."""
    last, following = cron.last_fire(expression, zone, now), cron.next_fire(expression, zone, now)
    assert last is not None
    assert following is not None
    assert last <= now < following
    assert cron.next_fire(expression, zone, last) == following
    assert cron.last_fire(expression, zone, following) == following
    assert cron.last_fire(expression, zone, following - timedelta(microseconds=1)) == last


@settings(max_examples=200, deadline=None)
@given(MINUTES, HOURS, ZONES, MOMENTS)
def test_a_daily_moment_comes_once_each_local_day(minute: int, hour: int, zone: str, now: datetime) -> None:
    where = ZoneInfo(zone)
    at, days = now, []
    for _ in range(6):
        following = cron.next_fire(f"{minute} {hour} * * *", zone, at)
        assert following is not None
        local = following.astimezone(where)
        shown = (local.hour, local.minute) == (hour, minute)
        assert shown or _moved(local, hour, minute), "as the clock shows it, or when its missing hour is over"
        days.append(local.date())
        at = following
    assert len(set(days)) == len(days)


def _moved(local: datetime, hour: int, minute: int) -> bool:
    wanted = local.replace(hour=hour, minute=minute)
    return wanted != wanted.astimezone(UTC).astimezone(local.tzinfo) and wanted.replace(tzinfo=None) <= (
        local.replace(tzinfo=None)
    )


@settings(max_examples=100, deadline=None)
@given(
    CRONS,
    ZONES,
    MOMENTS,
    st.lists(st.integers(1, 5000), min_size=1, max_size=30),
    st.sampled_from([timedelta(0), 2 * MINUTE, HOUR]),
)
def test_however_seldom_somebody_looks_no_moment_runs_twice_and_the_last_is_never_lost(
    expression: str, zone: str, begin: datetime, pauses: list[int], jitter: timedelta
) -> None:
    upkeep = Upkeep({"vacuum": expression}, time_zone=zone, jitter=jitter)
    last, now, slots = None, begin, []
    for pause in pauses:
        found = due(upkeep, "prod", "vacuum", last, now)
        if found is not None:
            last = recorded(found, upkeep)
            slots.append(found.slot)
            assert found.slot <= found.begin <= now
        assert due(upkeep, "prod", "vacuum", last, now) is None, "at once again, nothing is due"
        waited = cron.last_fire(expression, zone, now - jitter)
        assert last is not None
        assert waited is None or last.slot >= waited, "what has waited for its jitter has run"
        now += pause * MINUTE
    assert slots == sorted(set(slots))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0 2 * *",
        "0 2 * * * *",
        "61 * * * *",
        "@reboot",
        "0 0 30 2 *",
        "a b c d e",
        "* * * * 9",
        "0 0 31 4 *",
    ],
)
def test_what_is_no_expression(text: str) -> None:
    with pytest.raises(ValueError, match="cron expression"):
        cron.expression(text)


def test_names_of_moments() -> None:
    assert cron.expression(" @Daily ") == "0 0 * * *"
    assert cron.expression("0  2 * * MON-FRI") == "0 2 * * MON-FRI"
    for expression in cron.NAMED.values():
        assert cron.next_fire(expression, "UTC", NOON) is not None


@given(st.text(st.sampled_from("0123456789*/-,#LW @adily"), max_size=20))
def test_no_text_breaks_the_reader(text: str) -> None:
    try:
        read = cron.expression(text)
    except ValueError:
        return
    assert cron.next_fire(read, "UTC", NOON) is not None
