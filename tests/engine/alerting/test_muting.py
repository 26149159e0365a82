"""What keeps an alert from being told, and that it is told once nothing does."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from alertings import MAIL, METRIC, NEWS, Story, rule, told

from queuewarden.engine.alerting.decide import decide
from queuewarden.engine.alerting.notices import About, Observation, Suppression
from queuewarden.engine.alerting.suppression import fits

CRITICAL = rule("crowd", 100, severity="critical")
DOWN = rule("down", 0, metric="environment_down", severity="critical", mutes=True)
SETTLED = frozenset({METRIC, "environment_down"})


def suppression(until: float = 100, **patterns: Any) -> Suppression:
    return Suppression("1", until, "import runs", "ann", **patterns)


def test_while_the_louder_rule_fires_the_quieter_is_not_told() -> None:
    story = Story.of(rule(), CRITICAL)
    assert story.hears(101) == ["fired crowd mail"]
    assert {one.rule: one.muted for one in story.state.alerts} == {"crowd": None, "backlog": "under crowd"}
    assert story.hears(50) == ["resolved crowd mail", "fired backlog mail"]
    assert story.hears(0) == ["resolved backlog mail"]


def test_when_both_end_only_what_was_told_is_told_to_be_over() -> None:
    story = Story.of(rule(), CRITICAL)
    story.sees(101)
    assert story.hears(0) == ["resolved crowd mail"]


def test_a_warning_that_becomes_critical_is_told_as_critical_and_neither_reminded_nor_escalated() -> None:
    story = Story.of(rule(escalate_after=timedelta(minutes=10)), CRITICAL, remind_after=10_000)
    assert story.hears(50, at=0) == ["fired backlog mail"]
    assert story.hears(101, at=1) == ["fired crowd mail"]
    assert story.hears(101, at=5000) == []
    assert story.hears(0, at=5001) == ["resolved crowd mail", "resolved backlog mail"]


def test_the_louder_rule_mutes_what_it_is_about_alone() -> None:
    story = Story.of(rule(), CRITICAL)
    assert story.hears({MAIL: 101, NEWS: 50}) == ["fired crowd mail", "fired backlog news"]


@pytest.mark.parametrize(
    "other",
    [
        rule("other", 100, severity="warning"),
        rule("other", 200, severity="critical", comparison="below"),
    ],
    ids=["as loud", "the other way round"],
)
def test_a_rule_that_says_something_else_mutes_nothing(other: Any) -> None:
    assert Story.of(rule(), other).sees(101)[0].alert.muted is None
    assert len(Story.of(rule(), other).sees(101)) == 2


def test_three_rules_on_one_reading_are_told_one_at_a_time() -> None:
    story = Story.of(rule("low", 1, severity="info"), rule(), CRITICAL)
    assert story.hears(101) == ["fired crowd mail"]
    assert story.hears(50) == ["resolved crowd mail", "fired backlog mail"]
    assert story.hears(5) == ["resolved backlog mail", "fired low mail"]


def test_a_louder_rule_that_has_not_held_for_long_enough_mutes_nothing() -> None:
    story = Story.of(rule(), rule("crowd", 100, severity="critical", hold=timedelta(minutes=5)))
    assert story.hears(101, at=0) == ["fired backlog mail"]
    assert story.hears(101, at=300) == ["fired crowd mail"]


def environment(story: Story, down: float, readings: dict[About, float], **observation: Any) -> list[str]:
    story.now += 1
    seen = Observation("prod", {"environment_down": {About("prod"): down}, METRIC: readings}, **observation)
    story.state, notices = decide(story.state, seen, story.now, story.policy)
    return told(notices)


def test_a_database_that_is_down_mutes_its_queues() -> None:
    story = Story.of(rule(), CRITICAL, DOWN)
    assert environment(story, 1, {MAIL: 101, NEWS: 11}) == ["fired down"]
    assert {one.muted for one in story.state.alerts if one.rule != "down"} == {"under down"}
    assert environment(story, 0, {MAIL: 101, NEWS: 11}) == [
        "resolved down",
        "fired crowd mail",
        "fired backlog news",
    ]


def test_an_alert_that_was_told_before_the_database_went_down_is_told_to_be_over() -> None:
    story = Story.of(rule(), DOWN, remind_after=1)
    environment(story, 0, {MAIL: 11})
    assert environment(story, 1, {}) == ["fired down"]
    story.now += 10_000
    assert environment(story, 1, {}) == ["reminded down"], "of the queue nobody is reminded"
    assert environment(story, 0, {MAIL: 0}) == ["resolved down", "resolved backlog mail"]


def test_two_rules_that_mute_all_others_do_not_silence_each_other() -> None:
    story = Story.of(DOWN, rule("also", 0, metric="environment_down", severity="critical", mutes=True))
    assert environment(story, 1, {}) == ["fired down"]
    assert {one.rule: one.muted for one in story.state.alerts} == {"down": None, "also": "under down"}


def test_a_parent_that_is_itself_suppressed_still_speaks_for_its_children() -> None:
    story = Story.of(rule(), DOWN, suppressions=(suppression(rule="down"),))
    assert environment(story, 1, {MAIL: 11}) == []
    assert {one.muted for one in story.state.alerts} == {"under down", "suppressed: import runs"}


def test_a_suppressed_alert_is_told_when_the_suppression_is_over() -> None:
    story = Story.of(rule(escalate_after=timedelta(seconds=10)), suppressions=(suppression(until=100),))
    assert story.hears(11, at=0) == []
    assert story.alert.muted == "suppressed: import runs"
    assert story.hears(11, at=99) == []
    assert story.hears(11, at=100) == ["fired backlog mail"]
    assert story.alert.muted is None


def test_what_came_and_went_while_suppressed_is_never_told() -> None:
    story = Story.of(rule(cooldown=timedelta(minutes=10)), suppressions=(suppression(until=100),))
    story.sees(11, at=0)
    assert story.hears(0, at=50) == []
    (notice,) = story.sees(11, at=100)
    assert (notice.change, notice.times) == ("fired", 0)


def test_what_came_and_went_while_suppressed_does_not_count_as_held_back_by_the_cooldown() -> None:
    story = Story.of(rule(cooldown=timedelta(minutes=10)))
    story.sees(11, at=0)
    story.sees(0, at=10)
    story.reloads(suppressions=(suppression(until=100),))
    for moment, waiting in ((20, 11), (30, 0)):
        story.sees(waiting, at=moment)
    (notice,) = story.sees(11, at=700)
    assert notice.times == 0


def test_an_alert_that_was_told_before_it_was_suppressed_is_told_to_be_over() -> None:
    story = Story.of(rule(escalate_after=timedelta(seconds=10)), remind_after=20)
    story.sees(11, at=0)
    story.reloads(suppressions=(suppression(),))
    assert story.hears(11, at=50) == []
    assert story.hears(0, at=60) == ["resolved backlog mail"]


@pytest.mark.parametrize(
    "patterns",
    [
        {},
        {"rule": "backlog"},
        {"rule": "BACK*"},
        {"environment": "Prod"},
        {"environment": "p*", "queue": "ma*", "rule": "*"},
        {"queue": "MAIL"},
    ],
)
def test_what_a_suppression_fits_is_muted(patterns: Any) -> None:
    assert Story.of(rule(), suppressions=(suppression(**patterns),)).hears(11) == []


@pytest.mark.parametrize(
    "patterns",
    [
        {"rule": "back"},
        {"rule": "backlog", "queue": "news"},
        {"environment": "production"},
        {"queue": "mailx*"},
        {"queue": "*il"},
        {"until": 1},
    ],
)
def test_what_a_suppression_does_not_fit_is_told(patterns: Any) -> None:
    assert Story.of(rule(), suppressions=(suppression(**patterns),)).hears(11) == ["fired backlog mail"]


def test_a_suppressed_queue_leaves_others_and_the_environment_alone() -> None:
    story = Story.of(rule(), suppressions=(suppression(queue="mail"),))
    assert story.hears({MAIL: 11, NEWS: 11, About("prod"): 11}) == ["fired backlog news", "fired backlog"]


def test_maintenance_mutes_all_and_is_over_at_last() -> None:
    story = Story.of(rule(), CRITICAL)
    assert story.hears(101, maintenance="upgrade") == []
    assert {one.rule: one.muted for one in story.state.alerts} == {
        "crowd": "maintenance: upgrade",
        "backlog": "under crowd",
    }
    assert story.hears(101) == ["fired crowd mail"]


def test_a_suppression_without_a_reason_names_its_author() -> None:
    story = Story.of(rule(), suppressions=(Suppression("1", 10, "", "ann"),))
    story.sees(11)
    assert story.alert.muted == "suppressed: by ann"


def test_patterns_mean_what_they_say() -> None:
    assert fits("*", "")
    assert fits("", "")
    assert not fits("", "mail")
    assert fits("STRASSE*", "straße 1")
    assert not fits("m.il", "mail")
