"""Graphile Worker at scale: jobs that dead pools hold locked, its own way to free them, one bare UPDATE."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
from conformance.libraries.node import project

if TYPE_CHECKING:
    from typing import LiteralString

PRESET = "graphile_worker"
SETTINGS = {"MODE": "repair"}

PROGRAM = "graphile_worker.mjs"
POOLS = 20
QUEUES = 1000

FILL: LiteralString = """
WITH task AS (INSERT INTO graphile_worker._private_tasks (identifier) VALUES ('sleep') RETURNING id),
     queue AS (INSERT INTO graphile_worker._private_job_queues (queue_name, locked_at, locked_by)
               SELECT 'queue ' || n, now() - interval '5 h', 'pool-' || n %% %(pools)s
                 FROM generate_series(1, least(%(queues)s, %(running)s)) AS n RETURNING id, queue_name),
     waiting AS (INSERT INTO graphile_worker._private_jobs (task_id)
                 SELECT task.id FROM task, generate_series(1, %(waiting)s))
INSERT INTO graphile_worker._private_jobs (task_id, job_queue_id, attempts, run_at, locked_at, locked_by)
SELECT task.id, queue.id, 1, now() - interval '6 h', now() - interval '5 h', 'pool-' || n %% %(pools)s
  FROM task, generate_series(1, %(running)s) AS n LEFT JOIN queue ON queue_name = 'queue ' || n"""
"""A running job in each of the named queues, which its claim locked; all others without a queue."""

BARE: LiteralString = """
WITH queue AS (UPDATE graphile_worker._private_job_queues SET locked_at = NULL, locked_by = NULL
                WHERE locked_at < now() - interval '4 h')
UPDATE graphile_worker._private_jobs SET locked_at = NULL, locked_by = NULL, run_at = greatest(run_at, now())
 WHERE locked_at < now() - interval '4 h'"""


def create(dsn: str) -> None:
    project.call(PROGRAM, dsn, "migrate")


def fill(connection: psycopg.Connection[Any], finished: int, waiting: int, running: int) -> None:
    """Finished jobs leave no row."""
    connection.execute(FILL, {"pools": POOLS, "queues": QUEUES, "waiting": waiting, "running": running})


def bare(connection: psycopg.Connection[Any]) -> int:
    return connection.execute(BARE).rowcount


def own_rescue(dsn: str) -> int:
    """What it documents for pools that are known to be dead, all of them at once."""
    with psycopg.connect(dsn) as connection:
        row = connection.execute(
            "SELECT count(*) FROM graphile_worker._private_jobs WHERE locked_by IS NOT NULL"
        ).fetchone()
        pools = [f"pool-{number}" for number in range(POOLS)]
        connection.execute("SELECT graphile_worker.force_unlock_workers(%s)", [pools])
    assert row is not None
    return int(row[0])
