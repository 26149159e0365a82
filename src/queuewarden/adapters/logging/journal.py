"""The journal: native fields, for ``journalctl -p warning`` and ``journalctl QW_ENVIRONMENT=prod``."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from logging_journald import JournaldTransport

from queuewarden.adapters.logging.jsonlines import dumps
from queuewarden.adapters.logging.stream import is_journal, write_line
from queuewarden.adapters.logging.text import WIDTH, name_text, pairs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TextIO

_PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
_NOT_ALLOWED = re.compile("[^A-Z0-9_]")
_NAME_LENGTH = 64  # what journald accepts
_RECORDED_BY_JOURNALD = frozenset({"timestamp", "level"})  # as its own time and as PRIORITY


class Journal:
    """Sends each event as one datagram; where journald does not take it, as lines to the stream."""

    def __init__(self, stream: Callable[[], TextIO]) -> None:
        self._stream = stream
        # Addressed anew for each event, so that a restarted journald is found again by itself.
        self._transport = JournaldTransport(connected=False)
        self._transport.socket.settimeout(0)  # a stopped journald must not stop the daemon

    def write(self, event: Mapping[str, Any]) -> None:
        """Send one event; never raises."""
        message, priority = _message(event), _PRIORITIES[str(event["level"])]
        fields = {"MESSAGE": message, "PRIORITY": str(priority), "SYSLOG_IDENTIFIER": "queuewarden"}
        for name, value in event.items():
            if name not in _RECORDED_BY_JOURNALD:
                fields.setdefault(
                    _field_name(name), value if isinstance(value, str) else dumps(value).strip('"')
                )
        try:
            self._transport.send(fields.items())
        except OSError:
            self._write_to_stream(message, priority)

    def close(self) -> None:
        """Close the socket."""
        self._transport.socket.close()

    def _write_to_stream(self, message: str, priority: int) -> None:
        stream = self._stream()
        # On a stream that systemd reads, the prefix of each line is its priority.
        prefix = f"<{priority}>" if is_journal(stream, os.environ) else ""
        write_line(stream, "\n".join(prefix + line for line in message.split("\n")))


def _message(event: Mapping[str, Any]) -> str:
    name = name_text(event["event"])
    ordered = {key: event[key] for key in ("environment", "queue") if key in event} | dict(event)
    line = " ".join([name, *(f"{field}={text}" for field, text in pairs(ordered, WIDTH - len(name)))])
    return "\n".join([line, *(f"    {row}" for row in str(event.get("exception", "")).splitlines())])


def _field_name(name: str) -> str:
    return ("QW_" + _NOT_ALLOWED.sub("_", name.upper()))[:_NAME_LENGTH]
