"""When alerts fire, are told, reminded, escalated and end."""

from __future__ import annotations

import math
import time
from datetime import timedelta

import pytest
from alertings import MAIL, METRIC, NEWS, Story, rule, told

from queuewarden.engine.alerting.decide import HISTORY, REMEMBER, acknowledge, decide
from queuewarden.engine.alerting.notices import About, Observation
from queuewarden.engine.alerting.rules import AlertRule
from queuewarden.engine.alerting.succession import restore

SETTLED = frozenset({METRIC})


def minutes(count: float) -> timedelta:
    return timedelta(minutes=count)


def test_a_bad_reading_fires_and_a_good_one_resolves() -> None:
    story = Story.of(rule(hint="add workers"))
    assert story.hears(10) == [], "equal is good"
    (fired,) = story.sees(11, at=5)
    alert = fired.alert
    assert (fired.change, alert.id, alert.severity, alert.about) == (
        "fired",
        "backlog.prod.mail",
        "warning",
        MAIL,
    )
    assert (alert.value, alert.threshold, alert.summary, alert.hint) == (
        11,
        10,
        "mail: 11 wait",
        "add workers",
    )
    assert (alert.since, alert.announced, alert.resolved) == (5, True, None)
    assert story.hears(12) == []
    assert story.alert.value == 12
    assert story.alert.summary == "mail: 12 wait"
    (resolved,) = story.sees(10, at=9)
    assert (resolved.change, resolved.alert.value, resolved.alert.resolved) == ("resolved", 12, 9)
    assert story.state.alerts == ()
    assert story.state.ended == (resolved.alert,)
    assert story.hears(10) == []


def test_below_is_the_other_way_round() -> None:
    story = Story.of(rule(comparison="below", threshold=0.5))
    assert story.hears(0.5) == []
    assert story.hears(0.4) == ["fired backlog mail"]
    assert story.hears(0.5) == ["resolved backlog mail"]


def test_a_condition_must_hold_before_anybody_is_told() -> None:
    story = Story.of(rule(hold=minutes(1)))
    assert story.hears(11, at=0) == []
    assert story.hears(11, at=59) == []
    assert story.firing == []
    assert story.hears(11, at=60) == ["fired backlog mail"]
    assert story.alert.since == 60


def test_a_good_reading_between_begins_the_hold_anew() -> None:
    story = Story.of(rule(hold=minutes(1)))
    for moment, waiting in ((0, 11), (59, 10), (60, 11), (119, 11)):
        assert story.hears(waiting, at=moment) == []
    assert story.hears(11, at=120) == ["fired backlog mail"]


def test_an_alert_ends_where_its_rule_says() -> None:
    story = Story.of(rule(clear=5))
    story.sees(11)
    assert story.hears(6) == []
    assert story.firing == ["backlog"]
    assert story.hears(5) == ["resolved backlog mail"]
    assert story.hears(10) == []


def test_an_alert_on_a_low_reading_ends_where_its_rule_says() -> None:
    story = Story.of(rule(comparison="below", threshold=0.5, clear=0.6))
    story.sees(0.4)
    assert story.hears(0.55) == []
    assert story.hears(0.6) == ["resolved backlog mail"]


def test_each_queue_has_an_alert_of_its_own() -> None:
    story = Story.of(rule())
    assert story.hears({MAIL: 11, NEWS: 11}) == ["fired backlog mail", "fired backlog news"]
    assert story.hears({MAIL: 0, NEWS: 11}) == ["resolved backlog mail"]


def test_r13_what_is_unknown_neither_fires_nor_resolves() -> None:
    story = Story.of(rule(hold=minutes(1)), remind_after=60)
    story.sees(11, at=0)
    assert story.hears(None, at=600) == [], "time that nobody saw does not count"
    assert story.hears(11, at=601) == []
    assert story.hears(11, at=660) == ["fired backlog mail"]
    assert story.hears(None, at=6000) == [], "nor is anybody reminded of what may be over"
    assert story.firing == ["backlog"]
    assert story.hears(11, at=6001) == ["reminded backlog mail"]
    assert story.hears(0) == ["resolved backlog mail"]


