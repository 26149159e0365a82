"""Pauses and maintenance windows: when they hold, in every time zone, and what they hold."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import kit
import ledgers
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledgers import Ledgered
from rows import Rows

from queuewarden.engine import observe, pauses
from queuewarden.engine.pauses import Pause, brakes, last_fire
from queuewarden.engine.policy import Policy
from queuewarden.errors import BusyError

if TYPE_CHECKING:
    from collections.abc import Callable

    from servers import Database

    from queuewarden.adapters.db.session import Session

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
NOON = datetime(2026, 6, 17, 12, 0, tzinfo=UTC)  # a Wednesday


def window(cron: str, lasts: timedelta = HOUR, zone: str = "UTC", **rest: Any) -> Pause:
    given = {"id": 1, "environment": "prod", "reason": "backup", "set_by": "anna", "set_at": NOON}
    return Pause(**(given | rest), cron=cron, zone=zone, lasts=lasts)


def until(moment: datetime, **rest: Any) -> Pause:
    given = {"id": 1, "environment": "prod", "reason": "migration", "set_by": "anna", "set_at": NOON}
    return Pause(**(given | rest), until=moment)


@pytest.mark.parametrize(
    ("cron", "now", "fired"),
    [
        ("0 12 * * *", NOON, NOON),
        ("0 12 * * *", NOON + timedelta(seconds=59), NOON),
        ("0 12 * * *", NOON - timedelta(microseconds=1), NOON - timedelta(days=1)),
        ("*/15 * * * *", NOON + 44 * MINUTE, NOON + 30 * MINUTE),
        ("0 2 * * 0", NOON, datetime(2026, 6, 14, 2, 0, tzinfo=UTC)),
        ("0 0 1 1 *", NOON, datetime(2026, 1, 1, tzinfo=UTC)),
        ("0 0 29 2 *", NOON, datetime(2024, 2, 29, tzinfo=UTC)),
        ("0 0 L * *", NOON, datetime(2026, 5, 31, tzinfo=UTC)),
    ],
)
def test_the_last_time_that_it_fired(cron: str, now: datetime, fired: datetime) -> None:
    assert last_fire(cron, "UTC", now) == fired


@pytest.mark.parametrize(
    "cron", ["", "x", "* * *", "0 0 30 2 *", "61 * * * *", "0 25 * * *", "@daily please"]
)
def test_what_is_no_expression(cron: str) -> None:
    with pytest.raises(ValueError, match="is no cron expression"):
        last_fire(cron, "UTC", NOON)


def test_what_is_no_time_zone() -> None:
    for zone in ("Atlantis", "", "/etc/passwd", "../x", "Europe"):
        with pytest.raises(ValueError, match="is no time zone"):
            last_fire("0 0 * * *", zone, NOON)


@given(st.integers(0, 2 * 366 * 24 * 3600), st.sampled_from(["UTC", "Europe/Berlin"]))
def test_the_last_time_lies_in_the_past_and_none_lies_between(seconds: int, zone: str) -> None:
    now = NOON + timedelta(seconds=seconds)
    fired = last_fire("*/20 * * * *", zone, now)
    assert fired is not None
    assert timedelta() <= now - fired < 20 * MINUTE
    assert last_fire("*/20 * * * *", zone, fired) == fired
    earlier = last_fire("*/20 * * * *", zone, fired - timedelta(microseconds=1))
    assert earlier == fired - 20 * MINUTE


def berlin(text: str, fold: int = 0) -> datetime:
    local = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Europe/Berlin"), fold=fold)
    return local.astimezone(UTC)


@pytest.mark.parametrize(
    ("now", "ends"),
    [
        (berlin("2026-01-15 01:59:59"), None),
        (berlin("2026-01-15 02:00:00"), berlin("2026-01-15 03:00:00")),
        (berlin("2026-01-15 02:59:59"), berlin("2026-01-15 03:00:00")),
        (berlin("2026-01-15 03:00:00"), None),
        (berlin("2026-07-15 02:30:00"), berlin("2026-07-15 03:00:00")),
        # the clock is put back at 03:00: from half past one to half past two it is two hours
        (berlin("2026-10-25 02:00:00"), berlin("2026-10-25 02:00:00") + HOUR),
        (berlin("2026-10-25 03:30:00"), None),
    ],
)
def test_a_window_goes_by_the_clock_on_the_wall(now: datetime, ends: datetime | None) -> None:
    assert window("0 2 * * *", HOUR, "Europe/Berlin").holds_until(now) == ends


def test_a_window_in_the_hour_that_summer_time_leaves_out_still_comes_and_lasts_as_long() -> None:
    pause = window("30 2 * * *", HOUR, "Europe/Berlin")
    day = datetime(2026, 3, 29, tzinfo=UTC)
    held = [day + minute * MINUTE for minute in range(6 * 60) if pause.holds_until(day + minute * MINUTE)]
    assert 55 <= len(held) <= 60, "an hour that night, too"
    assert datetime(2026, 3, 29, 0, 59, tzinfo=UTC) < held[0] <= datetime(2026, 3, 29, 1, 30, tzinfo=UTC)


def test_a_window_in_the_hour_that_comes_twice_is_held_at_least_once() -> None:
    pause = window("30 2 * * *", 30 * MINUTE, "Europe/Berlin")
    day = datetime(2026, 10, 24, 22, 0, tzinfo=UTC)
    held = [day + minute * MINUTE for minute in range(6 * 60) if pause.holds_until(day + minute * MINUTE)]
    assert len(held) in (30, 60)


def test_windows_that_overlap_themselves_hold_without_a_gap() -> None:
    pause = window("0 * * * *", 90 * MINUTE)
    for minute in range(0, 24 * 60, 7):
        now = NOON + minute * MINUTE
        ends = pause.holds_until(now)
        assert ends is not None
        assert ends > now


def test_a_pause_ends_when_it_says() -> None:
    pause = until(NOON + HOUR)
    assert pause.holds_until(NOON) == NOON + HOUR
    assert pause.holds_until(NOON + HOUR) is None
    assert pause.kind == "pause"
    assert window("0 2 * * *").kind == "maintenance"


def test_of_each_kind_the_longest_is_told() -> None:
    held = brakes(
        [
            until(NOON + HOUR, reason="first"),
            until(NOON + 3 * HOUR, reason="long", set_by="berta"),
            until(NOON - HOUR, reason="over"),
            window("0 11 * * *", 2 * HOUR),
            window("0 2 * * *"),
        ],
        NOON,
    )
    assert [(one.kind, one.why, one.until, one.queue) for one in held] == [
        ("pause", "long (by berta)", NOON + 3 * HOUR, None),
        ("maintenance", "backup (by anna)", NOON + HOUR, None),
    ]


@pytest.mark.parametrize("strange", [window("0 2 * * *", zone="Atlantis"), window("0 0 30 2 *")])
def test_a_window_that_is_not_understood_here_holds_until_it_is_ended(strange: Pause) -> None:
    """Another machine may know more zones; somebody may have written into the table."""
    for others in ([], [window("0 11 * * *", 2 * HOUR)]):
        for active in ([strange, *others], [*others, strange]):
            (held,) = brakes(active, NOON)
            assert (held.kind, held.until) == ("maintenance", None)
            assert held.why.startswith("window 1 is not understood: ")


DAEMON = Policy(grace=False)


@pytest.fixture
def queue(databases: Callable[..., Database], monkeypatch: pytest.MonkeyPatch) -> Ledgered:
    state = observe.server_state

    def aged(row: Any) -> Any:
        return replace(state(row), started_at=row[1] - timedelta(days=9))

    monkeypatch.setattr(observe, "server_state", aged)
    made = Ledgered(databases(ledgers.SCHEMA), actor="daemon")
    made.take_lease()
    return made


def person(queue: Ledgered, work: Callable[[Session], Any]) -> Any:
    async def run() -> Any:
        async with kit.session(queue.database.dsn) as session:
            return await work(session)

    return asyncio.run(run())


def set_pause(queue: Ledgered, **rest: Any) -> Pause:
    given = {"reason": "migration", "by": "anna", "lasts": HOUR} | rest
    return person(queue, lambda session: pauses.set_pause(session, "prod", **given))


@pytest.mark.versions
def test_while_one_holds_a_daemon_only_looks_and_says_who_and_why(queue: Ledgered) -> None:
    job = Rows(queue.database).job("running", "1 hour")
    pause = set_pause(queue)
    report = queue.report(DAEMON)
    (outcome,) = report.queues[0].outcomes
    assert (outcome.held, outcome.found, outcome.mended) == ("pause", 1, 0)
    (brake,) = [one for one in report.brakes if one.kind == "pause"]
    assert (brake.on, brake.why, brake.until) == (True, "migration (by anna)", pause.until)
    queue.restart()
    assert queue.sweep(DAEMON)["stuck"].held == "pause", "another daemon, or the same one started anew"
    (ended,) = person(queue, lambda session: pauses.end_pauses(session, by="berta"))
    assert ended == pause
    report = queue.report(DAEMON)
    assert [(one.on, one.kind) for one in report.brakes] == [(False, "pause")]
    assert Rows(queue.database).of_job(job) == "waiting"
    assert queue.database.rows("SELECT ended_by, ended_at IS NOT NULL FROM queuewarden.pauses") == [
        ("berta", True)
    ]


def test_it_ends_by_itself(queue: Ledgered) -> None:
    Rows(queue.database).job("running", "1 hour")
    set_pause(queue)
    queue.database.execute("UPDATE queuewarden.pauses SET until = clock_timestamp()")
    assert queue.sweep(DAEMON)["stuck"].mended == 1


def test_a_window_holds_while_it_lasts_and_is_ended_only_by_its_id(queue: Ledgered) -> None:
    rows = Rows(queue.database)
    rows.job("running", "1 hour")
    set_pause(queue, cron="* * * * *", zone="UTC", lasts=2 * MINUTE)
    other = set_pause(queue, cron="0 0 1 1 *", zone="UTC")
    assert queue.sweep(DAEMON)["stuck"].held == "maintenance"
    assert person(queue, lambda session: pauses.end_pauses(session, by="anna")) == []
    (ended,) = person(queue, lambda session: pauses.end_pauses(session, by="anna", ids=[1]))
    assert ended.id == 1
    assert person(queue, lambda session: pauses.end_pauses(session, by="anna", ids=[1])) == []
    assert queue.sweep(DAEMON)["stuck"].mended == 1
    assert other.lasts == HOUR


@pytest.mark.versions
def test_a_command_by_hand_goes_on_and_is_told(queue: Ledgered) -> None:
    Rows(queue.database).job("running", "1 hour")
    set_pause(queue)
    queue.actor, queue.epoch = "anna", None
    report = queue.report(kit.BY_HAND)
    assert report.queues[0].outcomes[0].mended == 1
    assert [(one.on, one.kind) for one in report.brakes] == [(True, "pause")]


@pytest.mark.versions
def test_a_pause_in_the_midst_of_a_sweep_ends_its_repairs(queue: Ledgered) -> None:
    queue.limits = replace(kit.LIMITS, batch=2, brake_rows=100)
    rows = Rows(queue.database)
    for _ in range(6):
        rows.job("running", "1 hour")

    def meanwhile(session: Session) -> None:
        commit = session._commit

        async def pausing(*arguments: Any) -> None:
            await commit(*arguments)
            async with kit.session(queue.database.dsn) as other:
                await pauses.set_pause(other, "prod", reason="stop", by="anna", lasts=HOUR)

        session._commit = pausing  # type: ignore[method-assign]

    outcome = queue.sweep(DAEMON, meanwhile=meanwhile)["stuck"]
    assert (outcome.mended, outcome.held) == (2, "pause")
    assert sorted(rows.statuses().values()) == ["running"] * 4 + ["waiting"] * 2


def test_when_it_is_set_no_repair_is_under_way(queue: Ledgered) -> None:
    async def work() -> None:
        async with kit.session(queue.database.dsn) as daemon, kit.session(queue.database.dsn) as anna:
            async with daemon.transaction():
                with pytest.raises(BusyError):
                    await pauses.set_pause(anna, "prod", reason="r", by="anna", lasts=HOUR)
            await pauses.set_pause(anna, "prod", reason="r", by="anna", lasts=HOUR)

    asyncio.run(work())
