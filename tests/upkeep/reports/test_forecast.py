"""Forecasts: a straight line, its bounds, and what is said where there is no telling."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from upkeep.reports import making

from queuewarden.engine.upkeep.report.forecast import FURTHEST, LEAST, MONTH, Line, line, quantile, until
from queuewarden.engine.upkeep.report.growth import growth


@pytest.mark.parametrize(
    ("freedom", "table"),
    [(5, 2.0150), (6, 1.9432), (10, 1.8125), (20, 1.7247), (30, 1.6973), (60, 1.6706), (1000, 1.6464)],
)
def test_students_distribution_as_tables_have_it(freedom: int, table: float) -> None:
    assert quantile(freedom) == pytest.approx(table, rel=0.002)


def test_a_line_as_a_textbook_has_it() -> None:
    """Worked by hand: slope 0.75, rest 11.25, spread 28, t of 5 is 2.015."""
    found = line([(x, y) for x, y in enumerate([1, 3, 2, 5, 3, 4, 7])])
    assert found is not None
    assert found.slope == pytest.approx(0.75)
    rest = sum((y - 25 / 7 - 0.75 * (x - 3)) ** 2 for x, y in enumerate([1, 3, 2, 5, 3, 4, 7]))
    assert found.high - found.slope == pytest.approx(2.015 * math.sqrt(rest / 5 / 28), rel=0.002)
    assert found.slope - found.low == pytest.approx(found.high - found.slope)


def test_nine_of_ten_intervals_hold_the_truth() -> None:
    chance = random.Random(7)
    held = 0
    for _ in range(400):
        found = line([(day, 5 * day + chance.gauss(0, 20)) for day in range(30)])
        assert found is not None
        held += found.low <= 5 <= found.high
    assert 0.86 <= held / 400 <= 0.94


@given(st.lists(st.tuples(st.integers(0, 10**5), st.floats(0, 1e15)), max_size=40, unique_by=lambda p: p[0]))
def test_whatever_was_measured_gives_numbers(points: list[tuple[float, float]]) -> None:
    found = line(points)
    assert (found is None) == (len(points) < LEAST)
    if found is not None:
        assert all(math.isfinite(one) for one in found)
        assert found.low <= found.slope <= found.high
        for value in until(points[-1][1], 2e15, found):
            assert value is None or 0 <= value <= FURTHEST


def test_until_a_limit() -> None:
    months = until(100, 100 + 2 * MONTH, Line(1, 0.5, 2))
    assert months == (2.0, 1.0, 4.0)
    assert until(100, 50, Line(1, 0.5, 2)) == (0, 0, 0)
    flat = until(100, 200, Line(0.1, -0.5, 0.7))
    assert flat.months is None, "it may as well not grow"
    assert flat.low == pytest.approx(100 / 0.7 / MONTH)
    assert flat.high is None
    assert until(100, 200, Line(-1, -2, -0.5)) == (None, None, None)
    assert until(0, 1e9, Line(1, 0.9, 1.1)).months is None, "in a century"


def test_growth_of_a_table() -> None:
    (size,) = growth("mail", "public.jobs", making.days("mail", slope=1e6))
    assert size.per_month == pytest.approx(1e6 * MONTH, rel=0.01)
    assert size.low is not None
    assert size.high is not None
    assert size.per_month is not None
    assert size.low < size.per_month < size.high
    assert size.limit == pytest.approx(2 * (size.now or 0))
    assert size.months == pytest.approx((size.now or 0) / 1e6 / MONTH, rel=0.01)
    (limited,) = growth("mail", "public.jobs", making.days("mail"), size_limit=int((size.now or 0) + 30e6))
    assert limited.months == pytest.approx(30 / MONTH, rel=0.02)
    assert limited.limit_is == "the limit"


def test_of_too_few_days_nothing_is_told() -> None:
    (found,) = growth("mail", "public.jobs", making.days("mail", count=6))
    assert (found.months, found.per_month) == (None, None)
    assert found.unknown == "only 6 days are known; it takes 7"
    assert growth("mail", "public.jobs", []) == []


def test_a_key_that_runs_out() -> None:
    days = making.days("mail")
    for number, one in enumerate(days):
        one.readings.note("key", 1_000_000_000.0 + number * 10_000_000)
    _, key = growth("mail", "public.jobs", days, key_limit=2_147_483_647)
    assert key.measure == "key"
    assert key.months == pytest.approx((2_147_483_647 - 1_590_000_000) / 10_000_000 / MONTH)