def test_what_is_known_to_be_missing_is_over() -> None:
    story = Story.of(rule())
    story.sees(11)
    assert story.hears(None, settled=SETTLED) == ["resolved backlog mail"]


def test_a_pending_condition_that_is_known_to_be_missing_is_over() -> None:
    story = Story.of(rule(hold=minutes(1)))
    story.sees(11, at=0)
    story.sees(None, at=30, settled=SETTLED)
    assert story.hears(11, at=61) == []


def test_a_queue_that_is_no_more_has_no_alerts() -> None:
    story = Story.of(rule())
    story.sees({MAIL: 11, NEWS: 11, About("prod"): 11})
    assert story.hears(None, queues=frozenset({"mail"})) == ["resolved backlog news"]
    assert [one.about.queue for one in story.state.alerts] == ["mail", ""]


def test_a_reading_that_is_known_to_be_absent_ends_its_own_alert_alone() -> None:
    story = Story.of(rule())
    story.sees({MAIL: 11, NEWS: 11})
    assert story.hears(None, absent=frozenset({(METRIC, MAIL)})) == ["resolved backlog mail"]
    assert story.alert.about == NEWS


def test_g15_a_reading_that_is_no_number_is_unknown() -> None:
    story = Story.of(rule(hold=minutes(1)))
    assert story.hears(math.nan, at=0, settled=SETTLED) == []
    story.sees(11, at=10)
    assert story.hears(math.nan, at=100, settled=SETTLED) == []
    assert story.hears(11, at=101) == []
    assert story.hears(11, at=160) == ["fired backlog mail"]
    assert story.hears(math.nan, settled=SETTLED) == []
    assert story.firing == ["backlog"]


def test_an_infinite_reading_is_bad_and_can_be_said() -> None:
    story = Story.of(rule())
    assert story.hears(-math.inf) == []
    assert story.hears(math.inf) == ["fired backlog mail"]
    assert story.alert.summary == "mail: ∞ wait"
    assert Story.of(rule(threshold=math.inf)).hears(math.inf) == []


def test_an_alert_that_flaps_is_told_once_a_cooldown() -> None:
    story = Story.of(rule(cooldown=minutes(10)))
    assert story.hears(11, at=0) == ["fired backlog mail"]
    assert story.hears(0, at=10) == ["resolved backlog mail"]
    for moment in range(20, 600, 20):
        assert story.hears(11, at=moment) == []
        assert story.hears(0, at=moment + 10) == [], "nobody heard of it, so that nobody hears of its end"
    (again,) = story.sees(11, at=600)
    assert (again.change, again.times) == ("fired", 29)
    assert story.hears(0, at=610) == ["resolved backlog mail"]
    (later,) = story.sees(11, at=1300)
    assert (later.change, later.times) == ("fired", 0)


def test_an_alert_that_still_fires_when_its_cooldown_is_over_is_told_then() -> None:
    story = Story.of(rule(cooldown=minutes(10)))
    story.sees(11, at=0)
    story.sees(0, at=10)
    assert story.hears(11, at=20) == []
    assert not story.alert.announced
    assert story.hears(11, at=599) == []
    assert story.hears(11, at=600) == ["fired backlog mail"]
    assert story.alert.since == 20


def test_how_often_an_alert_came_is_told_even_after_the_cooldown_and_forgotten_after_a_day() -> None:
    for later, times in ((3600.0, 1), (REMEMBER - 1, 1), (REMEMBER, 0)):
        story = Story.of(rule(cooldown=minutes(10)))
        for moment, waiting in ((0, 11), (10, 0), (20, 11), (30, 0)):
            story.sees(waiting, at=moment)
        story.sees(0, at=later)
        (notice,) = story.sees(11)
        assert notice.times == times


def test_g4_without_a_cooldown_each_life_is_told() -> None:
    story = Story.of(rule(cooldown=timedelta(0)))
    for _ in range(5):
        assert story.hears(11) == ["fired backlog mail"]
        assert story.hears(0) == ["resolved backlog mail"]


def test_h6_one_queue_in_its_cooldown_does_not_silence_another() -> None:
    story = Story.of(rule(cooldown=minutes(10)))
    story.sees({MAIL: 11, NEWS: 0})
    story.sees({MAIL: 0, NEWS: 0})
    assert story.hears({MAIL: 11, NEWS: 11}) == ["fired backlog news"]


