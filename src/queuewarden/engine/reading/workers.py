"""Workers a page at a time, in the order of their ids, with how many jobs they run."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from psycopg import sql

from queuewarden.engine.reading.parts import NULL, behind, order, text, time
from queuewarden.engine.render import compiled
from queuewarden.queues.sqltext import INTEGER, TEXT, TRUE, Value, cast, commas
from queuewarden.queues.terms import alive, job, relation, running, worker
from queuewarden.queues.times import age

if TYPE_CHECKING:
    from queuewarden.adapters.db.session import Query, Row
    from queuewarden.queues.target import Target


class WorkerRow(NamedTuple):
    """One worker as people see it; what is not mapped is None."""

    id: str
    status: str | None
    alive: bool
    heartbeat_at: str | None
    silent_seconds: int | None
    current_job: str | None
    running_jobs: int
    started_at: str | None


def worker_page(target: Target, after: str | None, limit: int) -> Query | None:
    """The workers behind an id; None where they are not in this database."""
    mapped = target.mapping.workers
    if mapped is None or target.workers is None or target.mapping.jobs.worker is None:
        return None
    holder = cast(job(target.mapping.jobs.worker), TEXT)
    held = sql.SQL("SELECT {} AS worker, count(*) AS jobs FROM {} AS j WHERE {} GROUP BY 1").format(
        holder, relation(target.jobs), running(target)
    )
    return compiled(
        sql.SQL(
            "SELECT {}\n  FROM {} AS w LEFT JOIN ({}) AS r ON r.worker = {}\n WHERE {}\n ORDER BY {} LIMIT {}"
        ).format(
            commas(
                [
                    cast(worker(mapped.id), TEXT),
                    text(target, "workers", mapped.status),
                    sql.SQL("({}) IS TRUE").format(alive(target)),
                    time(target, "workers", mapped.heartbeat),
                    age(target, target.workers, "w", mapped.heartbeat),
                    text(target, "workers", mapped.current_job) if mapped.current_job else NULL,
                    sql.SQL("coalesce(r.jobs, 0)"),
                    time(target, "workers", mapped.started_at),
                ]
            ),
            relation(target.workers),
            held,
            cast(worker(mapped.id), TEXT),
            behind(target, "workers", (after,)) if after is not None else TRUE,
            commas(order(target, "workers")),
            Value("limit", limit, INTEGER),
        )
    )


def worker_row(row: Row) -> WorkerRow:
    """From a row of `worker_page`."""
    return WorkerRow(*row)
