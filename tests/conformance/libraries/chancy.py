"""Chancy: its schema by its own migrations, its jobs by its own calls, its worker as a process.

A library without a preset: it is guarded by the mapping that ``queuewarden adopt`` finds.
"""

from __future__ import annotations

import asyncio
import logging
from importlib import metadata, util
from typing import TYPE_CHECKING, ClassVar, TypeVar

import psycopg

from conformance.library import DONE
from conformance.starting import start_python

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Awaitable, Callable, Sequence

    import chancy

    from conformance.library import State

T = TypeVar("T")

WORKER = "conformance.libraries.chancy_worker"

EXPECTED = {
    "JOBS__TABLE": "chancy_jobs",
    "JOBS__ID": "id",
    "JOBS__STATUS": "state",
    "JOBS__WORKER": "taken_by",
    "JOBS__STARTED_AT": "started_at",
    "JOBS__ENQUEUED_AT": "created_at",
    "JOBS__SCHEDULED_AT": "scheduled_at",
    "JOBS__FINISHED_AT": "completed_at",
    "JOBS__ATTEMPTS": "attempts",
    "JOBS__MAX_ATTEMPTS": "max_attempts",
    "STATES__WAITING": "pending, retrying",
    "STATES__RUNNING": "running",
    "STATES__DONE": "succeeded",
    "STATES__FAILED": "failed",
    "WORKERS__TABLE": "chancy_workers",
    "WORKERS__ID": "worker_id",
    "WORKERS__HEARTBEAT": "last_seen",
}
"""The mapping that can be found by looking at its tables and rows."""

BEYOND = {
    "JOBS__CLEAR": "claim_id",
    "JOBS__ATTEMPTS_COUNTED": "never",
}
"""What only its code tells: a worker's late word on a job counts as long as the claim is the same; and a run
that is lost is not an attempt. Counted as one, the only attempt that a job has by default would be spent.
"""

STATES: dict[str, State] = {
    "pending": "waiting",
    "retrying": "waiting",
    "running": "running",
    "succeeded": "done",
    "failed": "failed",
}


class Chancy:
    """The library as its wheel brings it."""

    name = "chancy"
    preset: str | None = None
    settings: ClassVar[dict[str, str]] = {
        "DEAD_AFTER": "5s",
        "STUCK_AFTER": "5s",
        "STUCK_AFTER_ALIVE": "never",
    }
    mapping: ClassVar[dict[str, str]] = EXPECTED | BEYOND

    def missing(self) -> str | None:
        return None if util.find_spec("chancy") else "the package chancy is not installed"

    def version(self) -> str:
        return metadata.version("chancy")

    def create(self, dsn: str) -> None:
        call(dsn, _create)
        with psycopg.connect(dsn) as connection:
            connection.execute(DONE)

    def enqueue(self, dsn: str, seconds: Sequence[float]) -> list[str]:
        import chancy

        jobs = [chancy.Job(func=f"{WORKER}.work", kwargs={"seconds": one}) for one in seconds]
        return [str(one.identifier) for one in call(dsn, lambda app: _pushed(app, jobs))]

    def worker(self, dsn: str) -> subprocess.Popen[bytes]:
        return start_python(WORKER, dsn)

    def state(self, dsn: str, job: str) -> State:
        found = call(dsn, lambda app: app.get_job(_reference(job)))
        return STATES[found.state.value] if found else "gone"

    def exhaust(self, dsn: str, job: str) -> bool:  # noqa: ARG002 -- the protocol's
        """Its maximum is of runs that failed; one that was lost does not count."""
        return False

    def collide(self, dsn: str) -> None:  # noqa: ARG002 -- the protocol's
        """Nothing collides: a job that runs holds its unique key as one that waits does."""
        return

    def cancel(self, dsn: str, job: str) -> bool:
        call(dsn, lambda app: app.cancel_job(_reference(job)))
        return self.state(dsn, job) == "failed"

    def retry(self, dsn: str, job: str) -> None:
        call(dsn, lambda app: app.retry_jobs([_reference(job)]))


def call(dsn: str, what: Callable[[chancy.Chancy], Awaitable[T]]) -> T:
    """One of the library's own calls, over a pool of its own."""
    import chancy

    async def called() -> T:
        async with chancy.Chancy(dsn, log=logging.getLogger("conformance.chancy")) as app:
            return await what(app)

    return asyncio.run(called())


async def _create(app: chancy.Chancy) -> None:
    """The tables, and the queue: its jobs run in the worker's own process, so that they die with it."""
    import chancy

    await app.migrate()
    queue = chancy.Queue("default", executor=app.Executor.Async, concurrency=8, polling_interval=1)
    await app.declare(queue, upsert=True)


async def _pushed(app: chancy.Chancy, jobs: list[chancy.Job]) -> list[chancy.Reference]:
    return [one async for chunk in app.push_many(jobs) for one in chunk]


def _reference(job: str) -> chancy.Reference:
    import chancy

    return chancy.Reference(job)
