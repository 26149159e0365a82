"""The processes of the campaign's application, and who is sent when one of them has died."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    import signal

SIZE = 4
_TESTS = Path(__file__).parents[1]


class Process:
    """One process of the application, which ends with our end of its standard input."""

    def __init__(self, module: str, *arguments: str) -> None:
        # Out of the reach of coverage: it is the application's, not the product's.
        environ = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
        self.popen = subprocess.Popen(
            [sys.executable, "-m", f"faults.{module}", *arguments],
            stdin=subprocess.PIPE,
            bufsize=0,
            env=environ | {"PYTHONPATH": str(_TESTS)},
        )

    @property
    def pid(self) -> int:
        return self.popen.pid

    def signal(self, number: signal.Signals) -> None:
        self.popen.send_signal(number)

    def order(self, line: str) -> None:
        assert self.popen.stdin is not None
        self.popen.stdin.write(f"{line}\n".encode())

    def is_running(self) -> bool:
        return self.popen.poll() is None

    def kill(self) -> None:
        """Kill it, stopped or not, and bury it."""
        self.popen.kill()
        self.popen.wait()
        if self.popen.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self.popen.stdin.close()


class Crew:
    """Workers, each under a name that no other has had, and the two of the desk."""

    def __init__(self, dsn: str, diary: Path) -> None:
        self._dsn, self._diary = dsn, str(diary)
        self._hired = 0
        self.workers: list[Process] = []
        self.desks = [Process("desk", dsn, role, self._diary, role) for role in ("enqueue", "lanes")]
        self.complete()

    def complete(self) -> None:
        """Replace who has died."""
        for worker in self.workers:
            if not worker.is_running():
                worker.kill()
        self.workers = [worker for worker in self.workers if worker.is_running()]
        while len(self.workers) < SIZE:
            self._hired += 1
            life = "resume" if self._hired % 2 else "anew"
            self.workers.append(Process("worker", self._dsn, f"w{self._hired}", self._diary, life))

    def some(self, chance: random.Random, count: int = 1) -> list[Process]:
        """Some of the workers that live."""
        return chance.sample([worker for worker in self.workers if worker.is_running()], count)

    def pids(self) -> list[int]:
        """Of the workers that live."""
        return [worker.pid for worker in self.workers if worker.is_running()]

    def missing(self) -> int:
        """How many processes are not there that ought to be."""
        return SIZE - len(self.pids()) + sum(not desk.is_running() for desk in self.desks)

    def close(self) -> None:
        for process in (*self.workers, *self.desks):
            process.kill()
