"""A simulated worker: ``python -m queuewarden.application.demo.worker DSN NAME [FAULT]``.

It does what a careful worker does: claims with SKIP LOCKED, beats, finishes a job only while that is still
its own. Faults are ordered by a line on its standard input (or as an argument); end of input ends it.
"""

from __future__ import annotations

import os
import random
import select
import signal
import sys
import time
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import psycopg

if TYPE_CHECKING:
    from uuid import UUID

Fault = Literal["crash", "hang", "stall"]
"""crash: killed amid a job. hang: neither beats nor works. stall: beats, but its job never ends."""

FAULTS: Final[tuple[Fault, ...]] = get_args(Fault)
BEAT_SECONDS: Final = 1.0
JOB_SECONDS: Final = (0.4, 2.5)
_INPUT: Final = 0


class Worker:
    """One worker: registers itself, then ``step`` by step claims a job, works on it and finishes it."""

    def __init__(self, connection: psycopg.Connection[Any], name: str, fault: str | None = None) -> None:
        self._connection = connection
        self._name = name
        self._fault = fault
        self._pace = random.Random(name)  # noqa: S311 -- how long a job takes, not a secret

    def register(self) -> None:
        """Enter the fleet."""
        self._connection.execute(
            "INSERT INTO worker_status (worker_id) VALUES (%(me)s) ON CONFLICT (worker_id) DO UPDATE"
            " SET status = 'idle', last_heartbeat = now(), current_job_id = NULL, started_at = now()",
            {"me": self._name},
        )

    def step(self) -> None:
        """Take one job from claim to finish; without any, wait a moment."""
        job = self.claim()
        if job is None:
            self._wait(BEAT_SECONDS / 2)
            self.beat(None)
            return
        left = self._pace.uniform(*JOB_SECONDS)
        while left > 0 or self._fault == "stall":
            self._wait(min(left, BEAT_SECONDS) if left > 0 else BEAT_SECONDS)
            left -= BEAT_SECONDS
            self._misbehave()
            if not self.beat(job):
                self._fault = None
                return
        self.finish(job)

    def claim(self) -> UUID | None:
        """Make the oldest waiting job that nobody holds our own."""
        with self._connection.transaction():
            row = self._connection.execute(
                "UPDATE extraction_queue SET status_id = 2, worker_id = %(me)s, attemtps = attemtps + 1,"
                " processing_started_at = now(), updated_at = now()"
                " WHERE id = (SELECT id FROM extraction_queue WHERE status_id = 1 ORDER BY created_at, id"
                " LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING id",
                {"me": self._name},
            ).fetchone()
            if row is None:
                return None
            self.beat(row[0])
        job: UUID = row[0]
        return job

    def beat(self, job: UUID | None) -> bool:
        """Say that we live and what we work on; whether that job is (still) ours."""
        self._connection.execute(
            "UPDATE worker_status SET last_heartbeat = now(), current_job_id = %(job)s, status ="
            " CASE WHEN %(job)s::uuid IS NULL THEN 'idle' ELSE 'busy' END WHERE worker_id = %(me)s",
            {"me": self._name, "job": job},
        )
        held = self._connection.execute(
            "SELECT 1 FROM extraction_queue WHERE id = %(job)s AND worker_id = %(me)s AND status_id = 2",
            {"me": self._name, "job": job},
        )
        return held.fetchone() is not None

    def finish(self, job: UUID) -> bool:
        """Finish the job if it is still ours; whether it was."""
        with self._connection.transaction():
            done = self._connection.execute(
                "UPDATE extraction_queue SET status_id = 3, completed_at = now(), updated_at = now()"
                " WHERE id = %(job)s AND worker_id = %(me)s AND status_id = 2",
                {"me": self._name, "job": job},
            )
            self.beat(None)
        return done.rowcount == 1

    def _misbehave(self) -> None:
        if self._fault == "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        while self._fault == "hang":
            self._wait(BEAT_SECONDS)

    def _wait(self, seconds: float) -> None:
        """Let time pass; hear orders, and the end of whoever gives them."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if select.select([_INPUT], [], [], left)[0]:
                order = os.read(_INPUT, 64)
                if not order:
                    raise SystemExit(0)
                self._fault = order.decode().split()[-1]


def main(arguments: list[str]) -> None:
    """Work until standard input or the database ends."""
    dsn, name, *fault = arguments
    try:
        with psycopg.connect(dsn, autocommit=True, application_name=name) as connection:
            worker = Worker(connection, name, *fault)
            worker.register()
            while True:
                worker.step()
    except psycopg.OperationalError as error:
        raise SystemExit(f"{name}: the database is gone: {error}") from None


if __name__ == "__main__":
    main(sys.argv[1:])