def test_one_rule_in_its_cooldown_does_not_silence_another() -> None:
    story = Story.of(rule(cooldown=minutes(10)), rule("other", metric="running_jobs"))
    story.sees(11)
    story.sees(0)
    assert story.hears(11, metric="running_jobs") == ["fired other mail"]


def test_a_cooldown_is_over_at_last_for_what_is_remembered() -> None:
    story = Story.of(rule(cooldown=minutes(10)))
    story.sees({About("prod", f"q{number}"): 11 for number in range(100)}, at=0)
    story.sees(None, at=10, settled=SETTLED)
    assert len(story.state.lives["backlog"].told) == 100
    story.sees(None, at=600, settled=SETTLED)
    assert not story.state.lives["backlog"].told


def test_people_are_reminded_now_and_then() -> None:
    story = Story.of(rule(), remind_after=3600)
    story.sees(11, at=0)
    heard = {moment: story.hears(11, at=moment) for moment in (3599, 3600, 7199, 7200)}
    assert heard == {
        3599: [],
        3600: ["reminded backlog mail"],
        7199: [],
        7200: ["reminded backlog mail"],
    }


def test_a_cooldown_begins_when_an_alert_is_announced_not_with_each_reminder() -> None:
    story = Story.of(rule(cooldown=minutes(10)), remind_after=3600)
    story.sees(11, at=0)
    assert story.hears(11, at=3600) == ["reminded backlog mail"]
    story.sees(0, at=3601)
    assert story.hears(11, at=3602) == ["fired backlog mail"]


def test_after_a_restart_people_are_reminded_as_late_as_after_a_notice() -> None:
    story = Story.of(rule(), remind_after=3600)
    story.sees(11, at=5000)
    story.state = restore(story.state.alerts, 5100)
    assert story.hears(11, at=8699) == []
    assert story.hears(11, at=8700) == ["reminded backlog mail"]


def test_nobody_is_reminded_where_that_is_not_wished() -> None:
    story = Story.of(rule(), remind_after=0)
    story.sees(11, at=0)
    assert story.hears(11, at=1e6) == []


def test_an_alert_that_nobody_answers_is_escalated_once() -> None:
    story = Story.of(rule(escalate_after=minutes(10)), remind_after=3600)
    story.sees(11, at=0)
    assert story.hears(11, at=599) == []
    assert story.hears(11, at=600) == ["escalated backlog mail"]
    assert story.alert.escalated
    assert story.hears(11, at=4199) == []
    assert story.hears(11, at=4200) == ["reminded backlog mail"]


def test_g5_an_alert_that_is_over_is_not_escalated_and_a_new_life_begins_anew() -> None:
    story = Story.of(rule(escalate_after=minutes(10)))
    story.sees(11, at=0)
    assert story.hears(0, at=590) == ["resolved backlog mail"]
    assert story.hears(0, at=700) == []
    assert story.hears(11, at=710) == ["fired backlog mail"]
    assert story.hears(11, at=1309) == []
    assert story.hears(11, at=1310) == ["escalated backlog mail"]


def test_an_alert_that_was_told_late_gives_as_long_to_answer() -> None:
    story = Story.of(rule(escalate_after=minutes(10)))
    story.sees(11, at=0, maintenance="upgrade")
    assert story.hears(11, at=3000) == ["fired backlog mail"]
    assert story.hears(11, at=3599) == []
    assert story.hears(11, at=3600) == ["escalated backlog mail"]


def test_an_acknowledged_alert_is_neither_reminded_nor_escalated_until_it_ends() -> None:
    story = Story.of(rule(escalate_after=minutes(10)), remind_after=3600)
    story.sees(11, at=0)
    notice = story.acks("ann")
    assert (notice.change, notice.alert.acked_by) == ("acknowledged", "ann")
    assert story.alert.acked_by == "ann"
    assert story.hears(11, at=600) == []
    assert story.hears(12, at=9999) == []
    assert story.alert.acked_by == "ann", "a new value is no new alert"
    assert story.hears(0, at=10_000) == ["resolved backlog mail"]
    story.sees(11, at=10_001)
    assert story.alert.acked_by is None
    assert story.hears(11, at=10_601) == ["escalated backlog mail"]


