"""The console: one line an event, for a person who watches."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from queuewarden.adapters.logging.stream import write_line
from queuewarden.adapters.logging.text import WIDTH, name_text, pairs, value_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TextIO

_NAMES = {"debug": "debug", "info": "info ", "warning": "warn ", "error": "error", "critical": "crit "}
_COLOURS = {"debug": "2", "info": "32", "warning": "33", "error": "31", "critical": "1;31"}
_DIM, _BOLD = "2", "1"
_EVENT_COLUMNS = 19  # environment.status, the longest name of most lines


class Console:
    """Writes ``12:34:56 info  jobs.reset  prod/mail  reason=stuck count=2 jobs=[…]``, local time."""

    def __init__(self, stream: Callable[[], TextIO], *, coloured: bool) -> None:
        self._stream = stream
        self._coloured = coloured

    def write(self, event: Mapping[str, Any]) -> None:
        """Write one event; a traceback follows on lines of its own, indented."""
        clock = datetime.fromisoformat(event["timestamp"]).astimezone().strftime("%H:%M:%S")
        level = str(event["level"])
        name = name_text(event["event"]).ljust(_EVENT_COLUMNS)
        where = "/".join(value_text(event[part]) for part in ("environment", "queue") if part in event)
        head = [(_DIM, clock), (_COLOURS[level], _NAMES[level]), (_COLOURS[level], name), (_BOLD, where)]
        room = WIDTH - sum(len(text) + 1 for _, text in head)
        fields = pairs(event, room, leave_out=("environment", "queue"))
        line = [self._paint(colour, text) for colour, text in head if text]
        line += [self._paint(_DIM, f"{field}=") + text for field, text in fields]
        trace = [self._paint(_DIM, f"    {row}") for row in str(event.get("exception", "")).splitlines()]
        write_line(self._stream(), "\n".join([" ".join(line).rstrip(), *trace]))

    def close(self) -> None:
        """Nothing to give back: the stream is not ours."""

    def _paint(self, colour: str, text: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._coloured else text
