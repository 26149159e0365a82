"""A queue in a schema of its own, a guard, and somebody else who may create objects in the schema public."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import kit
import pytest
from click.testing import CliRunner
from commands_kit import Called
from fresh_logging import restored_logging
from psycopg.conninfo import make_conninfo

from queuewarden.application.cli import cli
from queuewarden.queues.mapping import OrderTerm, Positions, Reference, TableName

from .traps import laid_by

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from servers import Database

_QUEUE = """
CREATE SCHEMA app;
CREATE TYPE app.state AS ENUM ('waiting', 'running', 'done', 'failed', 'cancelled');
CREATE TABLE app.parents (id varchar(40) PRIMARY KEY);
CREATE TABLE app.workers (
    id varchar(40) PRIMARY KEY, status varchar(20) NOT NULL DEFAULT 'idle', heartbeat timestamptz);
CREATE TABLE app.jobs (
    id varchar(40) PRIMARY KEY, status {status} NOT NULL DEFAULT 'waiting', worker varchar(40),
    started_at timestamptz, enqueued_at timestamptz NOT NULL DEFAULT now(), finished_at timestamptz,
    updated_at timestamptz, attempts int NOT NULL DEFAULT 0, max_attempts int,
    error varchar(200), label varchar(200),
    lane varchar(40), position int, priority int NOT NULL DEFAULT 0, parent varchar(40));
INSERT INTO app.parents VALUES ('here');
INSERT INTO app.workers (id, heartbeat) VALUES ('dead', now() - interval '1 hour'), ('alive', now());
INSERT INTO app.jobs (id, status, worker, started_at, lane, position, enqueued_at) VALUES
    ('of the dead', 'running', 'dead', now() - interval '1 hour', 'a', NULL, now() - interval '3 hours'),
    ('stuck', 'running', 'alive', now() - interval '1 hour', 'b', NULL, now() - interval '3 hours'),
    ('well', 'running', 'alive', now() - interval '1 minute', 'c', NULL, now() - interval '2 minutes'),
    ('too many', 'running', 'alive', now(), 'c', NULL, now()),
    ('third', 'waiting', NULL, NULL, 'd', 7, now() - interval '1 minute'),
    ('second', 'waiting', NULL, NULL, 'd', 7, now() - interval '2 minutes'),
    ('first', 'waiting', NULL, NULL, 'd', NULL, now() - interval '3 minutes'),
    ('undated', 'done', 'alive', now(), 'e', NULL, now()),
    ('broken', 'failed', 'alive', now(), 'e', NULL, now());
INSERT INTO app.jobs (id, lane, position, parent, enqueued_at)
    VALUES ('orphan', 'f', 1, 'gone', now() - interval '1 day');
