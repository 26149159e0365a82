"""Applications at work, as a process: workers that claim, beat and finish jobs; some crash, some lose a job.

`python -m soak.fleet WORKERS DSN…` runs until SIGTERM, then prints its tally as JSON.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import json
import random
import signal
import sys
from typing import TYPE_CHECKING

import psycopg

if TYPE_CHECKING:
    from collections.abc import Iterator

LANES = 5
BACKLOG = 10
"""Jobs that wait in a lane."""
JOB_SECONDS = (0.5, 3.0)
CRASH, LOSE, FAIL = 0.04, 0.04, 0.01
"""The chance of each, for a job."""
DOWN_SECONDS = 3.0
"""Until a worker that has crashed is replaced by one with another name."""
SCRAMBLE_EVERY = 10
"""Rounds of the producer between two faults in the positions."""

BEAT = """
INSERT INTO workers (id, status, heartbeat) VALUES (%s, 'idle', now())
ON CONFLICT (id) DO UPDATE SET status = 'idle', heartbeat = now()
"""
CLAIM = """
UPDATE jobs SET status = 'running', worker = %s, started_at = now(), attempts = attempts + 1, position = NULL
 WHERE id = (SELECT id FROM jobs WHERE status = 'waiting' ORDER BY position, lane
              LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING id, attempts
"""
FINISH = """
UPDATE jobs SET status = %s, finished_at = now()
 WHERE id = %s AND attempts = %s AND worker = %s AND status = 'running'
"""
PRODUCE = """
INSERT INTO jobs (label, lane, position)
SELECT 'job', lanes.lane, last + n
  FROM generate_series(1, %(lanes)s) AS lanes (lane),
       LATERAL (SELECT coalesce(max(position), 0) AS last, count(*) AS waiting FROM jobs
                 WHERE jobs.lane = lanes.lane AND status = 'waiting') AS known,
       LATERAL generate_series(1, %(backlog)s - waiting) AS n
"""
SCRAMBLE = "UPDATE jobs SET position = 1 WHERE lane = %s AND status = 'waiting'"
PRUNE = """
WITH jobs AS (DELETE FROM jobs WHERE status IN ('done', 'failed') AND finished_at < now() - interval '1 min')
DELETE FROM workers WHERE heartbeat < now() - interval '1 min' AND status = 'offline'
"""


class Fleet:
    """The workers and the producer of one database."""

    def __init__(self, name: str, dsn: str, tally: collections.Counter[str]) -> None:
        self._name = name
        self._dsn = dsn
        self._tally = tally
        self._random = random.Random(name)

    async def produce(self) -> None:
        """Keep the lanes filled and the tables small; now and then, get positions wrong."""
        async with await psycopg.AsyncConnection.connect(self._dsn, autocommit=True) as connection:
            rounds = 0
            while True:
                with self._counted():
                    await connection.execute(PRODUCE, {"lanes": LANES, "backlog": BACKLOG})
                    rounds += 1
                    if rounds % SCRAMBLE_EVERY == 0:
                        await connection.execute(SCRAMBLE, [self._random.randint(1, LANES)])
                        await connection.execute(PRUNE)
                await asyncio.sleep(0.5)

    async def work(self, slot: int) -> None:
        """One worker after the other: each works until it crashes."""
        for life in range(sys.maxsize):
            with self._counted():
                await self._live(f"{self._name}-{slot}-{life}")
                self._tally["crashes"] += 1
            await asyncio.sleep(DOWN_SECONDS)

    async def _live(self, name: str) -> None:
        async with await psycopg.AsyncConnection.connect(self._dsn, autocommit=True) as connection:
            while True:
                await connection.execute(BEAT, [name])
                job = await (await connection.execute(CLAIM, [name])).fetchone()
                await self._be_busy(connection, name)
                if job is None:
                    continue
                match self._random.choices(
                    ("crash", "lose", "failed", "done"), (CRASH, LOSE, FAIL, 1 - CRASH - LOSE - FAIL)
                ):
                    case ["crash"]:
                        return
                    case ["lose"]:
                        self._tally["lost_sight"] += 1
                    case [status]:
                        finished = await connection.execute(FINISH, [status, *job, name])
                        self._tally["processed" if finished.rowcount else "taken_away"] += 1

    async def _be_busy(self, connection: psycopg.AsyncConnection, name: str) -> None:
        left = self._random.uniform(*JOB_SECONDS)
        while left > 0:
            await asyncio.sleep(min(left, 1.0))
            left -= 1.0
            await connection.execute(BEAT, [name])

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        """What the database refuses is counted, and the work goes on."""
        try:
            yield
        except psycopg.Error as error:
            self._tally[f"SQLSTATE {error.sqlstate}"] += 1


async def run(workers: int, dsns: list[str]) -> collections.Counter[str]:
    """Work until SIGTERM; what was done."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    tally: collections.Counter[str] = collections.Counter()
    fleets = [Fleet(f"fleet{number}", dsn, tally) for number, dsn in enumerate(dsns)]
    tasks = [asyncio.create_task(fleet.produce()) for fleet in fleets]
    tasks += [asyncio.create_task(fleets[slot % len(fleets)].work(slot)) for slot in range(workers)]
    ended = asyncio.create_task(stop.wait())
    await asyncio.wait([ended, *tasks], return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        if task.done():
            task.result()
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return tally


if __name__ == "__main__":
    print(json.dumps(asyncio.run(run(int(sys.argv[1]), sys.argv[2:]))))  # noqa: T201 -- read by who started it
