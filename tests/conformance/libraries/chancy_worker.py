"""Chancy's own worker: ``python -m conformance.libraries.chancy_worker DSN``. Works until it is killed.

It beats every half second, and writes down what became of a job as soon as it knows; what it takes for dead,
and when it looks for it, are its defaults.
"""

import asyncio
import logging
import os
import sys

import psycopg
from chancy import Chancy, QueuedJob, Worker

BEAT = 0.5
WRITES = 0.05


async def work(*, job: QueuedJob, seconds: float) -> None:
    """Sleep, and note the end. The library gives the job to the parameter that is annotated so."""
    await asyncio.sleep(seconds)
    async with await psycopg.AsyncConnection.connect(sys.argv[1], autocommit=True) as connection:
        await connection.execute(
            "INSERT INTO conformance_done (id, pid) VALUES (%s, %s)", (str(job.id), os.getpid())
        )


async def main(dsn: str) -> None:
    """Take jobs off the queue."""
    async with Chancy(dsn, log=logging.getLogger("conformance.chancy")) as app:
        worker = Worker(app, heartbeat_poll_interval=BEAT)  # type: ignore[arg-type]  # it only sleeps so long
        worker.send_outgoing_interval = WRITES  # type: ignore[assignment]  # as above
        async with worker:
            await worker.wait_for_shutdown()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
