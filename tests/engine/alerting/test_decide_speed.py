"""Deciding over ten thousand targets takes a small part of the 50 ms that it may."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from queuewarden.engine.alerting.decide import AlertState, Policy, decide
from queuewarden.engine.alerting.defaults import RULES
from queuewarden.engine.alerting.notices import About, Observation

TARGETS = [About("prod", f"queue-{number}") for number in range(10_000)]
BOUND = 0.5
"""Seconds of this thread's: ten times what it may take, so that a slow machine does not break the test."""


def observation(bad: range) -> Observation:
    waits = dict.fromkeys(TARGETS, 3.0) | {TARGETS[number]: 500.0 for number in bad}
    return Observation("prod", {"waiting_jobs": waits}, frozenset({"waiting_jobs"}))


GOOD, SOME, ALL = observation(range(0)), observation(range(0, 10_000, 100)), observation(range(10_000))


@pytest.mark.parametrize(
    ("history", "seen", "notices", "bound"),
    [
        ([], GOOD, 0, BOUND),
        ([SOME], SOME, 100, BOUND),
        ([SOME, SOME], SOME, 0, BOUND),
        ([SOME, SOME], GOOD, 100, BOUND),
        ([ALL, ALL], ALL, 0, BOUND),
        ([ALL], ALL, 10_000, 4 * BOUND),
    ],
    ids=["all good", "one in a hundred fires", "they stay", "they end", "all stay", "all fire at once"],
)
def test_ten_thousand_targets(
    history: list[Observation], seen: Observation, notices: int, bound: float
) -> None:
    policy, state, now = Policy(tuple(replace(rule, channels=()) for rule in RULES)), AlertState(), 0.0
    for before in history:
        now += 400
        state, _ = decide(state, before, now, policy)
    begun = time.thread_time()
    _, told = decide(state, seen, now + 400, policy)
    assert time.thread_time() - begun < bound
    assert len(told) == notices
