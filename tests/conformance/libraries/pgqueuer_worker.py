"""PgQueuer's own worker: ``python -m conformance.libraries.pgqueuer_worker DSN``. Works until it is killed.

Its limits are its defaults, so that it takes up a job of a dead worker after 30 s. A job would then beat only
every 15 s; it also beats by itself here, that a guard may be quick without doing wrong.
"""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import timedelta
from typing import TYPE_CHECKING

import psycopg
from pgqueuer import PgQueuer

from conformance.libraries.pgqueuer import ENTRYPOINT

if TYPE_CHECKING:
    from pgqueuer.models import Job

BEAT = 0.5


async def main(dsn: str) -> None:
    """Jobs sleep, and note their end. A release wakes no worker, so it looks for work twice a second."""
    async with (
        await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection,
        await psycopg.AsyncConnection.connect(dsn, autocommit=True) as notes,
    ):
        worker = PgQueuer.from_psycopg_connection(connection)

        @worker.entrypoint(ENTRYPOINT, on_failure="hold")
        async def work(job: Job) -> None:
            beats = asyncio.create_task(beat(job))
            await asyncio.sleep(float(job.payload or 0))
            beats.cancel()
            await notes.execute(
                "INSERT INTO conformance_done (id, pid) VALUES (%s, %s)", (str(job.id), os.getpid())
            )

        async def beat(job: Job) -> None:
            while True:
                await asyncio.sleep(BEAT)
                await worker.qm.queries.update_heartbeat([job.id])

        await worker.run(dequeue_timeout=timedelta(seconds=0.5))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
