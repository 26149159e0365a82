"""The application: a fleet of good workers, which crash, hang, come back, and try to finish what they had.

Each statement is what such an application runs; each notes here what it believes by then.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import datetime as dt

    import psycopg
    from model.tables import Setup
    from model.witness import Witness

_PLACES = {
    "last": "(SELECT coalesce(max(position), 0) + 1 FROM jobs"
    " WHERE status = 'waiting' AND lane IS NOT DISTINCT FROM %(lane)s::int)",
    "none": "NULL",
    "first": "1",
    "odd": "-3",
    "far": "(SELECT coalesce(max(position), 0) + 5 FROM jobs)",
}
SAFE = ("last", "none", "far")
"""Places that no other job of the lane has."""

_CLAIM = """
UPDATE jobs SET status = 'running', worker = %(worker)s, started_at = clock_timestamp(), heartbeat = NULL,
       updated_at = clock_timestamp(), attempts = attempts + %(counted)s,
       position = CASE WHEN %(keeps)s THEN position END
 WHERE id = (SELECT id FROM jobs WHERE status = 'waiting' ORDER BY position NULLS LAST, id
              LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING id, started_at"""
_FINISH = """
UPDATE jobs SET status = %(status)s, updated_at = clock_timestamp(), attempts = attempts + %(counted)s,
       finished_at = CASE WHEN %(stamped)s THEN clock_timestamp() END,
       error = CASE WHEN %(status)s = 'failed' THEN 'boom' ELSE error END
 WHERE id = %(id)s AND status = 'running' AND worker = %(worker)s AND started_at = %(started)s"""


@dataclass
class Held:
    """A job that a worker believes to be its own.

    Attributes:
        since: the last change of the ledger when it was claimed.
    """

    job: int
    started: dt.datetime
    since: int


@dataclass
class Worker:
    """A process; one that does not live neither beats nor works, and may come back."""

    name: str
    lives: bool = True
    jobs: list[Held] = field(default_factory=list)


class Fleet:
    """The workers, and what they know.

    Attributes:
        enqueued: the keys of all jobs.
        done: the keys of those that were finished by whoever had them.
        locked: a job that another application keeps locked: our own steps do not wait for it.
        tally: what happened, for those who look whether enough does.
    """

    def __init__(self, connection: psycopg.Connection[Any], setup: Setup, witness: Witness) -> None:
        self.workers: list[Worker] = []
        self.enqueued: set[str] = set()
        self.done: set[str] = set()
        self.locked: int | None = None
        self.tally: dict[str, int] = {}
        self._connection = connection
        self._setup = setup
        self._witness = witness
        self._named = 0

    def enqueue(
        self, lane: int | None, priority: int, place: str, parent: int | None, most: int | None
    ) -> None:
        rows = self._connection.execute(
            "INSERT INTO jobs (lane, priority, parent, max_attempts, position) VALUES (%(lane)s,"
            f" %(priority)s, %(parent)s, %(most)s, {self._place(place)}) RETURNING id::text",
            {"lane": lane, "priority": priority, "parent": parent, "most": most},
        )
        self.enqueued |= {key for (key,) in rows}
        self.count("enqueued")

    def hire(self) -> None:
        self._named += 1
        worker = Worker(f"w{self._named}")
        self._connection.execute(
            "INSERT INTO workers (id, heartbeat, started_at) VALUES (%s, now(), now())", (worker.name,)
        )
        self.workers.append(worker)

    def claim(self, worker: Worker, *, keeps: bool) -> None:
        given = {"worker": worker.name, "counted": int(not self._setup.at_finish), "keeps": keeps}
        row = self._connection.execute(_CLAIM, given).fetchone()
        if row is not None:
            worker.jobs.append(Held(*row, since=len(self._witness.history)))
            self._connection.execute(
                "UPDATE workers SET status = 'busy', current_job = %s WHERE id = %s", (row[0], worker.name)
            )
            self.count("claimed")

    def busy(self, pick: int) -> Worker | None:
        """One of the workers that believe to have a job."""
        found = [one for one in self.workers if one.jobs]
        return found[pick % len(found)] if found else None

    def beat(self, worker: Worker, *, tells: bool) -> None:
        """A heartbeat; one that tells says that it is not offline, too."""
        told = "status = CASE WHEN status = 'offline' THEN 'idle' ELSE status END," if tells else ""
        self._connection.execute(
            f"UPDATE workers SET {told} heartbeat = clock_timestamp() WHERE id = %s", (worker.name,)
        )
        if self._setup.beats:
            for held in worker.jobs:
                self._own(worker, held, "UPDATE jobs SET heartbeat = clock_timestamp()")

    def finish(self, worker: Worker, status: str, *, stamped: bool) -> None:
        """It finishes a job, if that is still its own; that it is not must be our doing."""
        held = next((one for one in worker.jobs if one.job != self.locked), None)
        if held is None:
            return
        worker.jobs.remove(held)
        given = {
            "status": status,
            "counted": int(self._setup.at_finish),
            "stamped": stamped,
            "id": held.job,
            "worker": worker.name,
            "started": held.started,
        }
        if self._connection.execute(_FINISH, given).rowcount:
            self.count(status)
            if status == "done":
                self.done.add(str(held.job))
            return
        self.count("no longer its own")
        ours = [one for one in self._witness.history[held.since :] if one.place == ("jobs", str(held.job))]
        assert ours, f"job {held.job} was taken from {worker.name}, and the ledger does not say by whom"

    def wake(self, worker: Worker) -> None:
        """A process that hung for a while goes on as if nothing had happened."""
        worker.lives = True
        self.beat(worker, tells=False)
        for _ in range(len(worker.jobs)):
            self.finish(worker, "done", stamped=True)

    def rehire(self, worker: Worker) -> None:
        """Another process under the same name, which knows nothing of the first one's jobs."""
        worker.lives, worker.jobs = True, []
        self._connection.execute(
            "INSERT INTO workers (id, heartbeat, started_at) VALUES (%s, now(), now())"
            " ON CONFLICT (id) DO UPDATE SET status = 'idle', current_job = NULL,"
            " heartbeat = excluded.heartbeat, started_at = excluded.started_at",
            (worker.name,),
        )

    def sign_off(self, worker: Worker) -> None:
        """Its row goes, with its jobs still marked running."""
        worker.lives = False
        self._connection.execute("DELETE FROM workers WHERE id = %s", (worker.name,))

    def scramble(self, job: str, place: str, priority: int) -> None:
        """The application writes a place as it likes."""
        if job != str(self.locked):
            self._connection.execute(
                f"UPDATE jobs SET position = {self._place(place)}, priority = %(priority)s"
                " WHERE id = %(id)s AND status = 'waiting'",
                {"id": int(job), "priority": priority, "lane": None},
            )

    def age(self, span: dt.timedelta) -> None:
        for worker in self.workers:
            for held in worker.jobs:
                held.started -= span

    def count(self, what: str, number: int = 1) -> None:
        self.tally[what] = self.tally.get(what, 0) + number

    def _place(self, place: str) -> str:
        return _PLACES["far" if self._setup.unique and place not in SAFE else place]

    def _own(self, worker: Worker, held: Held, statement: str) -> None:
        if held.job != self.locked:
            self._connection.execute(
                statement + " WHERE id = %s AND status = 'running' AND worker = %s AND started_at = %s",
                (held.job, worker.name, held.started),
            )
