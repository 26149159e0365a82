"""Settings, rows and results for tests of commands by hand."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from psycopg.conninfo import make_conninfo

if TYPE_CHECKING:
    import servers

MAIL = {
    f"QUEUEWARDEN_QUEUE__MAIL__{name}": value
    for name, value in {
        "JOBS__TABLE": "jobs",
        "JOBS__ID": "id",
        "JOBS__STATUS": "status",
        "JOBS__WORKER": "worker",
        "JOBS__STARTED_AT": "started_at",
        "JOBS__ENQUEUED_AT": "enqueued_at",
        "JOBS__FINISHED_AT": "finished_at",
        "JOBS__ATTEMPTS": "attempts",
        "JOBS__ERROR": "error",
        "JOBS__LABEL": "label",
        "STATES__WAITING": "waiting",
        "STATES__RUNNING": "running",
        "STATES__DONE": "done",
        "STATES__FAILED": "failed",
        "STATES__CANCELLED": "cancelled",
        "WORKERS__TABLE": "workers",
        "WORKERS__ID": "id",
        "WORKERS__HEARTBEAT": "heartbeat",
        "WORKERS__STATUS": "status",
        "WORKERS__OFFLINE_VALUE": "offline",
        "TIMESTAMPS": "done=finished_at",
    }.items()
}
LANES = {
    "QUEUEWARDEN_QUEUE__MAIL__POSITIONS__COLUMN": "position",
    "QUEUEWARDEN_QUEUE__MAIL__POSITIONS__LANE": "lane",
    "QUEUEWARDEN_QUEUE__MAIL__POSITIONS__ORDER_BY": "priority desc, enqueued_at",
}
UNREACHABLE = "postgresql://guard:geheim@127.0.0.1:1/nowhere"

MESS = """
INSERT INTO workers (id, status, heartbeat) VALUES
    ('dead', 'busy', now() - interval '1 hour'), ('alive', 'busy', now() + interval '1 hour');
INSERT INTO jobs (id, status, worker, started_at, finished_at, label, lane) VALUES
    (1, 'running', 'dead', now() - interval '1 hour', NULL, 'of the dead', 1),
    (2, 'running', 'alive', now() - interval '5 minutes', NULL, 'stuck', 2),
    (3, 'running', 'alive', now(), NULL, 'well', 3),
    (4, 'waiting', NULL, NULL, NULL, 'next', 3),
    (5, 'done', 'alive', now(), NULL, 'done, nobody knows when', 3),
    (6, 'failed', 'alive', now() - interval '2 minutes', now() - interval '1 minute', 'failed', 3),
    (7, 'failed', 'alive', now() - interval '3 days', now() - interval '3 days', 'failed long ago', 3);
"""
"""What `check` finds: 1 and its worker (dead_workers), 1 and 2 (stuck_jobs), 5 (timestamps).

The living worker's last heartbeat is still to come, so that it lives however long a test takes.
"""


class Called:
    """What a command did."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code = code
        self.out = out
        self.err = err

    @property
    def document(self) -> Any:
        return json.loads(self.out)

    def rows(self, queue: str = "mail", environment: str = "prod") -> set[tuple[str, str, str]]:
        """Check, table and id of each row that JSON lists."""
        checks = self.document["environments"][environment]["queues"][queue]["checks"]
        return {(one["check"], row["table"], row["id"]) for one in checks for row in one["rows"]}


def versions_of_rows(database: servers.Database) -> dict[tuple[str, str], str]:
    """The xmin of every row: whoever writes one changes it."""
    rows = database.rows(
        "SELECT 'jobs', id::text, xmin::text FROM jobs"
        " UNION ALL SELECT 'workers', id, xmin::text FROM workers"
    )
    return {(table, key): xmin for table, key, xmin in rows}


def as_role(database: servers.Database, role: str) -> str:
    """A DSN whose sessions act as a role."""
    return make_conninfo(database.dsn, options=f"-c role={role}")


def own_environment(**variables: str) -> dict[str, str]:
    """For a real process: nothing of ours but these, and what measures coverage."""
    kept = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE")}
    return kept | {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **variables}
