"""One pipe for every line of the process: structlog's events, the standard library's records and warnings."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from typing import TYPE_CHECKING, Literal, Protocol

import structlog

from queuewarden.adapters.logging.console import Console
from queuewarden.adapters.logging.jsonlines import JsonLines
from queuewarden.adapters.logging.stream import is_journal, is_terminal
from queuewarden.redact import LIMIT, redact

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, TextIO

    from structlog.typing import EventDict, WrappedLogger

Format = Literal["auto", "console", "json", "journal"]

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
}
_ALIASES = {"warn": "warning", "exception": "error", "fatal": "critical"}
_FRAMES = 10  # innermost frames of a traceback
_LONGEST_ITEM = 200  # characters of a text in a list of rows: twenty of them still make a line


class Sink(Protocol):
    """Where redacted events go. Writing never raises."""

    def write(self, event: Mapping[str, Any]) -> None:
        """Write one event."""

    def close(self) -> None:
        """Give back what the sink holds."""


class _Pipe(logging.Handler):
    """The two ends: records of the standard library come in, redacted events go out to the sink."""

    def __init__(self, sink: Sink, threshold: int) -> None:
        super().__init__()
        self.sink = sink
        self.threshold = threshold

    def emit(self, record: logging.LogRecord) -> None:
        """Turn a library's record into an event."""
        try:
            message = record.getMessage()
        except (TypeError, ValueError, KeyError):  # its arguments do not fit its text
            message = str(record.msg)
        is_warning = record.name == "py.warnings"
        level = min(max(record.levelno // 10 * 10, logging.DEBUG), logging.CRITICAL)
        structlog.get_logger().log(
            level,
            "library.warning" if is_warning else "library.message",
            logger=None if is_warning else record.name,
            message=message.partition("\n")[0] if is_warning else message,
            exc_info=record.exc_info,
        )

    def admit(self, _logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        """Drop what is below the threshold, which a reload may change under loggers that exist already."""
        level = _ALIASES.get(method, method)
        if _LEVELS[level] < self.threshold:
            raise structlog.DropEvent
        event["level"] = level
        return event

    def deliver(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        """Hand the event to the sink: the end of the chain."""
        self.sink.write(event)
        raise structlog.DropEvent


_pipe: _Pipe | None = None


def configure(level: str, format: Format, *, stream: TextIO | None = None) -> None:  # noqa: A002 -- LOG_FORMAT's own name
    """Set up logging of the whole process; may be called again.

    Args:
        level: the least level that is written: debug, info, warning, error or critical.
        format: ``auto`` is the console on a terminal, the journal where systemd connected the stream to it,
            else JSON lines.
        stream: where lines go; the standard error of the moment if None.

    Raises:
        ValueError: no such level or format.

    """
    global _pipe  # noqa: PLW0603 -- logging is the process's own, and so is its state
    threshold = _number(level)
    sink = _sink(format, stream)
    if _pipe is not None:
        _pipe.sink.close()
    _pipe = pipe = _Pipe(sink, threshold)
    structlog.configure(
        processors=[
            pipe.admit,
            structlog.contextvars.merge_contextvars,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _with_exception,
            _without_absent,
            _redacted,
            pipe.deliver,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.NOTSET),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers[:] = [pipe]
    # What psycopg warns of on its way out of a broken connection, we meet as the error itself.
    logging.getLogger("psycopg").setLevel(logging.ERROR)
    root.setLevel(threshold)
    logging.captureWarnings(capture=True)


def set_level(level: str) -> None:
    """Change the least level that is written, for loggers that exist already, too.

    Raises:
        ValueError: no such level.
        RuntimeError: called before `configure`.

    """
    threshold = _number(level)
    if _pipe is None:
        raise RuntimeError("logging is not configured; call configure() first")
    _pipe.threshold = threshold
    logging.getLogger().setLevel(threshold)


def _number(level: str) -> int:
    try:
        return _LEVELS[level.lower()]
    except KeyError:
        raise ValueError(f"no log level {level!r}; there are {', '.join(_LEVELS)}") from None


def _sink(format: Format, stream: TextIO | None) -> Sink:  # noqa: A002 -- as above
    def current() -> TextIO:
        return stream or sys.stderr

    if format == "auto":
        if is_terminal(current()):
            format = "console"  # noqa: A001 -- as above
        else:
            format = "journal" if is_journal(current(), os.environ) else "json"  # noqa: A001 -- as above
    if format == "console":
        plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        return Console(current, coloured=is_terminal(current()) and not plain)
    if format == "journal":
        from queuewarden.adapters.logging.journal import Journal

        return Journal(current)
    if format == "json":
        return JsonLines(current)
    raise ValueError(f"no log format {format!r}; there are auto, console, json, journal")


def _with_exception(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Turn ``exc_info`` into the fields ``error`` and ``exception`` (the traceback's innermost frames)."""
    found = event.pop("exc_info", None)
    if found is True:
        found = sys.exc_info()
    error = found[1] if isinstance(found, tuple) else found
    if isinstance(error, BaseException):
        event.setdefault("error", f"{type(error).__name__}: {error}")
        event["exception"] = "".join(traceback.format_exception(error, limit=-_FRAMES)).rstrip()
    return event


def _without_absent(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Leave out what is unknown: a field is there or it is not."""
    return {name: value for name, value in event.items() if value is not None}


def _redacted(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    redacted: EventDict = {}
    for name, value in event.items():
        redacted |= redact({name: value}, limit=_LONGEST_ITEM if isinstance(value, list) else LIMIT)
    return redacted
