"""JSON lines: one object an event, for whatever collects the output of the process."""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from queuewarden.adapters.logging.stream import write_line

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TextIO

_FIRST = ("timestamp", "level", "event", "environment", "queue", "sweep")


def dumps(value: Any, *, ascii_only: bool = False) -> str:
    """Compact JSON: durations in seconds, times in ISO 8601 (UTC if they have a zone), the rest as text."""
    try:
        return json.dumps(
            value, default=_plain, ensure_ascii=ascii_only, allow_nan=False, separators=(",", ":")
        )
    except ValueError:  # JSON has no word for NaN and infinity
        return dumps(_finite(value), ascii_only=ascii_only)


class JsonLines:
    """Writes each event as one line; plain ASCII, so that no pipe's encoding can break it."""

    def __init__(self, stream: Callable[[], TextIO]) -> None:
        self._stream = stream

    def write(self, event: Mapping[str, Any]) -> None:
        """Write one event, the fields that every line has coming first."""
        ordered = {name: event[name] for name in _FIRST if name in event} | dict(event)
        write_line(self._stream(), dumps(ordered, ascii_only=True))

    def close(self) -> None:
        """Nothing to give back: the stream is not ours."""


def _plain(value: Any) -> Any:
    if isinstance(value, timedelta):
        return round(value.total_seconds(), 3)
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return value.isoformat() if isinstance(value, (date, time)) else str(value)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list) else value
