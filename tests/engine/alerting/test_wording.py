"""What people read: values in their own units, and no gaps where something does not apply."""

from __future__ import annotations

import math

import pytest
from alertings import rule
from hypothesis import given
from hypothesis import strategies as st

from queuewarden.engine.alerting.notices import About
from queuewarden.engine.alerting.readings import READINGS
from queuewarden.engine.alerting.wording import LONGEST, shown, summary


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        ("waiting_jobs", 12.0, "12"),
        ("waiting_jobs", 0.0, "0"),
        ("waiting_jobs", 100_000.0, "100000"),
        ("run_time_ratio", 2.54, "2.5"),
        ("run_time_ratio", 2.96, "3"),
        ("run_time_ratio", 0.123, "0.12"),
        ("run_time_ratio", 12.6, "13"),
        ("sweep_seconds", 12.0, "12 s"),
        ("sweep_seconds", 0.25, "250 ms"),
        ("sweep_seconds", 0.0, "0 s"),
        ("sweep_seconds", 2.5, "2.5 s"),
        ("sweep_age_seconds", 840.0, "14 m"),
        ("sweep_age_seconds", 90.0, "1.5 m"),
        ("oldest_waiting", 5400.0, "1.5 h"),
        ("oldest_waiting_seconds", 172_800.0, "2 d"),
        ("database_errors", 0.05, "5 %"),
        ("database_errors", 0.0123, "1.2 %"),
        ("database_errors", 0.0004, "0.04 %"),
        ("cache_hits", 0.995, "100 %"),
        ("cache_hits", 1.0, "100 %"),
        ("waiting_jobs", math.inf, "∞"),
        ("waiting_jobs", -math.inf, "-∞"),
        ("sweep_seconds", math.nan, "unknown"),
        ("of nobody", 1.0, "1"),
    ],
)
def test_values_are_said_as_people_say_them(metric: str, value: float, text: str) -> None:
    assert shown(metric, value) == text


@given(st.sampled_from(sorted(READINGS)), st.floats())
def test_each_value_can_be_said(metric: str, value: float) -> None:
    assert shown(metric, value)


@pytest.mark.parametrize(
    ("template", "about", "text"),
    [
        ("{environment}/{queue}: {value} wait", About("prod", "mail"), "prod/mail: 12 wait"),
        ("{environment}/{queue}: {value} wait", About("prod"), "prod: 12 wait"),
        ("{environment}/{queue}: {value} wait", About(), "12 wait"),
        ("{environment} {queue} {subject}: m is {value}", About("prod"), "prod: m is 12"),
        ("{environment} {queue} {subject}: m is {value}", About("prod", "", "x"), "prod x: m is 12"),
        ("{environment} {queue} {subject}: m is {value}", About(), "m is 12"),
        ("{queue}/{subject} is {value}", About("prod", "", "x"), "x is 12"),
        ("{value} ({queue}) over {threshold}", About("prod"), "12 over 10"),
        ("{value} over {threshold} in '{queue}'", About("prod"), "12 over 10 in"),
        ("{value}, {queue}, {subject}", About("prod"), "12"),
        ("{{{queue}}} {value!r:>9}", About("prod", "mail"), "{mail} 12"),
        ("{queue}", About("prod"), "backlog"),
        ("as it stands", About("prod"), "as it stands"),
        ("100 %s of {queue} %", About("prod", "mail"), "100 %s of mail %"),
        ("{queue:", About("prod"), "{queue:"),
        (" a  b : {value} ", About("prod", "mail", "x"), " a  b : 12 "),
    ],
)
def test_what_does_not_apply_leaves_no_gap(template: str, about: About, text: str) -> None:
    assert summary(rule(summary=template), about, 12) == text


def test_a_name_is_never_taken_for_a_placeholder_or_tidied() -> None:
    about = About("{value}", "a / b ,", "{queue} %s")
    assert summary(rule(summary="{environment}|{queue}|{subject}"), about, 12) == "{value}|a / b ,|{queue} %s"


def test_a_name_cannot_forge_a_line_nor_fill_a_page() -> None:
    about = About("prod", "mail\r\nRESOLVED \x1b[2J\u202eall", "x" * 1_000_000)
    text = summary(rule(summary="{queue} {subject}"), about, 12)
    assert text.isprintable()
    assert text.startswith("mail RESOLVED [2J all ")
    assert len(text) < 2 * LONGEST


@given(st.text(max_size=40), st.text(max_size=10), st.text(max_size=10), st.text(max_size=10))
def test_whatever_the_template_and_the_names_something_is_said(
    template: str, environment: str, queue: str, subject: str
) -> None:
    assert summary(rule(summary=template), About(environment, queue, subject), 12)
