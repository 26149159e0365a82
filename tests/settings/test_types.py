from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuewarden.queues.mapping import OrderTerm, Reference, TableName
from queuewarden.settings import mapped, types
from queuewarden.settings.addresses import listen


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("100ms", 0.1),
        ("30s", 30),
        ("3m", 180),
        ("2h", 7200),
        ("1d", 86400),
        (" 5s ", 5),
        ("3650d", 315_360_000),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert types.duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "0s", "-1s", "5", "5 s", "1.5s", "1h30m", "5M", "s", "3651d", "9" * 13 + "s", "٣s"]
)
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        types.duration(text)


@given(st.integers(1, 3650 * 86_400_000))
def test_a_duration_is_spelled_as_it_is_read(milliseconds: int) -> None:
    value = timedelta(milliseconds=milliseconds)
    assert types.duration(types.spelled(value)) == value


def test_never() -> None:
    assert types.duration_or_never("Never") == "never"
    assert types.duration_or_never("1s") == timedelta(seconds=1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("jobs", TableName("jobs")),
        ("Jobs", TableName("Jobs")),
        ("app.jobs", TableName("jobs", "app")),
        ('"app"."jobs"', TableName("jobs", "app")),
        ('"my.app" . "a ""b"""', TableName('a "b"', "my.app")),
        ("größe-1$", TableName("größe-1$")),
    ],
)
def test_tables(text: str, expected: Any) -> None:
    assert mapped.table(text) == expected


@pytest.mark.parametrize(
    "text", ["", "a.b.c", ".jobs", "jobs.", "a b", '"a', '""', "a;b", "x" * 64, "é" * 32]
)
def test_what_is_no_table(text: str) -> None:
    with pytest.raises(ValueError, match=r"name|table"):
        mapped.table(text)


def test_columns_of_a_composite_key() -> None:
    assert types.listed(mapped.column)('tenant, "job, id"') == ("tenant", "job, id")


@pytest.mark.parametrize("text", ["", "a,", ",a", "a,,b", "a,a"])
def test_lists_without_holes_or_repetition(text: str) -> None:
    with pytest.raises(ValueError, match=r"empty item|twice"):
        types.listed(mapped.column)(text)


def test_status_values_keep_their_spelling() -> None:
    assert types.listed(mapped.status)('In Progress, 2, "a, b"') == ("In Progress", "2", "a, b")


def test_orders() -> None:
    assert types.listed(mapped.order_term)(
        'priority DESC, joined_at, "a b" asc nulls last, x nulls first'
    ) == (
        OrderTerm("priority", descending=True),
        OrderTerm("joined_at"),
        OrderTerm("a b", nulls="last"),
        OrderTerm("x", nulls="first"),
    )


@pytest.mark.parametrize("text", ["a down", "a desc asc", "a nulls", "lower(a)", "a desc nulls never", '"a'])
def test_what_is_no_order(text: str) -> None:
    with pytest.raises(ValueError, match=r"order|name"):
        mapped.order_term(text)


def test_references() -> None:
    assert types.listed(mapped.reference)('a -> t.id, b->s.t."x.y"') == (
        Reference("a", TableName("t"), "id"),
        Reference("b", TableName("t", "s"), "x.y"),
    )


@pytest.mark.parametrize("text", ["a", "a -> t", "a -> b -> c.d", "a => t.id", "a -> a.b.c.d", " -> t.id"])
def test_what_is_no_reference(text: str) -> None:
    with pytest.raises(ValueError, match=r"reference|name"):
        mapped.reference(text)


def test_timestamps() -> None:
    assert mapped.timestamp('"a=b" = started_at') == ("a=b", "started_at")
    with pytest.raises(ValueError, match="pair"):
        mapped.timestamp("running")


@pytest.mark.parametrize(("text", "value"), [("Yes", True), ("1", True), ("off", False), ("FALSE", False)])
def test_booleans(text: str, value: Any) -> None:
    assert types.boolean(text) is value


def test_maximum_of_attempts_is_a_column_or_a_number() -> None:
    assert mapped.column_or_number("5") == 5
    assert mapped.column_or_number("max_attempts") == "max_attempts"


@pytest.mark.parametrize("text", ["nan", "inf", "0", "-1", "two", ""])
def test_what_is_no_factor(text: str) -> None:
    with pytest.raises(ValueError, match="positive number"):
        types.factor(text)


@pytest.mark.parametrize("text", ["", "Mars/Base", "/etc/passwd", "../UTC", "x" * 300, "a\0b"])
def test_what_is_no_time_zone(text: str) -> None:
    with pytest.raises(ValueError, match="time zone"):
        types.time_zone(text)


@given(st.text(max_size=40))
def test_readers_only_ever_raise_value_errors(text: str) -> None:
    readers = (
        types.duration, types.boolean, types.factor, types.path, types.time_zone, types.name, mapped.table,
        mapped.status, mapped.column_or_number, mapped.order_term, mapped.reference, mapped.timestamp,
        types.listed(mapped.column), listen, types.threshold, types.summary,
    )  # fmt: skip
    for reader in readers:
        try:
            reader(text)
        except ValueError as error:
            assert str(error)  # noqa: PT017 -- the message is what users read


@given(st.ip_addresses(), st.integers(1, 65_535))
def test_every_address_can_be_listened_on(address: Any, port: int) -> None:
    host = f"[{address}]" if address.version == 6 else str(address)
    assert listen(f"{host}:{port}") == f"{host}:{port}"


@given(st.text("0123456789abcdefABCDEF:.[]%-_/ ux", max_size=30))
def test_what_is_listened_on_is_read_the_same_again(text: str) -> None:
    try:
        read = listen(text)
    except ValueError:
        return
    assert listen(read) == read
    if not read.startswith("unix:/"):
        host, _, port = read.rpartition(":")
        assert host
        assert 1 <= int(port) <= 65_535


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_thresholds(value: float) -> None:
    assert types.threshold(repr(value)) == value


@pytest.mark.parametrize("text", ["", "nan", "-inf", "1e999", "5%", "1,5", "0x10", "ten"])
def test_what_is_no_threshold(text: str) -> None:
    with pytest.raises(ValueError, match="not a number"):
        types.threshold(text)


@given(st.text("{}!:.[]valueqnrd0 ", max_size=30))
def test_a_summary_can_always_be_filled_in(text: str) -> None:
    try:
        read = types.summary(text)
    except ValueError:
        return
    filled = read.format(environment="e", queue="q", subject="s", value="v", threshold="t")
    assert len(filled) <= len(text)