def test_nobody_is_called_for_what_somebody_has_seen_already() -> None:
    story = Story.of(rule())
    story.sees(11, maintenance="upgrade")
    story.acks("ann")
    assert story.hears(11) == []


def test_only_an_alert_that_fires_can_be_acknowledged() -> None:
    story = Story.of(rule())
    story.sees(11)
    story.sees(0)
    with pytest.raises(LookupError, match=r"no alert backlog\.prod\.mail fires"):
        acknowledge(story.state, "backlog.prod.mail", "ann", 3)


def test_acknowledging_changes_one_alert_alone_and_no_older_state() -> None:
    story = Story.of(rule())
    story.sees({MAIL: 11, NEWS: 11})
    before = story.state
    story.acks("ann")
    assert {one.about.queue: one.acked_by for one in story.state.alerts} == {"mail": "ann", "news": None}
    assert all(one.acked_by is None for one in before.alerts)


def test_while_alerts_are_off_they_are_kept_and_not_told() -> None:
    story = Story.of(rule(escalate_after=minutes(1)), silent=True, remind_after=60)
    assert story.hears(11, at=0) == []
    assert story.hears(11, at=600) == []
    assert story.firing == ["backlog"]
    assert story.hears(0, at=601) == []
    story.sees(11, at=602)
    story.reloads(silent=False)
    assert story.hears(11, at=603) == ["fired backlog mail"]
    story.reloads(silent=True)
    assert story.hears(0, at=604) == ["resolved backlog mail"], "who was told of it is told of its end"


def test_after_a_restart_nothing_is_told_twice() -> None:
    story = Story.of(rule(escalate_after=minutes(10)), remind_after=3600)
    story.sees({MAIL: 11, NEWS: 11}, at=0)
    story.acks("ann", NEWS)
    story.state = restore(story.state.alerts, 100)
    assert story.hears({MAIL: 11, NEWS: 11}, at=101) == []
    assert {one.about.queue: one.acked_by for one in story.state.alerts} == {"mail": None, "news": "ann"}
    assert story.hears({MAIL: 11, NEWS: 11}, at=600) == ["escalated backlog mail"]
    story.state = restore(story.state.alerts, 601)
    assert story.hears({MAIL: 11, NEWS: 11}, at=602) == [], "nor escalated twice"
    assert story.hears({MAIL: 0, NEWS: 11}, at=603) == ["resolved backlog mail"]


def test_what_ended_while_nobody_looked_is_told() -> None:
    story = Story.of(rule())
    story.sees({MAIL: 11, NEWS: 11})
    story.state = restore(story.state.alerts, 100)
    assert story.hears({MAIL: 0}, at=101, settled=SETTLED) == [
        "resolved backlog mail",
        "resolved backlog news",
    ]


def test_whoever_was_told_before_a_restart_is_told_of_the_end_and_nobody_else() -> None:
    story = Story.of(rule(channels=("ops",)))
    assert story.sees(11)[0].channels == ("ops",)
    story.state = restore(story.state.alerts, 100)
    (notice,) = story.sees(0, at=101)
    assert (notice.change, notice.channels) == ("resolved", ("ops",))


def test_ten_thousand_alerts_are_restored_at_once() -> None:
    story = Story.of(rule())
    story.sees({About("prod", f"q{number}"): 11 for number in range(10_000)})
    begun = time.perf_counter()
    story.state = restore(story.state.alerts, 100)
    assert time.perf_counter() - begun < 2
    assert len(story.state.alerts) == 10_000


def test_after_a_restart_what_is_unknown_stays() -> None:
    story = Story.of(rule())
    story.sees(11)
    story.state = restore(story.state.alerts, 100)
    assert story.hears(None, at=101) == []
    assert story.firing == ["backlog"]


def test_what_was_not_told_before_a_restart_is_told_behind_it() -> None:
    story = Story.of(rule())
    story.sees(11, maintenance="upgrade")
    story.state = restore(story.state.alerts, 100)
    assert story.hears(11, at=101) == ["fired backlog mail"]


