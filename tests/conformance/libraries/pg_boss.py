"""pg-boss: its schema by its own migration, its jobs by its own calls, its worker as a process."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import psycopg
from eventually import eventually

from conformance.libraries.node import project
from conformance.library import DONE, Collision
from conformance.starting import kill

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Sequence

    from conformance.library import State

PROGRAM = "pg_boss.mjs"

STATES: dict[str, State] = {
    "created": "waiting",
    "retry": "waiting",
    "active": "running",
    "completed": "done",
    "failed": "failed",
    "cancelled": "failed",
}


class PgBoss:
    """The library as its package brings it; its jobs beat every two seconds, and are dead after four."""

    name = "pg_boss"
    preset: str | None = "pg_boss"
    settings: ClassVar[dict[str, str]] = {"DEAD_AFTER": "8s", "STUCK_AFTER": "8s"}

    def missing(self) -> str | None:
        return project.missing()

    def version(self) -> str:
        return project.version("pg-boss")

    def create(self, dsn: str) -> None:
        project.call(PROGRAM, dsn, "migrate")
        with psycopg.connect(dsn) as connection:
            connection.execute(DONE)

    def enqueue(self, dsn: str, seconds: Sequence[float]) -> list[str]:
        return self._enqueue(dsn, "plain", seconds)

    def worker(self, dsn: str) -> subprocess.Popen[bytes]:
        return project.work(PROGRAM, dsn)

    def state(self, dsn: str, job: str) -> State:
        """By the column that its `findJobs` reads: a process for each look takes longer than a job."""
        found = _states(dsn, job)
        return STATES[found[0]] if found else "gone"

    def exhaust(self, dsn: str, job: str) -> bool:
        project.call(PROGRAM, dsn, "exhaust", *job.split(","))
        return True

    def collide(self, dsn: str) -> Collision:
        """One job waits for its second attempt, the next one runs and dies: only one may wait so."""
        (first,) = self._enqueue(dsn, "stately", [-1])
        others = self.enqueue(dsn, [60, 60])
        worker = self.worker(dsn)
        try:
            eventually(lambda: _states(dsn, first) == ["retry"])
            (stuck,) = self._enqueue(dsn, "stately", [60])
            eventually(lambda: _states(dsn, stuck, *others) == ["active"] * 3)
        finally:
            kill(worker)
        return Collision(stuck, tuple(others))

    def cancel(self, dsn: str, job: str) -> bool:
        return project.call(PROGRAM, dsn, "cancel", *job.split(",")) == ["1"]

    def retry(self, dsn: str, job: str) -> None:
        project.call(PROGRAM, dsn, "retry", *job.split(","))

    def _enqueue(self, dsn: str, queue: str, seconds: Sequence[float]) -> list[str]:
        ids = project.call(PROGRAM, dsn, "enqueue", queue, *project.seconds(seconds))
        return [f"{queue},{one}" for one in ids]


def _states(dsn: str, *jobs: str) -> list[str]:
    with psycopg.connect(dsn) as connection:
        found = connection.execute(
            "SELECT state::text FROM pgboss.job WHERE name || ',' || id = ANY(%s)", [list(jobs)]
        )
        return [state for (state,) in found]
