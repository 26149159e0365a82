"""The daemons of the campaign, each with its own way to the server.

``alpha`` names both places of the server, each behind a link. ``beta`` goes through a pooler in transaction
mode, where the machine has one, and a link behind that. ``gamma``, there for a while only, connects directly.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import poolers
from daemons import Daemon
from faults.link import Link
from faults.schema import SETTINGS

if TYPE_CHECKING:
    from faults.cluster import Cluster

BASE = ("alpha", "beta")
THIRD = "gamma"

# A pooler that waits for fifteen seconds after a failed login would be all that is measured.
_POOLER = {"server_login_retry": "0.2", "server_connect_timeout": "2", "ignore_startup_parameters": "options"}


class Guards:
    """Which daemons run, and the links by which they do.

    Attributes:
        lacking: why there is no pooler; None where there is.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._stack = contextlib.ExitStack()
        self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="qw-guards-")))
        self.lacking = None if poolers.program() else poolers.ABSENT
        self.links = {
            "alpha": Link(cluster.place(0), cluster.place(1)),
            "beta": Link(lambda: cluster.home),
        }
        for link in self.links.values():
            self._stack.callback(link.close)
        ports = self.links["alpha"].ports
        self._dsns = {
            "alpha": cluster.connection_string(
                host="127.0.0.1,127.0.0.1", port=",".join(map(str, ports)), target_session_attrs="read-write"
            ),
            "beta": self._pooled(cluster),
            THIRD: cluster.dsn,
        }
        self.running: dict[str, Daemon] = {}
        self._said: list[str] = []

    def _pooled(self, cluster: Cluster) -> str:
        (port,) = self.links["beta"].ports
        if self.lacking:
            return cluster.connection_string(host="127.0.0.1", port=port)
        pooler = poolers.pooler("127.0.0.1", port, "postgres", size=4, **_POOLER)
        return f"{self._stack.enter_context(pooler)} dbname=postgres"

    def start(self, name: str) -> None:
        """Start one, under an environment of its own name, so that its connections and changes tell it."""
        self.running[name] = Daemon(
            SETTINGS | {f"ENV__{name}__DSN": self._dsns[name], "STATUS_FILE": str(self.status_file(name))}
        )

    def complete(self) -> None:
        """Exactly those run that always do."""
        for name, daemon in list(self.running.items()):
            if daemon.process.poll() is not None:
                self._bury(name)
        for name in set(self.running) - set(BASE):
            self.stop(name)
        for name in BASE:
            if name not in self.running:
                self.start(name)

    def kill(self, name: str) -> None:
        """Kill -9."""
        self.running[name].process.kill()
        self._bury(name)

    def stop(self, name: str) -> int:
        """Stop it as its supervisor does; its exit code."""
        daemon = self.running.pop(name)
        code = daemon.end()
        self._said += daemon.lines
        daemon.close()
        return code

    def is_up(self, name: str, since: float) -> bool:
        """Whether it has said, later than a moment, that it guards its database."""
        path = self.status_file(name)
        try:
            if path.stat().st_mtime < since:
                return False
            document = json.loads(path.read_text())
        except (FileNotFoundError, ValueError):
            return False
        of_this_process = document["pid"] == self.running[name].process.pid
        return of_this_process and document["environments"][name]["state"] == "up"

    def said(self) -> list[str]:
        """All that the daemons have said, those first that have ended."""
        return self._said + [line for daemon in self.running.values() for line in daemon.lines]

    def status_file(self, name: str) -> Path:
        return self._folder / f"{name}.json"

    def close(self) -> None:
        for name in list(self.running):
            self.running[name].process.kill()
            self._bury(name)
        self._stack.close()

    def _bury(self, name: str) -> None:
        daemon = self.running.pop(name)
        daemon.close()
        self._said += daemon.lines
