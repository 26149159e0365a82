"""The fleet of the demo: workers as real processes, faults one at a time, work at a steady pace."""

from __future__ import annotations

import contextlib
import itertools
import string
import subprocess
import sys
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Any, Final

from queuewarden.application.demo.worker import FAULTS, Fault

if TYPE_CHECKING:
    import random

    from psycopg import Connection

SIZE: Final = 6
JOBS_A_SECOND: Final = 2.0
MOST_WAITING: Final = 40
HANG_SECONDS: Final = 14.0
FIRST_FAULT_SECONDS: Final = 3.0
PAUSE_SECONDS: Final = (3.0, 7.0)
TIDY_SECONDS: Final = 10.0
ARTIFACTS: Final = ("index", "acte", "plan_cadastral")

_HERE: Final = "queuewarden.application.demo"


@dataclass
class Faults:
    """When which fault is due: each kind once a round, in an order by chance, never two at a time."""

    chance: random.Random
    due: float
    _round: list[Fault] = field(default_factory=list)

    def next(self, now: float) -> Fault | None:
        """The fault that is due, if one is."""
        if now < self.due:
            return None
        if not self._round:
            self._round = self.chance.sample(FAULTS, len(FAULTS))
        self.due = inf
        return self._round.pop()

    def settled(self, now: float) -> None:
        """The last one is over: the next follows after a pause."""
        self.due = now + self.chance.uniform(*PAUSE_SECONDS)


class Fleet:
    """Six workers, the desk of the interviews and its scrambler; whoever dies is replaced by another.

    ``tick`` is to be called several times a second. Times are seconds of any monotonic clock.
    """

    def __init__(
        self, connection: Connection[Any], dsn: str, chance: random.Random, process_group: int = 0
    ) -> None:
        """Describe the fleet; ``start`` starts it.

        Args:
            connection: in autocommit; the fleet's own, for making jobs and tidying up.
            dsn: where its processes connect.
            chance: decides on faults and jobs.
            process_group: group that its processes join; 0: each one its own.

        """
        self._connection = connection
        self._dsn = dsn
        self._chance = chance
        self._group = process_group
        self._names = (f"worker-{a}{b}" for a, b in itertools.product(string.ascii_lowercase, repeat=2))
        self._faults = Faults(chance, due=inf)
        self._afflicted: tuple[str, Fault, float] | None = None
        self._made = self._tidied = 0.0
        self.members: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def workers(self) -> dict[str, subprocess.Popen[bytes]]:
        """The workers by name; the desk and the scrambler are members, too, but no workers."""
        return {name: process for name, process in self.members.items() if name.startswith("worker-")}

    def start(self, now: float) -> None:
        """Start all processes."""
        self._made = self._tidied = now
        self._faults.due = now + FIRST_FAULT_SECONDS
        for _ in range(SIZE):
            self._enlist(next(self._names))
        for role in ("desk", "scrambler"):
            self._enlist(role)

    def tick(self, now: float) -> None:
        """Replace who died, let a fault happen that is due, make jobs, and drop what is long done."""
        self._replace()
        self._afflict(now)
        self._make_jobs(now)
        if now - self._tidied >= TIDY_SECONDS:
            self._tidied = now
            self._tidy()

    def stop(self) -> None:
        """End all processes, and wait for their end."""
        for process in self.members.values():
            process.kill()
        for process in self.members.values():
            _reap(process)
        self.members.clear()

    def _enlist(self, name: str) -> None:
        module, arguments = "worker", [self._dsn, name]
        if not name.startswith("worker-"):
            module, arguments = "interviews", [self._dsn, name, str(self._chance.random())]
        self.members[name] = subprocess.Popen(  # noqa: S603 -- a module of our own
            [sys.executable, "-m", f"{_HERE}.{module}", *arguments],
            stdin=subprocess.PIPE,
            bufsize=0,
            process_group=self._group,
        )

    def _replace(self) -> None:
        for name, process in list(self.members.items()):
            if process.poll() is not None:
                _reap(self.members.pop(name))
                self._enlist(next(self._names) if name.startswith("worker-") else name)

    def _afflict(self, now: float) -> None:
        if self._afflicted is None:
            if fault := self._faults.next(now):
                name = self._chance.choice(sorted(self.workers))
                _order(self.members[name], fault)
                self._afflicted = name, fault, now
            return
        name, fault, since = self._afflicted
        is_over = name not in self.members
        if not is_over and now - since >= HANG_SECONDS:
            is_over = True
            if fault != "stall":
                self.members[name].kill()
        if is_over:
            self._afflicted = None
            self._faults.settled(now)

    def _make_jobs(self, now: float) -> None:
        due = int((now - self._made) * JOBS_A_SECOND)
        if due == 0:
            return
        self._made += due / JOBS_A_SECOND
        for _ in range(min(due, MOST_WAITING)):
            self._connection.execute(
                "INSERT INTO extraction_queue (index_number, document_number, artifact_type)"
                " SELECT %s, %s, %s WHERE (SELECT count(*) FROM extraction_queue WHERE status_id = 1) < %s",
                [
                    str(self._chance.randrange(10_000, 100_000)),
                    str(self._chance.randrange(10_000, 100_000)),
                    self._chance.choice(ARTIFACTS),
                    MOST_WAITING,
                ],
            )

    def _tidy(self) -> None:
        """What every application does somewhere: the guard deletes nothing."""
        self._connection.execute(
            "DELETE FROM extraction_queue WHERE status_id IN (3, 4) AND updated_at < now() - interval '2 min'"
        )
        self._connection.execute(
            "DELETE FROM interviews WHERE status = 'completed' AND completed_at < now() - interval '2 min'"
        )
        self._connection.execute(
            "DELETE FROM worker_status AS w WHERE status = 'offline'"
            " AND last_heartbeat < now() - interval '1 min' AND NOT EXISTS"
            " (SELECT FROM extraction_queue AS q WHERE q.worker_id = w.worker_id AND q.status_id = 2)"
        )


def _order(process: subprocess.Popen[bytes], fault: Fault) -> None:
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError):  # it has just died by itself: its successor takes over
            process.stdin.write(f"{fault}\n".encode())


def _reap(process: subprocess.Popen[bytes]) -> None:
    process.wait()
    if process.stdin is not None:
        process.stdin.close()
