"""Brakes, pure: what was seen goes in, what holds comes out."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from queuewarden.engine.brakes import JUMP, MIN_SAMPLE, Deaths, Episode, Grace, Threshold
from queuewarden.engine.judge import BrakeBoard
from queuewarden.model import BrakeChange, ServerState

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE, SECOND = timedelta(minutes=1), timedelta(seconds=1)
DEAD_AFTER = 2 * MINUTE
OLD = ServerState(NOW, NOW - timedelta(days=9), standby=False, timeline="00000001", system="7")


def looked(*looks: tuple[ServerState, float], took: float = 0.0) -> Grace:
    """A grace brake that saw the server so, at these moments of our own clock."""
    grace = Grace()
    for server, monotonic in looks:
        grace.observe(server, monotonic, monotonic + took, DEAD_AFTER)
    return grace


def later(span: timedelta, server: ServerState = OLD) -> ServerState:
    return replace(server, now=server.now + span)


def test_a_healthy_server_is_judged_at_once() -> None:
    assert not looked((OLD, 0.0)).holds(NOW)
    assert not looked((OLD, 0.0), (later(30 * SECOND), 30.0)).holds(NOW + 30 * SECOND)


def test_p5_after_a_start_of_the_server_nobody_is_judged_for_dead_after() -> None:
    started = NOW - 30 * SECOND
    grace = looked((replace(OLD, started_at=started), 0.0))
    assert grace.holds(NOW)
    assert grace.holds(started + DEAD_AFTER - SECOND)
    assert not grace.holds(started + DEAD_AFTER)
    assert grace.why == "server started"


@pytest.mark.parametrize("changed", [{"timeline": "00000002"}, {"system": "8"}])
def test_p5_a_failover_holds(changed: dict[str, str]) -> None:
    after = later(30 * SECOND, replace(OLD, **changed))  # type: ignore[arg-type]  # texts, both
    grace = looked((OLD, 0.0), (after, 30.0))
    assert grace.why == "failover"
    assert grace.holds(after.now + DEAD_AFTER - SECOND)
    assert not grace.holds(after.now + DEAD_AFTER)
    grace.observe(later(60 * SECOND, after), 90.0, 90.0, DEAD_AFTER)
    assert not grace.holds(after.now + DEAD_AFTER), "one failover, one grace"


def test_p5_the_end_of_an_outage_holds_once() -> None:
    grace = looked((OLD, 0.0))
    grace.outage = True
    grace.observe(later(10 * MINUTE), 600.0, 600.0, DEAD_AFTER)
    assert grace.why == "outage"
    assert grace.until == NOW + 12 * MINUTE
    grace.observe(later(11 * MINUTE), 660.0, 660.0, DEAD_AFTER)
    assert grace.until == NOW + 12 * MINUTE


@pytest.mark.parametrize("jump", [timedelta(hours=1), -timedelta(hours=1), JUMP + SECOND, -JUMP - SECOND])
def test_a_clock_that_jumps_either_way_holds_for_dead_after(jump: timedelta) -> None:
    after = later(30 * SECOND + jump)
    grace = looked((OLD, 0.0), (after, 30.0))
    assert grace.why == "clock jump"
    assert grace.until == after.now + DEAD_AFTER


def test_a_clock_that_jumps_back_does_not_prolong_an_older_grace() -> None:
    grace = Grace()
    grace.outage = True
    grace.observe(OLD, 0.0, 0.0, DEAD_AFTER)
    back = later(30 * SECOND - timedelta(hours=5))
    grace.observe(back, 30.0, 30.0, DEAD_AFTER)
    assert grace.until == back.now + DEAD_AFTER


def test_our_own_clock_that_stood_still_is_a_jump() -> None:
    """A guard that was suspended saw nothing of what happened meanwhile."""
    assert looked((OLD, 0.0), (later(timedelta(hours=1)), 30.0)).holds(later(timedelta(hours=1)).now)


def test_a_slow_answer_is_no_jump() -> None:
    """The server looked at its clock at the beginning, in the middle or at the end of eight seconds."""
    for offset in (0, 4, 8):
        grace = looked((OLD, 0.0), (later((30 + offset) * SECOND), 30.0), took=8.0)
        assert not grace.holds(later(40 * SECOND).now), offset


def test_a_shorter_grace_never_ends_a_longer_one() -> None:
    grace = looked((OLD, 0.0))
    grace.wait(NOW, 10 * MINUTE, "long")
    grace.wait(NOW, MINUTE, "short")
    assert (grace.until, grace.why) == (NOW + 10 * MINUTE, "long")


def test_an_episode_holds_once_then_acts_until_it_is_over() -> None:
    episode = Episode()
    times = [0, 1, 2, 3, 60]
    assert [episode.update(on=True, now=NOW + minutes * MINUTE, span=2 * MINUTE) for minutes in times] == [
        True,
        True,
        False,
        False,
        False,
    ]
    assert not episode.update(on=False, now=NOW + 61 * MINUTE, span=2 * MINUTE)
    assert episode.update(on=True, now=NOW + 62 * MINUTE, span=2 * MINUTE), "a new episode holds anew"


def test_an_episode_never_holds_for_longer_than_its_span() -> None:
    episode = Episode()
    assert episode.update(on=True, now=NOW, span=2 * MINUTE)
    back = NOW - timedelta(hours=3)
    assert episode.update(on=True, now=back, span=2 * MINUTE)
    assert not episode.update(on=True, now=back + 2 * MINUTE, span=2 * MINUTE)


@pytest.mark.parametrize(
    ("silent", "live", "expected"),
    [
        (5, 4, True),
        (5, 5, False),  # half is not more than half
        (4, 3, False),  # fewer than five
        (4, 0, True),  # all of at least two
        (2, 0, True),
        (1, 0, False),
        (0, 0, False),
        (500, 499, True),
        (500, 500, False),
    ],
)
def test_mass_death(silent: int, live: int, expected: bool) -> None:  # noqa: FBT001 -- a table of cases
    assert Deaths().massive(silent, live, NOW, DEAD_AFTER) is expected


def test_mass_death_looks_back_over_dead_after() -> None:
    """Workers that fall silent one by one are a mass death, too."""
    deaths = Deaths()
    for second in range(4):
        deaths.note(1, NOW + second * SECOND)
    assert deaths.massive(1, 4, NOW + 4 * SECOND, DEAD_AFTER)
    assert not deaths.massive(1, 5, NOW + 4 * SECOND, DEAD_AFTER)
    assert not deaths.massive(1, 4, NOW + DEAD_AFTER, DEAD_AFTER), "the first has left the window"


def test_deaths_noted_before_the_clock_went_back_do_not_stay() -> None:
    deaths = Deaths()
    deaths.note(9, NOW)
    assert not deaths.massive(1, 3, NOW - timedelta(hours=1), DEAD_AFTER)


def test_the_threshold_needs_a_sample() -> None:
    threshold = Threshold()
    threshold.note_run_times(MIN_SAMPLE - 1, timedelta(hours=5))
    assert threshold.advised(3 * MINUTE) is None
    threshold.note_run_times(MIN_SAMPLE, None)
    assert threshold.advised(3 * MINUTE) is None


def test_the_threshold_is_half_of_the_limit() -> None:
    threshold = Threshold()
    threshold.note_run_times(MIN_SAMPLE, 90 * SECOND)
    assert threshold.advised(3 * MINUTE) is None
    assert threshold.advised(3 * MINUTE - SECOND) == 3 * MINUTE
    assert threshold.advised(None) is None, "live workers are spared anyway"
    threshold.note_run_times(MIN_SAMPLE, 10 * SECOND)
    assert threshold.advised(3 * MINUTE - SECOND) is None


def test_a_premature_reset_holds_until_the_limit_is_raised() -> None:
    threshold = Threshold()
    threshold.note_premature(3 * MINUTE, 5 * MINUTE)
    threshold.note_premature(MINUTE, 2 * MINUTE)
    assert threshold.advised(3 * MINUTE) == 5 * MINUTE
    assert threshold.advised(2 * MINUTE) == 5 * MINUTE
    assert threshold.advised(5 * MINUTE) is None, "so long it ran, and no longer"
    threshold.note_run_times(MIN_SAMPLE, 10 * MINUTE)
    assert threshold.advised(3 * MINUTE) == 20 * MINUTE


def test_of_a_premature_reset_that_nobody_timed_twice_the_limit_is_advised() -> None:
    threshold = Threshold()
    threshold.note_premature(3 * MINUTE, None)
    assert threshold.advised(3 * MINUTE) == 6 * MINUTE
    assert threshold.advised(6 * MINUTE) is None


def brake(kind: str, queue: str | None) -> BrakeChange:
    return BrakeChange(on=True, kind=kind, queue=queue, why="why")


def test_each_change_of_a_brake_is_told_once() -> None:
    board = BrakeBoard()
    grace, death = brake("grace", None), brake("mass_death", "mail")
    assert board.turn([grace, death], {None, "mail"}) == [grace, death]
    assert board.turn([grace, death], {None, "mail"}) == []
    assert board.turn([grace], {None, "other"}) == [], "a queue that was not judged keeps its brakes"
    assert board.turn([grace], {None, "mail"}) == [replace(death, on=False)]
    assert board.turn([], {None}) == [replace(grace, on=False)]
    assert not board.on
