"""Chancy at scale: jobs whose workers died, its own recovery of them, and one bare UPDATE."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from conformance.libraries.chancy import BEYOND, EXPECTED, call

if TYPE_CHECKING:
    from typing import LiteralString

    import chancy
    import psycopg

PRESET = None
SETTINGS = EXPECTED | BEYOND | {"MODE": "repair", "STUCK_AFTER_ALIVE": "never"}

WORKERS: LiteralString = """
INSERT INTO chancy_workers (worker_id, tags, queues, last_seen, expires_at)
SELECT kind || n, '{*}', '{default}', seen, seen + interval '90 s'
  FROM (VALUES ('dead-', now() - interval '1 h'), ('live-', now() + interval '1 day')) AS k (kind, seen),
       generate_series(0, 49) AS n"""
"""Half of the fleet is dead; the other half lives for as long as the measuring takes."""

FILL: LiteralString = """
INSERT INTO chancy_jobs (id, queue, func, state, attempts, taken_by, claim_id,
                         created_at, started_at, completed_at, scheduled_at)
SELECT gen_random_uuid(), 'default', 'application.work', state, attempts, worker || n %% 50,
       CASE WHEN worker <> '' THEN gen_random_uuid() END, now() - interval '2 h', began, ended,
       now() - interval '2 h'
  FROM (SELECT 'succeeded', 1, 'live-', now() - interval '1 h', now() - interval '59 min', %(finished)s::int
         UNION ALL SELECT 'pending', 0, NULL, NULL, NULL, %(waiting)s
         UNION ALL SELECT 'running', 0, 'dead-', now() - interval '1 h', NULL, %(running)s
       ) AS k (state, attempts, worker, began, ended, many)
       CROSS JOIN LATERAL generate_series(1, many) AS n"""

BARE: LiteralString = """
UPDATE chancy_jobs AS j
   SET state = 'pending', taken_by = NULL, claim_id = NULL, started_at = NULL, max_attempts = max_attempts + 1
 WHERE state = 'running'
   AND NOT EXISTS (SELECT FROM chancy_workers AS w
                    WHERE w.worker_id = j.taken_by AND w.last_seen >= now() - interval '90 s')"""


def create(dsn: str) -> None:
    call(dsn, lambda app: app.migrate())


def fill(connection: psycopg.Connection[Any], finished: int, waiting: int, running: int) -> None:
    connection.execute(WORKERS)
    connection.execute(FILL, {"finished": finished, "waiting": waiting, "running": running})


def bare(connection: psycopg.Connection[Any]) -> int:
    return connection.execute(BARE).rowcount


def own_rescue(dsn: str) -> int:
    """One pass of its plugin, which is on by default: one UPDATE, and a notification for each job."""
    return call(dsn, _recovered)


async def _recovered(app: chancy.Chancy) -> int:
    from chancy import Worker
    from chancy.plugins.recovery import Recovery
    from psycopg.rows import dict_row

    async with app.pool.connection() as connection, connection.cursor(row_factory=dict_row) as cursor:
        return await Recovery.recover(Worker(app), app, cursor)
