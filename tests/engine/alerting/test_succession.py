"""Who announces goes on where another ended."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from alertings import MAIL, METRIC, NEWS, rule, told

from queuewarden.engine.alerting.decide import AlertState, Policy, decide
from queuewarden.engine.alerting.notices import About, Observation, Suppression
from queuewarden.engine.alerting.succession import handed_over, restore

POLICY = Policy((rule(cooldown=timedelta(minutes=5)),), remind_after=0)
STANDBY = replace(POLICY, standby=True)


def step(
    state: AlertState, now: float, *waiting: About, policy: Policy = POLICY
) -> tuple[AlertState, list[str]]:
    seen = Observation("prod", {METRIC: dict.fromkeys(waiting, 99.0)}, frozenset({METRIC}))
    state, notices = decide(state, seen, now, policy)
    return state, told(notices)


def test_a_cooldown_outlasts_a_restart() -> None:
    state, _ = step(AlertState(), 100, MAIL)
    state, _ = step(state, 110)
    state = restore(state.ended, 120)
    state, notices = step(state, 130, MAIL, NEWS)
    assert notices == ["fired backlog news"]
    state, notices = step(state, 401, MAIL, NEWS)
    assert notices == ["fired backlog mail"]


def test_what_was_told_late_is_not_escalated_early_behind_a_restart() -> None:
    policy = Policy((rule(escalate_after=timedelta(minutes=10)),), remind_after=0)
    suppressed = replace(policy, suppressions=(Suppression("1", 1000, "a move", "ann"),))
    state, notices = step(AlertState(), 100, MAIL, policy=suppressed)
    assert notices == []
    state, notices = step(state, 1000, MAIL, policy=policy)
    assert notices == ["fired backlog mail"]
    state = restore([replace(one, told=1000) for one in state.alerts], 1010)
    state, notices = step(state, 1020, MAIL, policy=policy)
    assert notices == []
    _, notices = step(state, 1600, MAIL, policy=policy)
    assert notices == ["escalated backlog mail"]


def test_how_often_it_came_and_went_outlasts_a_change_of_the_lease() -> None:
    state, _ = step(AlertState(), 100, MAIL)
    for now in (110, 130, 150):
        state, _ = step(state, now)
        state, _ = step(state, now + 10, MAIL)
    before = {name: lives.told for name, lives in state.lives.items()}
    state = restore([*state.ended, *state.alerts], 170, before)
    _, notices = decide(state, Observation("prod", {METRIC: {MAIL: 99.0}}, frozenset({METRIC})), 401, POLICY)
    assert [notice.times for notice in notices] == [2]


def test_a_standby_tells_the_end_of_what_it_has_told_and_of_nothing_else() -> None:
    state, _ = step(AlertState(), 100, MAIL, NEWS)
    state = handed_over(state, {"backlog.prod.mail"})
    state, notices = step(state, 110, MAIL, NEWS, About("prod", "more"), policy=STANDBY)
    assert notices == []
    state, notices = step(state, 120, policy=STANDBY)
    assert notices == ["resolved backlog news"]
    assert state.alerts == ()
