"""`queuewarden run` as a real process, its log, and the socket on which systemd would listen."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

from eventually import eventually

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


QUEUE = {
    "QUEUE__MAIL__JOBS__TABLE": "jobs",
    "QUEUE__MAIL__JOBS__ID": "id",
    "QUEUE__MAIL__JOBS__STATUS": "status",
    "QUEUE__MAIL__JOBS__WORKER": "worker",
    "QUEUE__MAIL__JOBS__STARTED_AT": "started_at",
    "QUEUE__MAIL__STATES__WAITING": "waiting",
    "QUEUE__MAIL__STATES__RUNNING": "running",
    "QUEUE__MAIL__STATES__FAILED": "failed",
    "QUEUE__MAIL__WORKERS__TABLE": "workers",
    "QUEUE__MAIL__WORKERS__ID": "id",
    "QUEUE__MAIL__WORKERS__HEARTBEAT": "heartbeat",
    "QUEUE__MAIL__WORKERS__STATUS": "status",
    "QUEUE__MAIL__WORKERS__OFFLINE_VALUE": "offline",
    "LOG_FORMAT": "json",
    "INTERVAL": "1s",
    "STATUS_EVERY": "1s",
    # The servers have only just started, and the grace after that lasts as long.
    "DEAD_AFTER": "1s",
    # On a busy machine a server may take a second or two for anything: no outage, unless one is the subject.
    "STATEMENT_TIMEOUT": "5s",
    "CONNECT_TIMEOUT": "4s",
}


class Daemon:
    """`queuewarden run` as a process; what it logs, line by line."""

    def __init__(
        self,
        settings: Mapping[str, str],
        *arguments: str,
        program: tuple[str, ...] = ("-m", "queuewarden"),
        **environ: str,
    ) -> None:
        prefixed = {f"QUEUEWARDEN_{name}": value for name, value in settings.items()}
        self.process = subprocess.Popen(
            [sys.executable, *program, "run", *arguments],
            env={**os.environ, **prefixed, **environ},
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.lines.extend(self.process.stderr)

    def events(self, event: str, **fields: Any) -> list[dict[str, Any]]:
        """The log lines of an event with these fields."""
        found = [json.loads(line) for line in list(self.lines) if line.startswith("{")]
        wanted = {"event": event} | fields
        return [one for one in found if all(one.get(name) == value for name, value in wanted.items())]

    def wait_for(self, event: str, *, count: int = 1, seconds: float = 20, **fields: Any) -> dict[str, Any]:
        """The newest line of an event, once there are so many."""
        what = f"{count} {event} {fields}"

        def enough() -> list[dict[str, Any]] | None:
            ended = self.process.poll() is not None
            if ended:
                self._reader.join(5)
            found = self.events(event, **fields)
            if len(found) >= count:
                return found
            assert not ended, "".join(self.lines)
            return None

        return eventually(
            enough,
            seconds=seconds,
            what=what,
        )[-1]

    def end(self, number: int = signal.SIGTERM, seconds: float = 20) -> int:
        """Send a signal; the exit code, which comes in time: how soon is what `test_stop` is about."""
        self.process.send_signal(number)
        code = self.process.wait(seconds)
        self._reader.join(5)
        return code

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._reader.join(5)
        assert self.process.stderr is not None
        self.process.stderr.close()


class Systemd:
    """A socket such as systemd listens on; what it was told."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self.environ = {"NOTIFY_SOCKET": str(path)}
        self.told: list[str] = []
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()

    def _listen(self) -> None:
        while data := self._socket.recv(65_536):
            self.told.append(data.decode())

    def count(self, start: str) -> int:
        return sum(line.startswith(start) for one in list(self.told) for line in one.splitlines())

    def close(self, path: str) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            other.sendto(b"", path)
        self._listener.join(5)
        self._socket.close()
