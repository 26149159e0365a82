"""The few words in which a mapping speaks of columns: what they mean, and what is none of them."""

from __future__ import annotations

import pytest

from queuewarden.queues.conditions import Compared, Locked, Null, Written, columns, condition, written


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("locked_at is null", Null("locked_at")),
        ("Locked_At IS NOT NULL", Null("Locked_At", wanted=False)),
        ('"odd ""name" is null', Null('odd "name')),
        ("attempts >= max_attempts", Compared("attempts", ">=", other="max_attempts")),
        ("attempts<3", Compared("attempts", "<", "3")),
        ("balance > -1", Compared("balance", ">", "-1")),
        ("kind = 'it''s'", Compared("kind", "=", "it's")),
        ("kind <> ''", Compared("kind", "<>", "")),
        (" locked ", Locked()),
    ],
)
def test_conditions(text: str, meaning: object) -> None:
    assert condition(text) == meaning


@pytest.mark.parametrize(
    "text",
    ["", "pending", "a is", "a = b = c", "a == 1", "a like 'x'", "now() > a", "a is null or b is null"],
)
def test_what_is_no_condition(text: str) -> None:
    with pytest.raises(ValueError, match="not a condition such as"):
        condition(text)


def test_the_columns_of_a_condition() -> None:
    assert columns("a >= b") == ("a", "b")
    assert columns("a >= 1") == columns("a is null") == ("a",)
    assert columns("locked") == ()


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("run_at = not  before NOW", Written("run_at", "not before now")),
        ("tries=+1", Written("tries", "+1")),
        ("worker = null", Written("worker", "null")),
        ("note = 'it''s'", Written("note", "text", "it's")),
        ("tries = most", Written("tries", "column", "most")),
        ('tries = "now"', Written("tries", "column", "now")),
        ('"odd name" = keep', Written("odd name", "keep")),
    ],
)
def test_writes(text: str, meaning: Written) -> None:
    assert written(text) == meaning
    assert written(str(meaning)) == meaning


@pytest.mark.parametrize(
    "text", ["", "run_at", "run_at = ", "run_at = the day after", "= now", "note = it's"]
)
def test_what_is_no_write(text: str) -> None:
    with pytest.raises(ValueError, match="not a write such as"):
        written(text)
