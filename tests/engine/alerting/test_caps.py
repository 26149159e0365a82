"""The hourly cap of a channel."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuewarden.engine.alerting.caps import HOUR, Cap, admit
from queuewarden.engine.alerting.rules import SEVERITIES


def admitted(cap: Cap, *moments: float, severity: str = "warning", change: str = "fired") -> tuple[Cap, int]:
    count = 0
    for moment in moments:
        cap, passed = admit(cap, severity, change, moment)  # type: ignore[arg-type]
        count += passed
    return cap, count


def test_g3_no_more_than_so_many_an_hour_and_what_was_held_back_is_counted() -> None:
    cap, count = admitted(Cap(3), *range(5))
    assert (count, cap.swallowed) == (3, 2)
    cap, swallowed = cap.taken()
    assert (swallowed, cap.swallowed) == (2, 0)
    assert cap.taken() == (cap, 0)


def test_the_hour_slides() -> None:
    cap, _ = admitted(Cap(2), 0, 1800)
    cap, passed = admit(cap, "warning", "fired", HOUR - 0.1)
    assert not passed
    cap, passed = admit(cap, "warning", "fired", HOUR)
    assert passed
    assert not admit(cap, "warning", "fired", HOUR + 1)[1]


def test_what_was_held_back_does_not_count_against_the_hour() -> None:
    cap, _ = admitted(Cap(1), *range(0, 3600, 10))
    assert admit(cap, "warning", "fired", HOUR)[1]


def test_critical_notices_have_a_budget_of_their_own() -> None:
    cap, _ = admitted(Cap(2), 0, 1, 2)
    cap, count = admitted(cap, 3, 4, 5, severity="critical")
    assert (count, cap.swallowed) == (2, 2)
    assert admitted(Cap(2), 0, 1, 2, severity="critical")[1] == 2
    assert admitted(admitted(Cap(2), 0, 1, 2, severity="critical")[0], 3, severity="info")[1] == 1


@pytest.mark.parametrize("severity", SEVERITIES)
def test_that_something_is_over_is_always_told_and_costs_nothing(severity: str) -> None:
    full, _ = admitted(Cap(1), 0, 0, severity=severity)
    cap, count = admitted(full, *range(1, 50), severity=severity, change="resolved")
    assert (cap, count) == (full, 49)
    free, _ = admitted(Cap(1), 0, 1, 2, severity=severity, change="resolved")
    assert admit(free, "warning", "reminded", 3)[1]


@given(
    st.integers(1, 5),
    st.lists(
        st.tuples(
            st.floats(0, 1000),
            st.sampled_from(SEVERITIES),
            st.sampled_from(["fired", "reminded", "escalated"]),
        ),
        max_size=60,
    ),
)
def test_no_hour_ever_holds_more(hourly: int, steps: list[tuple[float, str, str]]) -> None:
    cap, now, passed = Cap(hourly), 0.0, []
    for wait, severity, change in steps:
        now += wait
        cap, good = admit(cap, severity, change, now)  # type: ignore[arg-type]
        if good:
            passed.append((now, severity == "critical"))
    assert cap.swallowed == len(steps) - len(passed)
    for end, urgent in passed:
        assert sum(end - HOUR < at <= end and critical == urgent for at, critical in passed) <= hourly
