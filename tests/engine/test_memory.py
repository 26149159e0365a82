"""Memory: bounded, and forgetful of what is over."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from queuewarden.engine import memory as module
from queuewarden.engine.memory import Memory

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)  # noqa: UP017 -- as psycopg gives it
HOUR = timedelta(hours=1)
ONE, TWO, THREE = ("1",), ("2",), (None,)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> int:
    """How many rows are remembered of each kind, for tests of that bound."""
    monkeypatch.setattr(module, "MOST", 3)
    return 3


def test_r3_the_budget_counts_the_resets_of_one_day() -> None:
    memory = Memory()
    for hours in (0, 20, 23, 25):
        memory.note_resets([(ONE, "w", None)], NOW + hours * HOUR)
    assert memory.worn(3, NOW + 25 * HOUR) == {ONE}, "the first one is more than a day back"
    assert memory.worn(4, NOW + 25 * HOUR) == frozenset()
    assert memory.worn(1, NOW + 50 * HOUR) == frozenset()
    assert not memory.resets, "what is over is forgotten"


def test_the_latest_reset_tells_the_former_worker() -> None:
    memory = Memory()
    memory.note_resets([(ONE, "first", "a"), (TWO, "other", None)], NOW)
    memory.note_resets([(ONE, "second", "b")], NOW + HOUR)
    assert (memory.resets[ONE].worker, memory.resets[ONE].started) == ("second", "b")
    assert memory.resets_within(HOUR, NOW + HOUR) == 1
    assert memory.resets_within(2 * HOUR, NOW + HOUR) == 3


def test_all_that_is_remembered_of_rows_is_bounded_and_the_oldest_goes_first(few: int) -> None:
    memory = Memory()
    keys = [(str(number),) for number in range(few + 2)]
    last = keys[-few:]
    for key in keys:
        memory.note_resets([(key, None, None)], NOW)
        memory.set_aside("jobs", key, "1", NOW)
        memory.note_estimated([key])
        memory.note_lane("position", key, "digest")
        memory.note_skips("jobs", [key], [key])
    memory.ripe("stuck", dict.fromkeys(keys, "1"), HOUR, NOW)
    assert list(memory.resets) == last
    assert list(memory.aside["jobs"]) == last
    assert list(memory.estimated) == last
    assert [lane for _, lane in memory.lanes] == last
    assert [key for _, key in memory.seen] == last
    assert [key for _, key in memory.skips] == last


def test_a_row_is_ripe_once_it_was_seen_unchanged_for_long_enough() -> None:
    memory = Memory()
    assert memory.ripe("stuck", {ONE: "7", TWO: "7"}, HOUR, NOW) == {}
    assert memory.ripe("stuck", {ONE: "7", TWO: "8"}, HOUR, NOW + HOUR) == {ONE: "7"}
    assert memory.ripe("stuck", {TWO: "8"}, HOUR, NOW + 2 * HOUR) == {TWO: "8"}
    assert memory.ripe("stuck", {ONE: "7"}, HOUR, NOW + 2 * HOUR) == {}, "gone in between: it starts anew"


def test_ripeness_of_one_rule_does_not_touch_another() -> None:
    memory = Memory()
    memory.ripe("stuck", {ONE: "7"}, HOUR, NOW)
    memory.ripe("orphan", {}, HOUR, NOW)
    assert memory.ripe("stuck", {ONE: "7"}, HOUR, NOW + HOUR) == {ONE: "7"}


def test_p3_lanes_have_their_turn_in_the_order_in_which_they_became_faulty() -> None:
    memory = Memory()
    assert memory.in_turn("position", [ONE, TWO]) == [ONE, TWO]
    memory.lane_done("position", ONE)
    assert memory.in_turn("position", [THREE, ONE, TWO]) == [TWO, THREE, ONE]
    assert memory.in_turn("position", [THREE]) == [THREE]
    assert memory.in_turn("crowded", [ONE, THREE]) == [ONE, THREE], "each rule has turns of its own"


def test_a_long_lane_goes_at_most_once_an_hour_and_is_forgotten_afterwards() -> None:
    memory = Memory()
    assert memory.may_go_alone(ONE, NOW, HOUR)
    assert not memory.may_go_alone(ONE, NOW + HOUR / 2, HOUR)
    assert memory.may_go_alone(TWO, NOW + HOUR / 2, HOUR)
    assert memory.may_go_alone(ONE, NOW + HOUR, HOUR)
    assert memory.may_go_alone(THREE, NOW + 9 * HOUR, HOUR)
    assert list(memory.alone) == [THREE]


def test_a_clock_that_was_set_back_does_not_hold_a_long_lane_for_ever() -> None:
    memory = Memory()
    assert memory.may_go_alone(ONE, NOW, HOUR)
    assert memory.may_go_alone(ONE, NOW - 1000 * HOUR, HOUR)


def test_writes_of_a_lane_count_as_long_as_its_members_and_their_order_stay() -> None:
    memory = Memory()
    assert not memory.was_written("position", ONE)
    for times in (1, 2):
        memory.note_lane("position", ONE, "a")
        assert memory.times_written("position", ONE, "a") == times
    assert memory.times_written("position", ONE, "b") == 0
    memory.note_lane("position", ONE, "b")
    assert memory.times_written("position", ONE, "b") == 1
    assert memory.was_written("position", ONE)
    memory.keep_lanes("crowded", [])
    assert memory.was_written("position", ONE), "another rule's lanes"
    memory.keep_lanes("position", [TWO])
    assert not memory.was_written("position", ONE)


def test_a_lane_is_shunned_until_it_changes() -> None:
    memory = Memory()
    memory.shun("position", ONE, "order", "fight")
    memory.shun("position", TWO, "versions", "23505")
    assert memory.is_shunned("position", ONE, "order", "other versions")
    assert memory.is_shunned("position", TWO, "order", "versions")
    assert not memory.is_shunned("position", THREE, "order", "versions")
    assert not memory.is_shunned("position", ONE, "another order", "other versions")
    assert not memory.is_shunned("position", ONE, "order", "versions"), "it was released for good"
    memory.keep_lanes("position", [])
    assert not memory.shunned


def test_skips_count_sweeps_running() -> None:
    memory = Memory()
    for _ in range(3):
        memory.note_skips("jobs", [ONE], [ONE, TWO])
    assert memory.skips == {("jobs", ONE): 3}
    memory.note_skips("jobs", [], [ONE])
    assert memory.skips == {}


def test_a_batch_that_takes_too_long_shrinks_and_grows_again_to_its_usual_size() -> None:
    memory = Memory()
    for slow, size in (
        (True, 100),
        (True, 10),
        (True, 1),
        (True, 1),
        (False, 10),
        (False, 100),
        (False, None),
    ):
        memory.pace("stuck", 1000, slow=slow)
        assert memory.batches.get("stuck") == size
    memory.pace("other", 1000, slow=False)
    assert memory.batches == {}
