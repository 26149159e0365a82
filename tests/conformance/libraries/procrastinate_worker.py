"""Procrastinate's own worker as a process: ``python -m conformance.libraries.procrastinate_worker DSN``."""

from __future__ import annotations

import asyncio
import sys

import procrastinate

from conformance.libraries.procrastinate import application


async def main(dsn: str) -> None:
    """Work until killed. It beats, and looks for jobs that were put back, each half second."""
    async with application(procrastinate.PsycopgConnector(conninfo=dsn)).open_async() as app:
        await app.run_worker_async(
            concurrency=8, update_heartbeat_interval=0.5, fetch_job_polling_interval=0.5
        )


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
