"""Procrastinate: its schema by its own manager, its jobs by its own calls, its worker as a process."""

from __future__ import annotations

import asyncio
import contextlib
import os
from datetime import UTC, datetime
from importlib import metadata, util
from typing import TYPE_CHECKING, ClassVar

import psycopg
from eventually import eventually

from conformance.library import DONE, Collision
from conformance.starting import kill, start_python

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator, Sequence

    from procrastinate import App, JobContext
    from procrastinate.connector import BaseConnector
    from procrastinate.jobs import Job

    from conformance.library import State

TASK = "conformance"

STATES: dict[str | None, State] = {
    "todo": "waiting",
    "doing": "running",
    "succeeded": "done",
    "failed": "failed",
    "cancelled": "failed",
    "aborted": "failed",
}


class Procrastinate:
    """The library as its wheel brings it. It counts attempts, and its schema knows no maximum of them."""

    name = "procrastinate"
    preset: str | None = "procrastinate"
    settings: ClassVar[dict[str, str]] = {"STUCK_AFTER": "5s"}

    def missing(self) -> str | None:
        return None if util.find_spec("procrastinate") else "the package procrastinate is not installed"

    def version(self) -> str:
        return metadata.version("procrastinate")

    def create(self, dsn: str) -> None:
        with _app(dsn) as app:
            app.schema_manager.apply_schema()
        with psycopg.connect(dsn) as connection:
            connection.execute(DONE)

    def enqueue(self, dsn: str, seconds: Sequence[float]) -> list[str]:
        return [self._defer(dsn, one) for one in seconds]

    def worker(self, dsn: str) -> subprocess.Popen[bytes]:
        return start_python("conformance.libraries.procrastinate_worker", dsn)

    def state(self, dsn: str, job: str) -> State:
        found = _read(dsn, job)
        return STATES[found.status] if found else "gone"

    def exhaust(self, dsn: str, job: str) -> bool:  # noqa: ARG002 -- the protocol's
        return False

    def collide(self, dsn: str) -> Collision:
        """A job with a queueing lock runs and dies, while the next one with the same lock already waits."""
        stuck = self._defer(dsn, 60, queueing_lock="one waits")
        others = [self._defer(dsn, 60), self._defer(dsn, 60)]
        worker = self.worker(dsn)
        try:
            eventually(lambda: all(self.state(dsn, job) == "running" for job in (stuck, *others)))
        finally:
            kill(worker)
        self._defer(dsn, 60, queueing_lock="one waits")
        return Collision(stuck, tuple(others))

    def cancel(self, dsn: str, job: str) -> bool:
        with _app(dsn) as app:
            return app.job_manager.cancel_job_by_id(int(job))

    def retry(self, dsn: str, job: str) -> None:
        with _app(dsn) as app:
            app.job_manager.retry_job_by_id(int(job), retry_at=datetime.now(UTC))

    def _defer(self, dsn: str, seconds: float, queueing_lock: str | None = None) -> str:
        with _app(dsn) as app:
            return str(app.configure_task(TASK, queueing_lock=queueing_lock).defer(seconds=seconds))


def application(connector: BaseConnector) -> App:
    """The application, as enqueuer and worker know it: one task, which sleeps and notes its end."""
    import procrastinate

    app = procrastinate.App(connector=connector)

    async def work(context: JobContext, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await app.connector.execute_query_async(
            "INSERT INTO conformance_done (id, pid) VALUES (%(id)s, %(pid)s)",
            id=str(context.job.id),
            pid=os.getpid(),
        )

    app.task(name=TASK, pass_context=True)(work)
    return app


@contextlib.contextmanager
def _app(dsn: str) -> Iterator[App]:
    import procrastinate

    with application(procrastinate.SyncPsycopgConnector(conninfo=dsn)).open() as app:
        yield app


def _read(dsn: str, job: str) -> Job | None:
    with _app(dsn) as app:
        return next(iter(app.job_manager.list_jobs(id=int(job))), None)
