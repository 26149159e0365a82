"""Whatever is observed in whatever order, these hold."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from alertings import MAIL, METRIC, NEWS, rule
from hypothesis import given, settings
from hypothesis import strategies as st

from queuewarden.engine.alerting.decide import AlertState, Policy, acknowledge, decide
from queuewarden.engine.alerting.notices import About, AlertNotice, Observation, Suppression
from queuewarden.engine.alerting.succession import restore

if TYPE_CHECKING:
    from queuewarden.engine.alerting.rules import AlertRule

COOLDOWN, REMIND, ESCALATE = 300.0, 700.0, 200.0
RULES = (
    rule(
        "backlog",
        10,
        hold=timedelta(seconds=40),
        clear=5,
        cooldown=timedelta(seconds=COOLDOWN),
        escalate_after=timedelta(seconds=ESCALATE),
    ),
    rule("crowd", 100, severity="critical", cooldown=timedelta(seconds=COOLDOWN)),
    rule("idle", 1, comparison="below", severity="info", cooldown=timedelta(0)),
    rule("down", 0, metric="environment_down", severity="critical", mutes=True, cooldown=timedelta(0)),
)
QUEUES = (MAIL, NEWS, About("prod", "news", "a b"))
VALUES = st.sampled_from([0.0, 5.0, 7.0, 11.0, 100.0, 101.0, math.nan, math.inf, -math.inf])


@dataclass(frozen=True)
class Step:
    wait: float
    readings: dict[About, float]
    down: float | None
    settled: bool
    maintenance: str | None
    suppressed: bool
    queues: frozenset[str] | None
    absent: frozenset[tuple[str, About]]
    acks: bool
    restarts: bool
    rules: tuple[AlertRule, ...]

    def observation(self) -> Observation:
        readings: dict[str, dict[About, float]] = {METRIC: self.readings}
        if self.down is not None:
            readings["environment_down"] = {About("prod"): self.down}
        settled = frozenset({METRIC, "environment_down"}) if self.settled else frozenset()
        return Observation("prod", readings, settled, self.maintenance, self.queues, self.absent)


STEPS = st.lists(
    st.builds(
        Step,
        wait=st.sampled_from([0.0, 1.0, 20.0, 41.0, 250.0, 1000.0]),
        readings=st.dictionaries(st.sampled_from(QUEUES), VALUES),
        down=st.sampled_from([None, 0.0, 0.0, 1.0]),
        settled=st.booleans(),
        maintenance=st.sampled_from([None, None, None, "upgrade"]),
        suppressed=st.sampled_from([False, False, True]),
        queues=st.sampled_from([None, frozenset({"mail"}), frozenset({"mail", "news"})]),
        absent=st.sampled_from([frozenset(), frozenset({(METRIC, NEWS)})]),
        acks=st.sampled_from([False, False, False, True]),
        restarts=st.sampled_from([False, False, False, True]),
        rules=st.sampled_from([RULES, RULES, RULES[1:], RULES[::-1], ()]),
    ),
    max_size=40,
)


@dataclass
class Ear:
    """Somebody who keeps account of what is told of one alert, and knows nothing else."""

    fired: list[float] = field(default_factory=list)
    last: float = -math.inf
    announced: bool = False
    escalated: bool = False
    acked: bool = False

    def hears(self, notice: AlertNotice, now: float) -> None:
        if notice.change == "fired":
            assert not self.announced
            assert not notice.alert.muted
            self.announced, self.escalated = True, False
            self.fired.append(now)
        elif notice.change == "resolved":
            assert self.announced
            assert notice.alert.resolved == now
            self.announced = self.acked = False
        elif notice.change == "acknowledged":
            self.acked = True
        else:
            assert self.announced
            assert not self.acked
            assert not notice.alert.muted
            assert notice.alert.resolved is None
        if notice.change == "reminded":
            assert now - self.last >= REMIND
        if notice.change == "escalated":
            assert not self.escalated
            assert now - self.fired[-1] >= ESCALATE
            self.escalated = True
        self.last = now


def play(steps: list[Step], *, silent: bool = False, changes: bool = False) -> dict[str, Ear]:
    state, now = AlertState(), 1000.0
    ears: dict[str, Ear] = {}
    suppression = Suppression("1", math.inf, "import runs", "ann", rule="back*", queue="mail")
    for step in steps:
        now += step.wait
        policy = Policy(
            step.rules if changes else RULES, (suppression,) if step.suppressed else (), REMIND, silent
        )
        seen = step.observation()
        before = state
        state, notices = decide(before, seen, now, policy)
        assert decide(before, seen, now, policy)[1] == notices, "deciding leaves no trace"
        assert not (silent and notices)
        if step.acks and state.alerts and not silent:
            state, notice = acknowledge(state, state.alerts[0].id, "ann", now)
            notices = [*notices, notice]
        for notice in notices:
            ears.setdefault(notice.alert.id, Ear()).hears(notice, now)
        for alert in state.alerts:
            ear = ears.get(alert.id, Ear())
            assert (alert.announced, alert.acked_by is not None) == (ear.announced, ear.acked)
        firing = {alert.id for alert in state.alerts}
        for name, ear in ears.items():
            if name not in firing:
                assert not ear.announced, "its end was told"
                ear.acked = False
        if changes and step.restarts:
            state = restore([*state.ended, *state.alerts], now)
    return ears


@settings(max_examples=400, deadline=None)
@given(STEPS)
def test_what_is_told_of_an_alert_makes_sense_and_keeps_its_cooldown(steps: list[Step]) -> None:
    ears = play(steps)
    lasted = sum(step.wait for step in steps)
    for name, ear in ears.items():
        if name.startswith(("backlog", "crowd")):
            gaps = [late - early for early, late in zip(ear.fired, ear.fired[1:], strict=False)]
            assert all(gap >= COOLDOWN for gap in gaps)
            assert len(ear.fired) <= lasted / COOLDOWN + 1


@settings(max_examples=300, deadline=None)
@given(STEPS)
def test_what_is_told_makes_sense_across_restarts_and_reloads(steps: list[Step]) -> None:
    play(steps, changes=True)


@settings(max_examples=200, deadline=None)
@given(STEPS)
def test_nothing_is_told_while_alerts_are_off(steps: list[Step]) -> None:
    play(steps, silent=True)


ODD: Any = st.floats() | st.integers(-(2**63), 2**63) | st.booleans()


@settings(max_examples=200, deadline=None)
@given(st.lists(st.dictionaries(st.builds(About, st.text(), st.text(), st.text()), ODD, max_size=4)))
def test_g14_no_reading_whatsoever_makes_deciding_fail(observations: list[dict[About, float]]) -> None:
    state, now = AlertState(), 0.0
    for readings in observations:
        now += 50
        state, _ = decide(state, Observation("prod", {METRIC: readings}), now, Policy(RULES))
    assert len({alert.id for alert in state.alerts}) == len(state.alerts)