UPDATE app.jobs SET finished_at = now() WHERE status = 'failed';
"""
FAULTY = {
    "dead_workers": {"of the dead", "dead"},
    "stuck_jobs": {"of the dead", "stuck"},
    "orphans": {"orphan"},
    "timestamps": {"undated"},
    "lanes": {"too many"},
    "positions": {"first", "second", "third"},
}
"""What each check finds before anything is mended."""
MENDED = {
    "of the dead": "waiting",
    "stuck": "waiting",
    "well": "running",
    "too many": "waiting",
    "third": "waiting",
    "second": "waiting",
    "first": "waiting",
    "undated": "done",
    "broken": "failed",
    "orphan": "cancelled",
}

assert kit.MAPPING.workers is not None
MAPPING = replace(
    kit.jobs_mapping(table=TableName("jobs", "app"), updated_at="updated_at"),
    workers=replace(kit.MAPPING.workers, table=TableName("workers", "app"), current_job=None),
    positions=Positions(
        "position",
        (OrderTerm("priority", descending=True), OrderTerm("enqueued_at")),
        ("lane",),
        1,
        demote=True,
    ),
    references=(Reference("parent", TableName("parents", "app"), "id"),),
    timestamps=(("done", "finished_at"),),
)
VARIABLES = {
    f"QUEUEWARDEN_QUEUE__MAIL__{name}": value
    for name, value in {
        "JOBS__TABLE": "app.jobs",
        "JOBS__ID": "id",
        "JOBS__STATUS": "status",
        "JOBS__WORKER": "worker",
        "JOBS__STARTED_AT": "started_at",
        "JOBS__ENQUEUED_AT": "enqueued_at",
        "JOBS__FINISHED_AT": "finished_at",
        "JOBS__UPDATED_AT": "updated_at",
        "JOBS__ATTEMPTS": "attempts",
        "JOBS__MAX_ATTEMPTS": "max_attempts",
        "JOBS__ERROR": "error",
        "JOBS__LABEL": "label",
        "STATES__WAITING": "waiting",
        "STATES__RUNNING": "running",
        "STATES__DONE": "done",
        "STATES__FAILED": "failed",
        "STATES__CANCELLED": "cancelled",
        "WORKERS__TABLE": "app.workers",
        "WORKERS__ID": "id",
        "WORKERS__HEARTBEAT": "heartbeat",
        "WORKERS__STATUS": "status",
        "TIMESTAMPS": "done=finished_at",
        "REFERENCES": "parent -> app.parents.id",
        "POSITIONS__COLUMN": "position",
        "POSITIONS__LANE": "lane",
        "POSITIONS__ORDER_BY": "priority desc, enqueued_at",
        "POSITIONS__MAX_RUNNING": "1",
        "POSITIONS__DEMOTE": "true",
    }.items()
}
"""The same as `MAPPING`, for commands."""


@dataclass
class Stage:
    """A database with a queue in it.

    Attributes:
        guard: the DSN of the guard's own role.
        hostile: the role that may create in public, and write the jobs.
    """

    database: Database
    guard: str
    guard_role: str
    hostile: str
    variables: dict[str, str] = field(default_factory=lambda: dict(VARIABLES))

    def call(self, *arguments: str, **variables: str) -> Called:
        """Call a command as the guard."""
        given = {"QUEUEWARDEN_ENV__PROD__DSN": self.guard} | self.variables | variables
        result = CliRunner().invoke(cli, arguments, env=given)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return Called(result.exit_code, result.stdout, result.stderr)

    def statuses(self) -> dict[str, str]:
        return dict(self.database.rows("SELECT id, status::text FROM app.jobs"))

    def lay_traps(self, *, first: bool) -> None:
        """Fill public with what the hostile role may create there.

        Args:
            first: for the guard, public even comes before the server's own names.
        """
        if first:
            self.take_path("public, pg_catalog")
        self.database.execute(laid_by(self.hostile))

    def take_path(self, path: str) -> None:
        """Give the guard's role a search_path."""
        self.database.execute(
            f"ALTER ROLE {self.guard_role} IN DATABASE {self.database.name} SET search_path = {path}"
        )


@pytest.fixture(autouse=True)
def fresh_logging() -> Iterator[None]:
    """Commands that write set up the log of the whole process."""
    with restored_logging():
        yield


@pytest.fixture
def set_up(databases: Callable[..., Database]) -> Iterator[Callable[..., Stage]]:
    """Sets a stage: ``set_up(status="varchar(20)", superuser=False)``."""
    with contextlib.ExitStack() as stack:

        def _set_up(status: str = "varchar(20)", *, superuser: bool = False) -> Stage:
            database = databases(_QUEUE.format(status=status))
            guard, hostile = f"{database.name}_guard", f"{database.name}_hostile"
            database.execute(
                f"""CREATE ROLE {guard} LOGIN PASSWORD 'guard' {"SUPERUSER" if superuser else ""};
                    CREATE ROLE {hostile};
                    ALTER DATABASE {database.name} SET track_functions = 'all';
                    GRANT USAGE ON SCHEMA app TO {guard}, {hostile};
                    GRANT SELECT, UPDATE ON ALL TABLES IN SCHEMA app TO {guard};
                    GRANT SELECT, INSERT, UPDATE, DELETE ON app.jobs TO {hostile};
                    GRANT CREATE ON SCHEMA public TO {hostile}"""
            )
            stack.callback(
                database.execute,
                f"DROP OWNED BY {guard}, {hostile} CASCADE; DROP ROLE {guard}, {hostile}",
            )
            return Stage(database, make_conninfo(database.dsn, user=guard, password="guard"), guard, hostile)

        yield _set_up


def sweep(stage: Stage, **rest: Any) -> dict[str, Any]:
    """One sweep as the guard; outcomes by rule."""
    return kit.sweep(stage.guard, MAPPING, **rest)
