"""One pipe for all lines: which output is chosen, what passes, and what passes redacted."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import pty
import subprocess
import sys
import warnings
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from queuewarden.adapters.logging import configure, set_level, setup
from queuewarden.adapters.logging.jsonlines import JsonLines

import structlog  # isort: skip -- the package above decides how it is loaded


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def refuse() -> None:
    raise ConnectionError("postgresql://u:hunter2@10.1.2.3/db")


def test_a_json_line_has_what_the_caller_bound_and_when() -> None:
    stream = io.StringIO()
    configure("info", "json", stream=stream)
    structlog.contextvars.bind_contextvars(environment="prod", queue="mail", sweep="a1")
    before = datetime.now(UTC)
    structlog.get_logger().info("jobs.reset", count=2, age=timedelta(minutes=3), worker=None)
    (line,) = lines(stream)
    assert before <= datetime.fromisoformat(line.pop("timestamp")) <= datetime.now(UTC)
    assert line == {
        "level": "info", "event": "jobs.reset", "environment": "prod", "queue": "mail", "sweep": "a1",
        "count": 2, "age": 180.0,
    }  # fmt: skip


def test_the_timestamp_is_utc_iso_8601() -> None:
    stream = io.StringIO()
    configure("info", "json", stream=stream)
    structlog.get_logger().info("x")
    assert lines(stream)[0]["timestamp"].endswith("Z")


def test_s2_14_nothing_passes_unredacted() -> None:
    stream = io.StringIO()
    configure("info", "json", stream=stream)
    structlog.contextvars.bind_contextvars(owner="jane@example.com")
    log = structlog.get_logger().bind(apiKey="hunter2")
    try:
        refuse()
    except ConnectionError:
        log.exception(
            "environment.down", jobs=[{"label": "\x1b[31m hunter\u202e", "details": {"dsn": "hunter2"}}]
        )
    logging.getLogger("library").warning("password=%s", "hunter2")
    text = stream.getvalue()
    assert len(text.splitlines()) == 2
    for secret in ("hunter2", "jane", "10.1.2.3", "\x1b", "\\u001b", "\u202e", "\\u202e "):
        assert secret not in text
    assert lines(stream)[0]["error"] == "ConnectionError: postgresql://u:***@[ip]/db"


def test_an_exception_keeps_its_innermost_frames_and_its_name() -> None:
    def deep(depth: int) -> None:
        if depth == 0:
            raise KeyError("x")
        deep(depth - 1)

    stream = io.StringIO()
    configure("info", "json", stream=stream)
    try:
        deep(200)
    except KeyError as error:
        structlog.get_logger().error("check.failed", exc_info=error)
    (line,) = lines(stream)
    assert line["error"] == "KeyError: 'x'"
    assert line["exception"].endswith("KeyError: 'x'")
    assert len(line["exception"]) < 2500


def test_the_standard_library_goes_through_the_same_pipe() -> None:
    stream = io.StringIO()
    configure("info", "json", stream=stream)
    logging.getLogger("library.pool").warning("lost %s", "it")
    logging.getLogger("library.pool").info("%d", "not a number")
    logging.getLogger("odd").log(35, "between")
    logging.getLogger("library").debug("no")
    shown = [(line["level"], line["event"], line["logger"], line["message"]) for line in lines(stream)]
    assert shown == [
        ("warning", "library.message", "library.pool", "lost it"),
        ("info", "library.message", "library.pool", "%d"),
        ("warning", "library.message", "odd", "between"),
    ]


def test_warnings_go_through_the_same_pipe() -> None:
    stream = io.StringIO()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        configure("info", "json", stream=stream)
        warnings.warn("old spelling", DeprecationWarning, stacklevel=1)
        logging.captureWarnings(capture=False)
    (line,) = lines(stream)
    assert (line["event"], line["level"]) == ("library.warning", "warning")
    assert line["message"].endswith("DeprecationWarning: old spelling")


def test_stderr_has_json_lines_and_nothing_else() -> None:
    program = """
import logging, warnings
from queuewarden.adapters.logging import configure
import structlog
configure("info", "auto")
structlog.get_logger().info("daemon.started")
logging.getLogger("library").error("boo")
warnings.warn("old", FutureWarning)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert [json.loads(line)["event"] for line in done.stderr.splitlines()] == [
        "daemon.started",
        "library.message",
        "library.warning",
    ]
    assert done.stdout == ""


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error", "critical"])
def test_the_level_filters_our_own_and_others(level: str) -> None:
    stream = io.StringIO()
    configure(level, "json", stream=stream)
    names = ["debug", "info", "warning", "error", "critical"]
    for name in names:
        getattr(structlog.get_logger(), name)("ours")
        getattr(logging.getLogger("library"), name)("theirs")
    expected = [name for name in names[names.index(level) :] for _ in range(2)]
    assert [line["level"] for line in lines(stream)] == expected


def test_a_reload_changes_the_level_of_loggers_that_exist() -> None:
    stream = io.StringIO()
    configure("warning", "json", stream=stream)
    log, library = structlog.get_logger().bind(environment="prod"), logging.getLogger("library")
    log.info("before")
    set_level("debug")
    log.debug("after")
    library.debug("after")
    set_level("error")
    log.warning("later")
    library.warning("later")
    assert [line["event"] for line in lines(stream)] == ["after", "library.message"]


