"""Procrastinate at scale: jobs whose workers died, retried as its documentation says, and one bare UPDATE."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import LiteralString

    import psycopg

PRESET = "procrastinate"
SETTINGS = {"MODE": "repair"}

FILL: LiteralString = """
ALTER TABLE procrastinate_jobs DISABLE TRIGGER USER;
INSERT INTO procrastinate_workers (last_heartbeat) SELECT now() - interval '1 h' FROM generate_series(1, 50);
INSERT INTO procrastinate_jobs (queue_name, task_name, status, worker_id, attempts)
SELECT 'default', 'sleep', status::procrastinate_job_status,
       CASE status WHEN 'doing' THEN n % 50 + 1 END, CASE status WHEN 'succeeded' THEN 1 ELSE 0 END
  FROM (VALUES (1, 'succeeded', {finished}), (2, 'todo', {waiting}), (3, 'doing', {running}))
            AS k (place, status, many)
       CROSS JOIN LATERAL generate_series(1, many) AS n
 ORDER BY place, n;
INSERT INTO procrastinate_events (job_id, type, at)
SELECT j.id, k.type::procrastinate_job_event_type, now() - k.ago
  FROM procrastinate_jobs AS j
       JOIN (VALUES ('deferred', interval '2 h', '{{todo,doing,succeeded}}'::text[]),
                    ('started', interval '1 h', '{{doing,succeeded}}'),
                    ('succeeded', interval '59 min', '{{succeeded}}')) AS k (type, ago, of)
         ON j.status::text = ANY (k.of);
ALTER TABLE procrastinate_jobs ENABLE TRIGGER USER;
"""

BARE: LiteralString = """
UPDATE procrastinate_jobs AS j SET status = 'todo', attempts = attempts + 1, scheduled_at = now()
  FROM procrastinate_workers AS w
 WHERE j.status = 'doing' AND w.id = j.worker_id AND w.last_heartbeat < now() - interval '30 s'"""


def create(dsn: str) -> None:
    from procrastinate import App, SyncPsycopgConnector

    with App(connector=SyncPsycopgConnector(conninfo=dsn)).open() as app:
        app.schema_manager.apply_schema()


def fill(connection: psycopg.Connection[Any], finished: int, waiting: int, running: int) -> None:
    """Set-based, its triggers aside: their events are made likewise."""
    from psycopg import sql

    numbers = {"finished": finished, "waiting": waiting, "running": running}
    connection.execute(
        sql.SQL(FILL).format(**{name: sql.Literal(number) for name, number in numbers.items()})
    )


def bare(connection: psycopg.Connection[Any]) -> int:
    return connection.execute(BARE).rowcount


def own_rescue(dsn: str) -> int:
    """The periodic task of its documentation: each stalled job is retried by a call of its own."""
    from procrastinate import App, PsycopgConnector

    async def retried() -> int:
        done = 0
        async with App(connector=PsycopgConnector(conninfo=dsn)).open_async() as app:
            for job in await app.job_manager.get_stalled_jobs(seconds_since_heartbeat=30):
                await app.job_manager.retry_job(job)
                done += 1
        return done

    return asyncio.run(retried())