def test_a_cooldown_outlives_a_restart() -> None:
    story = Story.of(rule(cooldown=minutes(10)))
    story.sees(11, at=0)
    story.state = restore(story.state.alerts, 100)
    assert story.hears(0, at=101) == ["resolved backlog mail"]
    assert story.hears(11, at=102) == []
    assert story.hears(11, at=600) == ["fired backlog mail"]


def test_history_is_restored_as_history() -> None:
    story = Story.of(rule())
    story.sees({MAIL: 11, NEWS: 11})
    story.sees({MAIL: 0, NEWS: 11})
    again = restore([*story.state.ended, *story.state.alerts], 100)
    assert (again.ended, again.alerts) == (story.state.ended, story.state.alerts)


def test_an_alert_ends_with_its_rule() -> None:
    story = Story.of(rule(channels=("ops",)), rule("other", metric="running_jobs"))
    story.sees(11)
    story.reloads(rules=story.policy.rules[1:])
    (notice,) = story.sees(11)
    assert (told([notice]), notice.channels) == (["resolved backlog mail"], ("ops",))
    assert story.hears(11) == []


def test_an_alert_of_a_former_life_whose_rule_is_gone_ends() -> None:
    story = Story.of(rule("gone"))
    story.sees(11)
    story.state = restore(story.state.alerts, 5)
    story.reloads(rules=(rule(),))
    assert story.hears(0, at=6) == ["resolved gone mail"]


def test_a_changed_rule_holds_for_what_fires_already() -> None:
    story = Story.of(rule())
    story.sees(11)
    story.reloads(rules=(rule(threshold=5, severity="critical"),))
    assert story.hears(11) == []
    assert (story.alert.threshold, story.alert.severity) == (5, "critical")
    story.reloads(rules=(rule(threshold=20),))
    assert story.hears(11) == ["resolved backlog mail"]


def test_an_alert_ends_when_its_rule_is_about_something_else() -> None:
    story = Story.of(rule(hold=minutes(1)))
    story.sees({MAIL: 11, NEWS: 0}, at=0)
    story.sees({MAIL: 11, NEWS: 11}, at=60)
    story.reloads(rules=(rule(metric="running_jobs", hold=minutes(1)),))
    assert story.hears({MAIL: 11, NEWS: 11}, at=120, metric="running_jobs") == ["resolved backlog mail"]
    assert story.firing == [], "nor does the time count that something else was wrong"
    assert story.hears({MAIL: 0, NEWS: 11}, at=180, metric="running_jobs") == ["fired backlog news"]


def test_history_is_bounded() -> None:
    story = Story.of(rule())
    for _ in range(HISTORY + 5):
        story.sees(11)
        story.sees(0)
    assert len(story.state.ended) == HISTORY
    assert story.state.ended[-1].resolved == story.now


def test_the_loudest_are_told_first() -> None:
    severities = {"a": "info", "b": "critical", "c": "warning"}
    story = Story.of(*(rule(name, metric=f"m{name}", severity=one) for name, one in severities.items()))
    seen = Observation("prod", {f"m{name}": {MAIL: 11.0} for name in "abc"})
    state, notices = decide(story.state, seen, 1, story.policy)
    assert told(notices) == ["fired b mail", "fired c mail", "fired a mail"]
    assert [one.rule for one in state.alerts] == ["b", "c", "a"]


def test_a_moment_before_the_last_one_does_no_harm() -> None:
    story = Story.of(rule(hold=minutes(1)))
    story.sees(11, at=100)
    assert story.hears(None, at=50) == []
    assert story.hears(11, at=60) == []
    assert story.hears(11, at=160) == ["fired backlog mail"]


def test_deciding_changes_no_older_state() -> None:
    story = Story.of(rule(cooldown=minutes(10)))
    story.sees({MAIL: 11, NEWS: 11})
    before, known = story.state, repr(story.state)
    story.sees({MAIL: 0, NEWS: 12})
    story.state = before
    assert repr(before) == known
    assert story.hears({MAIL: 0, NEWS: 11}) == ["resolved backlog mail"]


def test_a_summary_that_cannot_be_filled_in_is_told_as_it_stands() -> None:
    odd = AlertRule("odd", METRIC, "above", 0, "warning", "{queue: {nonsense} {value!r:>9}")
    assert Story.of(odd).hears(1) == ["fired odd mail"]
