"""What a daemon tells systemd, and what systemd tells it. Harmless where there is no systemd."""

from __future__ import annotations

import contextlib
import os
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdnotify import SystemdNotifier

from queuewarden.redact import redact

if TYPE_CHECKING:
    from collections.abc import Mapping


class Notifier:
    """Sends notifications to the socket of ``NOTIFY_SOCKET``; never waits, never raises.

    Each method says whether systemd took the message: False also where there is no systemd.
    """

    def __init__(self) -> None:
        self._notifier: Any = None  # a SystemdNotifier, which has no types
        if self._has_socket():
            with contextlib.suppress(OSError):  # nobody listens there
                self._notifier = SystemdNotifier(debug=True)
                self._notifier.socket.settimeout(0)

    def ready(self) -> bool:
        """Tell that the daemon is up, or that a reload is done."""
        return self._send("READY=1")

    def status(self, text: str) -> bool:
        """Show one line in ``systemctl status``."""
        line = " ".join(redact(text).split())  # a line break would begin another assignment
        return self._send(f"STATUS={line}")

    def watchdog(self) -> bool:
        """Tell the watchdog that all is well."""
        return self._send("WATCHDOG=1")

    def stopping(self) -> bool:
        """Tell that the daemon is going down."""
        return self._send("STOPPING=1")

    def reloading(self) -> bool:
        """Tell that the configuration is being read anew; `ready` ends it."""
        return self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def close(self) -> None:
        """Close the socket; later messages are dropped."""
        if self._notifier is not None:
            self._notifier.socket.close()
            self._notifier = None

    @staticmethod
    def _has_socket() -> bool:
        address = os.environ.get("NOTIFY_SOCKET", "")
        return address.startswith("@") or (address.startswith("/") and Path(address).is_socket())

    def _send(self, state: str) -> bool:
        if self._notifier is None:
            return False
        try:
            # sdnotify encodes as Latin-1; systemd reads UTF-8, so its bytes go through disguised.
            self._notifier.notify(state.encode().decode("latin-1"))
        except OSError:  # systemd is busy or being replaced
            return False
        return True


def watchdog_interval(environ: Mapping[str, str] = os.environ) -> timedelta | None:
    """Within which time systemd wants to hear from this process; None where it does not watch it."""
    try:
        microseconds = int(environ.get("WATCHDOG_USEC", "0"))
        watched = int(environ.get("WATCHDOG_PID", os.getpid()))
    except ValueError:
        return None
    return timedelta(microseconds=microseconds) if microseconds > 0 and watched == os.getpid() else None


def credentials_directory(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Where systemd put the unit's credentials, if it has any."""
    directory = environ.get("CREDENTIALS_DIRECTORY")
    return Path(directory) if directory else None