def test_configuring_again_replaces_the_output() -> None:
    first, second = io.StringIO(), io.StringIO()
    configure("info", "json", stream=first)
    log = structlog.get_logger()
    configure("info", "console", stream=second)
    log.info("moved")
    logging.getLogger("library").warning("moved, too")
    assert first.getvalue() == ""
    assert len(second.getvalue().splitlines()) == 2


def test_context_stays_in_its_task() -> None:
    stream = io.StringIO()
    configure("info", "json", stream=stream)

    async def sweep(environment: str) -> None:
        structlog.contextvars.bind_contextvars(environment=environment)
        await asyncio.sleep(0)
        structlog.get_logger().info("environment.up")

    async def both() -> None:
        await asyncio.gather(sweep("dev"), sweep("prod"))

    asyncio.run(both())
    assert [line["environment"] for line in lines(stream)] == ["dev", "prod"]


def test_a_wrong_level_or_format_changes_nothing() -> None:
    stream = io.StringIO()
    configure("info", "json", stream=stream)
    with pytest.raises(ValueError, match="no log level 'loud'; there are debug, info"):
        configure("loud", "json")
    with pytest.raises(ValueError, match="no log format 'xml'; there are auto, console"):
        configure("info", "xml")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no log level"):
        set_level("loud")
    structlog.get_logger().info("still")
    assert lines(stream)[0]["event"] == "still"


def test_the_level_cannot_be_set_before_logging_is() -> None:
    with pytest.raises(RuntimeError, match="call configure"):
        set_level("info")


def test_a_closed_or_broken_stream_never_raises() -> None:
    closed = io.StringIO()
    configure("info", "auto", stream=closed)
    closed.close()
    structlog.get_logger().info("nobody hears")
    reader, writer = os.pipe()
    os.close(reader)
    broken = os.fdopen(writer, "w", encoding="utf-8")
    configure("info", "auto", stream=broken)
    structlog.get_logger().info("nobody hears")
    with pytest.raises(BrokenPipeError):
        broken.close()


def test_an_encoding_that_lacks_a_letter_never_raises() -> None:
    raw = io.BytesIO()
    configure("info", "console", stream=io.TextIOWrapper(raw, encoding="latin-1", write_through=True))
    structlog.get_logger().info("jobs.reset", label="日本")
    assert rb"label=\u65e5\u672c" in raw.getvalue()


def test_numbers_that_json_lacks_are_texts() -> None:
    stream = io.StringIO()
    configure("info", "json", stream=stream)
    structlog.get_logger().info("x", values=[float("nan"), {"a": float("inf")}, 1.5])
    assert lines(stream)[0]["values"] == ["nan", {"a": "inf"}, 1.5]


def test_times_are_utc_where_they_have_a_zone() -> None:
    stream = io.StringIO()
    configure("info", "json", stream=stream)
    zone = timezone(timedelta(hours=2))
    moments = [
        datetime(2026, 1, 2, 3, tzinfo=zone),
        datetime.fromisoformat("2026-01-02 03:00"),
        date(2026, 1, 2),
        Decimal("1.50"),
    ]
    structlog.get_logger().info("x", moments=moments)
    assert lines(stream)[0]["moments"] == [
        "2026-01-02T01:00:00Z",
        "2026-01-02T03:00:00",
        "2026-01-02",
        "1.50",
    ]


def test_a_stream_closed_beforehand_is_no_terminal() -> None:
    closed = io.StringIO()
    closed.close()
    configure("info", "auto", stream=closed)
    structlog.get_logger().info("nobody hears")
    assert setup._pipe is not None
    assert isinstance(setup._pipe.sink, JsonLines)


def on_terminal(**environ: str) -> str:
    """What the format ``auto`` writes to a terminal."""
    program = (
        "from queuewarden.adapters.logging import configure; import structlog;"
        "configure('info', 'auto'); structlog.get_logger().info('environment.up', count=1)"
    )
    ours, theirs = pty.openpty()
    try:
        subprocess.run(
            [sys.executable, "-c", program],
            stderr=theirs,
            check=True,
            env={**os.environ, **environ},
            timeout=60,
        )
        return os.read(ours, 65536).decode()
    finally:
        os.close(ours)
        os.close(theirs)


def test_auto_on_a_terminal_is_the_coloured_console() -> None:
    shown = on_terminal(TERM="xterm")
    assert "\x1b[32menvironment.up" in shown
    assert not shown.startswith("{")


@pytest.mark.parametrize("environ", [{"NO_COLOR": "1", "TERM": "xterm"}, {"TERM": "dumb"}])
def test_colours_can_be_declined(environ: dict[str, str]) -> None:
    shown = on_terminal(**environ)
    assert "environment.up      count=1" in shown
    assert "\x1b" not in shown


def test_loading_the_log_does_not_load_rich() -> None:
    program = "import sys, queuewarden.adapters.logging as _; sys.exit('rich.console' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
    program = "import queuewarden.adapters.logging as _; import rich.table"
    subprocess.run([sys.executable, "-c", program], check=True)
