"""What must hold at any time, computed from tables; each query returns the rows that violate it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from faults.schema import DEAD_AFTER, GUARD, STUCK_AFTER

if TYPE_CHECKING:
    import servers


@dataclass(frozen=True)
class Invariant:
    """A promise.

    Attributes:
        at_rest: it need not hold while a fault is being repaired.
    """

    name: str
    query: str
    at_rest: bool = False


_TOLD = 20
"""So many rows of one kind are enough to look into."""

_LEDGER = "queuewarden.changes"
_COMPARED = "ARRAY['status', 'worker', 'position', 'attempts', 'current_job']"

INVARIANTS = (
    Invariant(
        "lost",
        "SELECT job, 'is gone' FROM campaign.enqueued LEFT JOIN jobs ON id = job WHERE id IS NULL",
    ),
    Invariant(
        "running, but nobody runs it",
        """
        SELECT j.id, j.worker, j.started_at FROM jobs AS j LEFT JOIN workers AS w ON w.id = j.worker
         WHERE j.status = 'running' AND (w.pid = ANY(%(pids)s) AND w.status <> 'offline') IS NOT TRUE""",
        at_rest=True,
    ),
    Invariant(
        "finished twice",
        "SELECT job, count(*) FROM campaign.finishes GROUP BY job HAVING count(*) > 1",
    ),
    Invariant(
        "finished, but not done",
        """
        SELECT f.job, j.status FROM campaign.finishes AS f JOIN jobs AS j ON j.id = f.job
         WHERE j.status <> 'done'""",
    ),
    Invariant(
        "done, but never finished",
        """
        SELECT id, worker FROM jobs WHERE status = 'done'
           AND NOT EXISTS (SELECT FROM campaign.finishes WHERE job = id)""",
    ),
    Invariant(
        "changed after it was finished",
        """
        SELECT nr, who, part, key, old ->> 'status', new ->> 'status' FROM campaign.audit
         WHERE old ->> 'status' IN ('done', 'failed', 'cancelled')""",
    ),
    Invariant(
        "run again, though nobody had put it back",
        """
        SELECT job, executions, resets
          FROM (SELECT job, count(*) AS executions FROM campaign.executions
                 GROUP BY job HAVING count(*) > 1) AS e
               LEFT JOIN (SELECT key::bigint AS job, count(*) AS resets FROM campaign.audit
                           WHERE part = 'jobs' AND who LIKE %(guard)s AND new ->> 'status' = 'waiting'
                           GROUP BY key) AS r USING (job)
         WHERE executions - 1 > coalesce(resets, 0)""",
    ),
    Invariant(
        "taken from a worker that beat",
        """
        SELECT nr, who, key, old ->> 'worker', at - beat AS silent FROM campaign.audit
         WHERE part = 'jobs' AND old ->> 'status' = 'running' AND new ->> 'status' <> 'running'
           AND beat > at - make_interval(secs => %(dead_after)s)
           AND (old ->> 'started_at')::timestamptz > at - make_interval(secs => %(stuck_after)s)""",
    ),
    Invariant(
        "failed without a rule",
        """
        SELECT j.id, j.attempts FROM jobs AS j
         WHERE j.status = 'failed' AND NOT EXISTS (
               SELECT FROM campaign.audit AS a
                WHERE a.part = 'jobs' AND a.key = j.id::text AND a.new ->> 'status' = 'failed'
                  AND ((a.old ->> 'attempts')::int >= (a.old ->> 'max_attempts')::int
                       OR (SELECT count(*) FROM campaign.audit AS r WHERE r.part = 'jobs' AND r.key = a.key
                              AND r.nr < a.nr AND r.new ->> 'status' = 'waiting') >= 5))""",
    ),
    Invariant(
        "a lane that is not dense",
        """
        SELECT lane, array_agg(position ORDER BY n)
          FROM (SELECT lane, position, row_number() OVER (PARTITION BY lane ORDER BY joined_at, id) AS n
                  FROM interviews WHERE status = 'waiting') AS i
         GROUP BY lane HAVING bool_or(position IS DISTINCT FROM n)""",
        at_rest=True,
    ),
    Invariant(
        "changed, but not as the ledger says",
        f"""
        WITH seen AS (
            SELECT xmin::text AS txn, part, key, who, (array_agg(old ORDER BY nr))[1] AS old,
                   (array_agg(new ORDER BY nr DESC))[1] AS new
              FROM campaign.audit WHERE who LIKE %(guard)s GROUP BY 1, 2, 3, 4),
        booked AS (
            SELECT c.xmin::text AS txn, c.table_name AS part, c.keys[i][1] AS key, c.first_id + i - 1 AS id,
                   c.environment, c.columns, b.before, b.after
              FROM queuewarden.changes AS c, generate_subscripts(c.keys, 1) AS i,
                   LATERAL (SELECT array_agg(c.before[i][n] ORDER BY n) AS before,
                                   array_agg(c.after[i][n] ORDER BY n) AS after
                              FROM generate_subscripts(c.columns, 1) AS n) AS b)
        SELECT txn, part, key, who, id, old, before, new, after
          FROM seen FULL JOIN booked USING (txn, part, key)
         WHERE id IS NULL OR old IS NULL OR who <> 'queuewarden/' || environment OR EXISTS (
               SELECT FROM unnest(columns, before, after) AS c (name, was, became)
                WHERE name = ANY({_COMPARED})
                  AND (was IS DISTINCT FROM old ->> name OR became IS DISTINCT FROM new ->> name))""",
    ),
    Invariant(
        "ids of the ledger that are not its rows'",
        f"""
        SELECT first_id, last_id, cardinality(keys) FROM {_LEDGER}
         WHERE (last_id - first_id + 1 = array_length(keys, 1)
                AND array_length(before, 1) = array_length(keys, 1)
                AND array_length(after, 1) = array_length(keys, 1)) IS NOT TRUE""",
    ),
    Invariant(
        "two daemons in one epoch",
        f"SELECT epoch, array_agg(DISTINCT actor) FROM {_LEDGER} WHERE epoch IS NOT NULL"
        " GROUP BY epoch HAVING count(DISTINCT actor) > 1",
    ),
    Invariant(
        "an epoch after a later one",
        f"""
        SELECT first_id, epoch, earlier
          FROM (SELECT first_id, epoch, max(epoch) OVER (ORDER BY first_id) AS earlier FROM {_LEDGER}) AS c
         WHERE epoch < earlier""",
    ),
)


def violations(database: servers.Database, pids: list[int], *, at_rest: bool = True) -> list[str]:
    """What is violated, a line each.

    Args:
        database: the shop's.
        pids: the workers that live.
        at_rest: everything has been repaired.
    """
    given = {"guard": GUARD, "pids": pids, "dead_after": DEAD_AFTER, "stuck_after": STUCK_AFTER}
    found = []
    with database.connect(application_name="campaign/invariants") as connection:
        for invariant in INVARIANTS:
            if invariant.at_rest and not at_rest:
                continue
            rows = connection.execute(invariant.query, given).fetchmany(_TOLD)
            found += [f"{invariant.name}: {', '.join(map(str, row))}" for row in rows]
    return found
