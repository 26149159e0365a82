"""Graphile Worker: its schema by its own migration, its jobs by its own calls, its worker as a process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, LiteralString

import psycopg

from conformance.libraries.node import project
from conformance.library import DONE

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Sequence

    from conformance.library import State

PROGRAM = "graphile_worker.mjs"


class GraphileWorker:
    """The library as its package brings it. It deletes finished jobs, and workers give no sign of life."""

    name = "graphile_worker"
    preset: str | None = "graphile_worker"
    settings: ClassVar[dict[str, str]] = {"DEAD_AFTER": "8s", "STUCK_AFTER": "8s"}

    def missing(self) -> str | None:
        return project.missing()

    def version(self) -> str:
        return project.version("graphile-worker")

    def create(self, dsn: str) -> None:
        project.call(PROGRAM, dsn, "migrate")
        with psycopg.connect(dsn) as connection:
            connection.execute(DONE)

    def enqueue(self, dsn: str, seconds: Sequence[float]) -> list[str]:
        return project.call(PROGRAM, dsn, "enqueue", *project.seconds(seconds))

    def enqueue_in_lane(self, dsn: str, seconds: Sequence[float]) -> list[str]:
        """As ``enqueue``, in one named queue: while one of them is locked, no other can start."""
        return project.call(PROGRAM, dsn, "lane", *project.seconds(seconds))

    def worker(self, dsn: str) -> subprocess.Popen[bytes]:
        return project.work(PROGRAM, dsn)

    def state(self, dsn: str, job: str) -> State:
        """By the view that it publishes: there is no call that tells of one job."""
        found = _asked(
            dsn,
            "SELECT locked_at IS NOT NULL, attempts >= max_attempts FROM graphile_worker.jobs WHERE id = %s",
            job,
        )
        if found is None:
            return "gone"
        locked, spent = found
        return "running" if locked else "failed" if spent else "waiting"

    def exhaust(self, dsn: str, job: str) -> bool:
        """Its calls on jobs are functions of its schema."""
        _asked(dsn, "SELECT id FROM graphile_worker.reschedule_jobs(ARRAY[%s::int8], max_attempts => 1)", job)
        return True

    def collide(self, dsn: str) -> None:
        """Nothing can: its one unique value, the key, leaves a running job when another comes with it."""

    def cancel(self, dsn: str, job: str) -> bool:
        return bool(_asked(dsn, "SELECT id FROM graphile_worker.permanently_fail_jobs(ARRAY[%s::int8])", job))

    def retry(self, dsn: str, job: str) -> None:
        _asked(
            dsn,
            "SELECT id FROM graphile_worker.reschedule_jobs(ARRAY[%s::int8], now(), attempts => 0,"
            " max_attempts => 25)",
            job,
        )


def _asked(dsn: str, query: LiteralString, job: str) -> tuple[Any, ...] | None:
    with psycopg.connect(dsn) as connection:
        return connection.execute(query, [job]).fetchone()
