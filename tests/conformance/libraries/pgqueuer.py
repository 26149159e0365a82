"""PgQueuer: its schema, jobs and answers by its own calls, its worker as a process."""

from __future__ import annotations

import asyncio
from importlib import metadata, util
from typing import TYPE_CHECKING, ClassVar, TypeVar

import psycopg

from conformance.library import DONE
from conformance.starting import start_python

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Awaitable, Callable, Sequence

    from pgqueuer.queries import Queries
    from pgqueuer.types import JobId

    from conformance.library import State

T = TypeVar("T")

ENTRYPOINT = "conformance"

STATES: dict[str, State] = {
    "queued": "waiting",
    "picked": "running",
    "successful": "done",
    "exception": "failed",
    "failed": "failed",
    "canceled": "failed",
    "deleted": "gone",
}


class PgQueuer:
    """The library as its wheel brings it. It deletes jobs that have ended: its log alone knows how."""

    name = "pgqueuer"
    preset: str | None = "pgqueuer"
    settings: ClassVar[dict[str, str]] = {"DEAD_AFTER": "5s", "STUCK_AFTER": "5s"}

    def missing(self) -> str | None:
        return None if util.find_spec("pgqueuer") else "the package pgqueuer is not installed"

    def version(self) -> str:
        return metadata.version("pgqueuer")

    def create(self, dsn: str) -> None:
        call(dsn, lambda queries: queries.install())
        with psycopg.connect(dsn) as connection:
            connection.execute(DONE)

    def enqueue(self, dsn: str, seconds: Sequence[float]) -> list[str]:
        payloads: list[bytes | None] = [str(one).encode() for one in seconds]
        many = len(payloads)
        ids = call(dsn, lambda queries: queries.enqueue([ENTRYPOINT] * many, payloads, [0] * many))
        return [str(one) for one in ids]

    def worker(self, dsn: str) -> subprocess.Popen[bytes]:
        return start_python("conformance.libraries.pgqueuer_worker", dsn)

    def state(self, dsn: str, job: str) -> State:
        return call(dsn, lambda queries: _state(queries, _id(job)))

    def exhaust(self, dsn: str, job: str) -> bool:  # noqa: ARG002 -- the protocol's
        return False

    def collide(self, dsn: str) -> None:  # noqa: ARG002 -- the protocol's
        """Nothing collides: a job that runs holds its deduplication key as one that waits does."""
        return

    def cancel(self, dsn: str, job: str) -> bool:
        call(dsn, lambda queries: queries.mark_job_as_cancelled([_id(job)]))
        return call(dsn, lambda queries: queries.job_status([_id(job)])) == [(_id(job), "canceled")]

    def retry(self, dsn: str, job: str) -> None:
        call(dsn, lambda queries: queries.requeue_jobs([_id(job)]))


def call(dsn: str, what: Callable[[Queries], Awaitable[T]]) -> T:
    """One of the library's own calls, over a connection of its own."""
    from pgqueuer.queries import Queries

    async def called() -> T:
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
            return await what(Queries.from_psycopg_connection(connection))

    return asyncio.run(called())


async def _state(queries: Queries, job: JobId) -> State:
    logged = dict(await queries.job_status([job]))
    if (found := await queries.queue_job_by_id(job)) is not None:
        if logged != dict(await queries.job_status([job])):
            return await _state(queries, job)
        assert found.status == logged[job], f"its queue says {found.status}, its log {logged[job]}"
        return STATES[found.status]
    return STATES[logged[job]] if job in logged else "gone"


def _id(job: str) -> JobId:
    from pgqueuer.types import JobId

    return JobId(int(job))
