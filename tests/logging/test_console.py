"""The console's line: one an event, readable, within 160 columns where it can."""

from __future__ import annotations

import io
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuewarden.adapters.logging import configure
from queuewarden.adapters.logging.console import Console
from queuewarden.adapters.logging.text import humanise, value_text
from queuewarden.redact import redact

import structlog  # isort: skip -- the package above decides how it is loaded


def shown(event: str, level: str = "info", *, coloured: bool = False, **fields: Any) -> str:
    stream = io.StringIO()
    moment = "2026-01-02T12:34:56.123456Z"
    Console(lambda: stream, coloured=coloured).write(
        {"timestamp": moment, "level": level, "event": event, **fields}
    )
    return stream.getvalue().removesuffix("\n")


def jobs(count: int) -> list[dict[str, Any]]:
    return [
        {"id": str(n), "worker": f"w-{n}", "label": None, "age": timedelta(seconds=192)} for n in range(count)
    ]


def test_a_line_reads_from_time_to_fields() -> None:
    clock = datetime(2026, 1, 2, 12, 34, 56, tzinfo=UTC).astimezone().strftime("%H:%M:%S")
    line = shown(
        "jobs.reset", environment="prod", queue="mail", sweep="a1", reason="stuck", count=2, jobs=jobs(2)
    )
    assert line == (
        f"{clock} info  jobs.reset          prod/mail reason=stuck count=2 "
        "jobs=[id=0 worker=w-0 age=3m12s; id=1 worker=w-1 age=3m12s] sweep=a1"
    )


def test_what_does_not_fit_is_counted() -> None:
    line = shown(
        "jobs.reset", environment="prod", queue="mail", sweep="a1b2c3", count=25, jobs=jobs(20), more=5
    )
    listed = len(re.findall(r"id=\d", line))
    assert 2 <= listed < 20
    assert f" more={25 - listed} " in line
    assert 110 < len(line) <= 160


def test_at_least_one_job_is_shown_however_long() -> None:
    line = shown("jobs.reset", jobs=[{"id": "x" * 200}, {"id": "y"}])
    assert "id=" + "x" * 200 in line
    assert line.endswith("] more=1")


@given(st.integers(1, 20), st.integers(0, 1000), st.integers(1, 8))
def test_a_line_fits_where_one_job_does(count: int, more: int, width: int) -> None:
    sample = [{"id": "9" * width, "worker": "w" * width} for _ in range(count)]
    line = shown(
        "jobs.reset", environment="staging", queue="interviews", sweep="a1b2c3d4", jobs=sample, more=more
    )
    assert len(line) <= 160


def test_without_a_queue_only_the_environment_stands_there() -> None:
    assert " environment.up      prod count=1" in shown("environment.up", environment="prod", count=1)


def test_values_that_are_no_word_are_quoted() -> None:
    line = shown(
        "x", a="two words", b="", c='quo"te', d="a\nb", e=True, f=1.23456, g=["x", "y z"], h={"i": 1}
    )
    assert line.endswith(r'a="two words" b="" c="quo\"te" d="a\nb" e=true f=1.235 g=[x; "y z"] h={i=1}')


def test_a_traceback_follows_indented() -> None:
    line = shown("check.failed", "error", exception="Traceback\n  File\nKeyError: 1")
    assert line.splitlines()[1:] == ["    Traceback", "      File", "    KeyError: 1"]


@pytest.mark.parametrize(
    ("level", "colour"), [("debug", "2"), ("info", "32"), ("warning", "33"), ("error", "31")]
)
def test_colours_tell_levels_and_leave_the_text_alone(level: str, colour: str) -> None:
    fields = {"environment": "prod", "count": 1, "jobs": jobs(3), "sweep": "a"}
    line = shown("jobs.reset", level, coloured=True, **fields)
    assert f"\x1b[{colour}mjobs.reset" in line
    assert re.sub(r"\x1b\[[\d;]*m", "", line) == shown("jobs.reset", level, **fields)


@given(st.text(), st.text(), st.text(min_size=1))
def test_no_value_can_start_a_line_or_reach_the_terminal_raw(event: str, value: str, name: str) -> None:
    line = shown(**redact({"event": event, "jobs": [{name: value}], "f_" + name: value}))
    assert len(line.splitlines()) == 1
    assert "\x1b" not in line


def test_without_a_terminal_there_are_no_colours() -> None:
    stream = io.StringIO()
    configure("info", "console", stream=stream)
    structlog.get_logger().warning("anomaly.raised", kind="no_live_worker")
    assert "warn  anomaly.raised      kind=no_live_worker\n" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0ms"), (0.35, "350ms"), (3.25, "3.2s"), (9.99, "9.9s"), (10, "10s"), (59.9, "59s"),
        (60, "1m00s"),
        (192, "3m12s"), (3600, "1h00m"), (7500, "2h05m"), (86400, "1d0h"), (273600, "3d4h"), (-5, "-5s"),
        (0.9996, "999ms"),
    ],
)  # fmt: skip
def test_durations_are_humanised(seconds: float, text: str) -> None:
    assert humanise(timedelta(seconds=seconds)) == text
    assert value_text(timedelta(seconds=seconds)) == text


def test_times_are_short() -> None:
    assert value_text(datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)) == "2026-01-02T03:04:05+00:00"
