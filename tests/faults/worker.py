"""A careful worker of the campaign's application: ``python -m faults.worker DSN NAME DIARY LIFE``.

LIFE says what it does when its connection breaks. ``resume``: it keeps its name and goes on with what is
still its own. ``anew``: it takes a new name, and leaves what it held to whoever looks after the dead.
"""

from __future__ import annotations

import os
import random
import sys
import time
from datetime import UTC, datetime, timedelta

import psycopg
from faults.shop import Client, LostError

WORK_SECONDS = (0.04, 0.12)
PAUSE_SECONDS = 0.08

CLAIM = """
UPDATE jobs SET status = 'running', worker = %(me)s, started_at = clock_timestamp(), attempts = attempts + 1
 WHERE id = (SELECT id FROM jobs WHERE status = 'waiting' ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING id, started_at"""
FINISH = """
UPDATE jobs SET status = 'done', finished_at = clock_timestamp()
 WHERE id = %(job)s AND worker = %(me)s AND status = 'running' AND started_at = %(started)s"""
BEAT = """
INSERT INTO workers (id, status, heartbeat, current_job, pid)
VALUES (%(me)s, %(status)s, coalesce(%(clock)s, clock_timestamp()), %(job)s, %(pid)s)
ON CONFLICT (id) DO UPDATE SET status = excluded.status, heartbeat = excluded.heartbeat,
       current_job = excluded.current_job, pid = excluded.pid"""


class Worker:
    """Claims a job, works on it, finishes it, and beats all the while."""

    def __init__(self, client: Client, name: str, *, resumes: bool) -> None:
        self._client = client
        self._name = self._me = name
        self._resumes = resumes
        self._lives = 0
        self._job: tuple[int, datetime] | None = None
        self._off = timedelta()
        self._off_until = 0.0
        self._pace = random.Random(name)

    def run(self) -> None:
        """Work for ever."""
        self._come_back()
        while True:
            try:
                self._step()
            except LostError:
                self._come_back()
            except psycopg.Error:
                # Cancelled, say, or a deadlock's victim: rolled back, so that the same may be tried again.
                self._client.wait(PAUSE_SECONDS)

    def _come_back(self) -> None:
        while True:
            self._client.connect()
            try:
                if self._resumes:
                    self._recall()
                else:
                    self._lives += 1
                    self._me, self._job = f"{self._name}.{self._lives}", None
                self._beat("register")
            except (LostError, psycopg.Error):
                continue
            return

    def _recall(self) -> None:
        with self._client.transaction("recall") as connection:
            self._job = connection.execute(
                "SELECT id, started_at FROM jobs WHERE worker = %s AND status = 'running' ORDER BY id",
                [self._me],
            ).fetchone()

    def _step(self) -> None:
        self._hear()
        if self._job is None:
            self._claim()
        if self._job is None:
            self._beat("idle")
            self._client.wait(PAUSE_SECONDS)
            return
        self._client.wait(self._pace.uniform(*WORK_SECONDS))
        self._beat("beat")
        self._finish(self._job)
        self._client.wait(PAUSE_SECONDS)

    def _claim(self) -> None:
        with self._client.transaction("claim") as connection:
            job = connection.execute(CLAIM, {"me": self._me}).fetchone()
            if job is not None:
                connection.execute(
                    "INSERT INTO campaign.executions (job, worker) VALUES (%s, %s)", [job[0], self._me]
                )
                self._write_beat(connection, job[0])
        self._job = job

    def _finish(self, job: tuple[int, datetime]) -> None:
        with self._client.transaction("finish") as connection:
            done = connection.execute(FINISH, {"me": self._me, "job": job[0], "started": job[1]})
            if done.rowcount:
                connection.execute(
                    "INSERT INTO campaign.finishes (job, worker) VALUES (%s, %s)", [job[0], self._me]
                )
            self._write_beat(connection, None)
        self._job = None

    def _beat(self, what: str) -> None:
        with self._client.transaction(what) as connection:
            self._write_beat(connection, self._job and self._job[0])

    def _write_beat(self, connection: psycopg.Connection, job: int | None) -> None:
        wrong = time.monotonic() < self._off_until
        connection.execute(
            BEAT,
            {
                "me": self._me,
                "status": "idle" if job is None else "busy",
                "clock": datetime.now(UTC) + self._off if wrong else None,
                "job": job,
                "pid": os.getpid(),
            },
        )

    def _hear(self) -> None:
        for _, off, lasts in self._client.orders:
            self._off = timedelta(seconds=float(off))
            self._off_until = time.monotonic() + float(lasts)
        self._client.orders.clear()


def main(arguments: list[str]) -> None:
    """Work until standard input ends."""
    dsn, name, diary, life = arguments
    Worker(Client(dsn, name, diary), name, resumes=life == "resume").run()


if __name__ == "__main__":
    main(sys.argv[1:])
