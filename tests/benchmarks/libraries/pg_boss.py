"""pg-boss at scale: jobs whose instances died, its own supervisor's rescue of them, and one bare UPDATE."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
from conformance.libraries.node import project

if TYPE_CHECKING:
    from typing import LiteralString

PRESET = "pg_boss"
SETTINGS = {"MODE": "repair"}

PROGRAM = "pg_boss.mjs"

FILL: LiteralString = """
INSERT INTO pgboss.job (name, data, state, policy, created_on, start_after, started_on, heartbeat_on,
                        completed_on, output)
SELECT 'plain', '{"seconds": 0}', state::pgboss.job_state, 'standard',
       now() - interval '2 h' + n * interval '1 ms', now() - interval '2 h', began, began, ended,
       output::jsonb
  FROM (SELECT 'completed', now() - interval '1 h', now() - interval '59 min', '{}'
         UNION ALL SELECT 'created', NULL, NULL, NULL
         UNION ALL SELECT 'active', now() - interval '1 h', NULL, NULL) AS k (state, began, ended, output)
       CROSS JOIN LATERAL generate_series(
           1, CASE state WHEN 'completed' THEN %s WHEN 'created' THEN %s ELSE %s END) AS n"""

BARE: LiteralString = """
UPDATE pgboss.job SET state = 'retry', start_after = greatest(start_after, now()), heartbeat_on = NULL,
       output = '{"value": {"message": "job timed out"}}'
 WHERE state = 'active' AND started_on + expire_seconds * interval '1 s' < now()"""


def create(dsn: str) -> None:
    project.call(PROGRAM, dsn, "migrate")


def fill(connection: psycopg.Connection[Any], finished: int, waiting: int, running: int) -> None:
    """All in one queue, whose daily clean-up, part of the supervisor's pass, is not due."""
    connection.execute(FILL, [finished, waiting, running])
    connection.execute("UPDATE pgboss.queue SET maintain_on = now()")


def bare(connection: psycopg.Connection[Any]) -> int:
    return connection.execute(BARE).rowcount


def own_rescue(dsn: str) -> int:
    """One pass of its supervisor, which counts each queue first; in it, the start of a process."""
    project.call(PROGRAM, dsn, "supervise")
    with psycopg.connect(dsn) as connection:
        row = connection.execute("SELECT count(*) FROM pgboss.job WHERE state = 'retry'").fetchone()
    assert row is not None
    return int(row[0])
