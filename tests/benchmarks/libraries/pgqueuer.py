"""PgQueuer at scale: jobs whose workers died, taken over by its own dequeue, and one bare UPDATE."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from conformance.libraries.pgqueuer import ENTRYPOINT, call

if TYPE_CHECKING:
    from typing import LiteralString

    import psycopg
    from pgqueuer.queries import Queries

PRESET = "pgqueuer"
SETTINGS = {"MODE": "repair", "STUCK_AFTER": "1m"}

BATCH = 10
SILENT = timedelta(seconds=30)
"""A worker's defaults: how many jobs it takes at once, and after what silence those of others."""

FILL: LiteralString = """
INSERT INTO pgqueuer (priority, entrypoint, status, queue_manager_id,
                      created, updated, heartbeat, execute_after)
SELECT 0, %(entrypoint)s, state::pgqueuer_status, md5(worker || n %% 50)::uuid,
       now() - interval '2 h', now() - interval '1 h', now() - interval '1 h', now() - interval '2 h'
  FROM (SELECT 1, 'picked', 'worker ', %(running)s::int
         UNION ALL SELECT 2, 'queued', NULL, %(waiting)s) AS k (place, state, worker, many)
       CROSS JOIN LATERAL generate_series(1, many) AS n
 ORDER BY place, n"""

LOGGED: LiteralString = """
INSERT INTO pgqueuer_log (created, job_id, status, priority, entrypoint, aggregated)
SELECT now() - ago, id, said::pgqueuer_status, 0, %(entrypoint)s, true
  FROM (SELECT id, status::text FROM pgqueuer
         UNION ALL
        SELECT -n, 'successful' FROM generate_series(1, %(finished)s) AS n) AS j (id, status)
       JOIN (VALUES (interval '2 h', 'queued', '{queued,picked,successful}'::text[]),
                    (interval '1 h', 'picked', '{picked,successful}'),
                    (interval '59 min', 'successful', '{successful}')) AS k (ago, said, by)
         ON status = ANY (by)
 ORDER BY ago DESC"""
"""Of a job that has ended, its log is all that is left: enqueued, picked, ended."""

BARE: LiteralString = """
UPDATE pgqueuer SET status = 'queued', queue_manager_id = NULL, slot = NULL, updated = now()
 WHERE status = 'picked' AND heartbeat < now() - interval '30 s'"""


def create(dsn: str) -> None:
    call(dsn, lambda queries: queries.install())


def fill(connection: psycopg.Connection[Any], finished: int, waiting: int, running: int) -> None:
    """The running jobs are the oldest, so that a worker takes them up first."""
    numbers = {"entrypoint": ENTRYPOINT, "finished": finished, "waiting": waiting, "running": running}
    connection.execute(FILL, numbers)
    connection.execute(LOGGED, numbers)


def bare(connection: psycopg.Connection[Any]) -> int:
    return connection.execute(BARE).rowcount


def own_rescue(dsn: str) -> int:
    """What one worker does by its defaults, were its jobs over at once: dequeue until none is silent."""
    return call(dsn, _taken_over)


async def _taken_over(queries: Queries) -> int:
    from pgqueuer.ports.repository import EntrypointExecutionParameter
    from pgqueuer.types import QueueEntrypoint, QueueManagerId

    entrypoints = {QueueEntrypoint(ENTRYPOINT): EntrypointExecutionParameter(concurrency_limit=0)}
    worker, taken = QueueManagerId(uuid4()), 0
    while await queries.stale_jobs(SILENT, limit=1):
        taken += len(await queries.dequeue(BATCH, entrypoints, worker, None, SILENT))
    return taken
