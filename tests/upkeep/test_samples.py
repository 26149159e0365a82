"""Samples as values: adding up loses nothing, and what the ledger holds is read whatever it is."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from queuewarden.engine.upkeep import samples
from queuewarden.engine.upkeep.samples import Readings, above, merged, percentile, readings, slot, start

numbers = st.integers(0, 10**9).map(float)


@st.composite
def some_readings(draw: st.DrawFn) -> Readings:
    made = Readings(n=draw(st.integers(0, 50)))
    for name, value in draw(st.dictionaries(st.sampled_from(sorted(samples.SUMS)), numbers)).items():
        made.add(name, value)
    for name, values in draw(
        st.dictionaries(st.sampled_from(sorted(samples.GAUGES)), st.lists(numbers, min_size=1, max_size=4))
    ).items():
        for value in values:
            made.note(name, value)
    for place, jobs in draw(st.dictionaries(st.integers(-40, 104), st.integers(1, 1000))).items():
        made.count(place, jobs)
    return made


@given(st.lists(some_readings(), max_size=6), st.integers(0, 6))
def test_spans_may_be_gathered_in_any_steps(several: list[Readings], cut: int) -> None:
    whole = merged(several)
    assert whole == merged([merged(several[:cut]), merged(several[cut:])])
    assert readings(json.loads(json.dumps(whole.document()))) == whole
    for name in samples.SUMS:
        assert whole.sums.get(name, 0) == sum(one.sums.get(name, 0) for one in several)


@given(st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.sampled_from(["n", "sums", "gauges", "times", "up", "size", "7", "x"]), inner),
))  # fmt: skip
@example({"times": {"--7": 3}})
def test_whatever_the_ledger_holds_is_read(document: object) -> None:
    found = readings(document)
    assert found.n >= 0
    values = [*found.sums.values(), *(value for one in found.gauges.values() for value in one)]
    assert all(math.isfinite(value) for value in values)
    assert set(found.sums) <= samples.SUMS
    assert set(found.gauges) <= samples.GAUGES


@given(st.lists(st.floats(0.002, 1e6), min_size=1, max_size=200), st.sampled_from([0.5, 0.95, 0.99]))
def test_a_percentile_is_off_by_nine_per_cent_at_most(times: list[float], share: float) -> None:
    counted = Readings()
    for one in times:
        counted.count(slot(one), 1)
    true = sorted(times)[math.ceil(share * len(times)) - 1]
    found = percentile(counted.times, share)
    assert found is not None
    assert true / 1.091 <= found <= true * 1.091


def test_of_no_jobs_there_is_no_percentile() -> None:
    assert percentile({}, 0.5) is None


@pytest.mark.parametrize(("seconds", "place"), [(0, -40), (0.001, -40), (1, 0), (2, 4), (1e12, 104)])
def test_slots(seconds: float, place: int) -> None:
    assert slot(seconds) == place


def test_above_a_limit_are_those_that_are_so_for_certain() -> None:
    assert above({slot(60): 5, slot(180): 3, slot(600): 2}, 180) == 2


def test_days_begin_in_utc() -> None:
    assert start(86_399.9, "1d") == 0
    assert start(86_400, "1d") == 86_400
    assert start(3 * 3600 + 299, "5m") == 3 * 3600
