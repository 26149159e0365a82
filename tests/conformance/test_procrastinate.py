"""Rows as Procrastinate leaves them, in its own schema: one sweep calls its functions for the right ones."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import kit
import pytest
from commands_kit import as_role, own_environment

from queuewarden.engine.ledger import schema
from queuewarden.queues.fingerprints import differences
from queuewarden.queues.presets import presets
from queuewarden.settings.load import load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import servers

procrastinate = pytest.importorskip("procrastinate", reason="the package procrastinate is not installed")

WORKERS = """
INSERT INTO procrastinate_workers (id, last_heartbeat) OVERRIDING SYSTEM VALUE
VALUES (1, now() - interval '1 hour'), (2, now() + interval '1 hour')"""
"""The living one's last heartbeat is still to come, so that it lives however long a test takes."""
JOBS = """
INSERT INTO procrastinate_jobs (id, queue_name, task_name, status, worker_id, abort_requested, scheduled_at)
SELECT id, 'mails', 'send', CAST(status AS procrastinate_job_status), worker, abort, now() - interval '2 days'
  FROM (VALUES (1, 'doing', 1, false), (2, 'doing', NULL, false), (3, 'doing', NULL, false),
               (4, 'doing', 2, false), (5, 'doing', 1, true), (6, 'todo', 1, false),
               (7, 'succeeded', 1, false), (8, 'failed', NULL, false)) AS j (id, status, worker, abort);
DELETE FROM procrastinate_events;
INSERT INTO procrastinate_events (job_id, type, at)
SELECT job, 'started', now() - CAST(ago AS interval)
  FROM (VALUES (1, '1 hour'), (2, '3 days'), (2, '2 hours'), (3, '3 days'), (3, '1 minute'), (4, '3 days'),
               (5, '1 hour'), (7, '1 hour'), (8, '1 hour')) AS e (job, ago)"""
PRESET = {"QUEUEWARDEN_QUEUE__JOBS__PRESET": "procrastinate"}


@pytest.fixture
def library(databases: Callable[..., servers.Database]) -> servers.Database:
    """The library's own schema, with jobs of a silent, a living and a vanished worker."""
    database: servers.Database = databases(procrastinate.schema.SchemaManager.get_schema())
    database.execute(WORKERS)
    database.execute(JOBS)
    return database


def swept(dsn: str) -> None:
    nowhere = Path("none")
    loaded = load({"QUEUEWARDEN_DSN": dsn} | PRESET, default_file=nowhere, credentials=nowhere)
    (environment,) = loaded.environments
    (mapping,) = environment.queues
    report = asyncio.run(kit.sweep_async(dsn, mapping, environment.queue_limits["jobs"]))
    assert not [one for one in report.queues[0].outcomes if one.error or one.set_aside]


def jobs(database: servers.Database) -> dict[int, tuple[Any, ...]]:
    rows = database.rows(
        "SELECT id, status::text, attempts, abort_requested, scheduled_at > now() - interval '1 minute'"
        " FROM procrastinate_jobs"
    )
    return {number: tuple(rest) for number, *rest in rows}


def events(database: servers.Database) -> set[tuple[int, str]]:
    rows = database.rows("SELECT job_id, type::text FROM procrastinate_events WHERE type <> 'started'")
    return {(job, type_) for job, type_ in rows}


MENDED = {
    1: ("todo", 1, False, True),
    2: ("todo", 1, False, True),
    5: ("failed", 1, False, False),
}
NOTED = {
    (1, "scheduled"),
    (1, "deferred_for_retry"),
    (2, "scheduled"),
    (2, "deferred_for_retry"),
    (5, "failed"),
}


def test_jobs_of_silent_and_vanished_workers_are_put_back_by_its_functions(library: servers.Database) -> None:
    before = jobs(library)
    swept(library.dsn)
    assert jobs(library) == before | MENDED
    assert events(library) == NOTED


def test_a_job_that_was_to_be_aborted_can_be_retried_by_the_library(library: servers.Database) -> None:
    swept(library.dsn)
    with procrastinate.App(connector=procrastinate.SyncPsycopgConnector(conninfo=library.dsn)).open() as app:
        app.job_manager.retry_job_by_id(5, retry_at=procrastinate.utils.utcnow())
    assert jobs(library)[5] == ("todo", 2, False, True)


def test_its_preset_has_the_fingerprint_of_its_schema(library: servers.Database) -> None:
    print_ = presets()["procrastinate"].fingerprint
    assert print_ is not None
    columns = library.rows(
        "SELECT attrelid::regclass::text, attname, format_type(atttypid, NULL) FROM pg_attribute"
        " WHERE attnum > 0 AND attrelid = ANY(%s::regclass[])",
        [list(print_.tables)],
    )
    tables: dict[tuple[str, str], dict[str, str]] = {}
    for table, column, type_ in columns:
        tables.setdefault(("public", table), {})[column] = type_
    assert differences(presets()["procrastinate"], "public", tables) == {}


@pytest.fixture
def role(library: servers.Database) -> Iterator[str]:
    """A role with the rights that `grants` prints, and no other."""
    library.execute(schema.script())
    name = f"guard_{library.name}"
    printed = subprocess.run(
        [sys.executable, "-m", "queuewarden", "grants", "--env", "default", "--role", name],
        env=own_environment(QUEUEWARDEN_DSN=library.dsn, **PRESET),
        capture_output=True,
        check=True,
        text=True,
    )
    library.execute(printed.stdout)
    yield name
    library.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")


def test_the_rights_that_grants_prints_suffice(library: servers.Database, role: str) -> None:
    before = jobs(library)
    swept(as_role(library, role))
    assert jobs(library) == before | MENDED
