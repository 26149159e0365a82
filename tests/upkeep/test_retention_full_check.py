"""``retention`` and ``full_check``: our own tables are bounded; what the checks find is told, not mended."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import keeping
import kit
import ledgers
import pytest

from queuewarden.adapters.db.begin import GUARD_LOCK
from queuewarden.engine.upkeep.tasks import full_check, retention
from queuewarden.queues.mapping import Workers

if TYPE_CHECKING:
    from collections.abc import Callable

    import servers

pytestmark = pytest.mark.slow


@pytest.fixture
def database(databases: Callable[..., servers.Database]) -> servers.Database:
    return databases(ledgers.SCHEMA)


def filled(database: servers.Database) -> None:
    """Of each kind of our rows one that is old, and one that is not."""
    database.execute("INSERT INTO workers (id, heartbeat) VALUES ('w', now())")
    queue = ledgers.Ledgered(database)
    for _ in range(2):
        database.execute("INSERT INTO jobs (status, started_at) VALUES ('running', now() - interval '1 h')")
        queue.sweep()
    database.execute(
        "UPDATE queuewarden.changes SET at = now() - interval '100 d'"
        " WHERE first_id = (SELECT min(first_id) FROM queuewarden.changes);"
        "INSERT INTO queuewarden.alerts (id, rule, severity, environment, queue, subject, value, threshold,"
        " summary, hint, since, resolved_at)"
        " SELECT n, 'r', 'warning', 'test', '', '', 1, 1, '', '', now() - n * interval '50 d',"
        " now() - n * interval '50 d' FROM generate_series(1, 2) AS n;"
        "INSERT INTO queuewarden.upkeep_runs (environment, task, trigger, actor, started_at, alive_until,"
        " finished_at, result) SELECT 'test', 'vacuum', 'hand', 'anna', at, at, at, 'done'"
        " FROM unnest(ARRAY[now() - interval '100 d', now()]) AS at;"
        "INSERT INTO queuewarden.samples (environment, queue, at, span, readings)"
        " SELECT 'test', 'mail', at, '5m', '{}' FROM unnest(ARRAY[now() - interval '100 d', now()]) AS at;"
        "INSERT INTO queuewarden.left_alone (table_schema, table_name, key, version)"
        " SELECT 'public', 'jobs', ARRAY[id::text], xmin::text FROM jobs;"
        "UPDATE jobs SET label = 'changed' WHERE id = 1"
    )


KEPT = ("changes", "alerts", "upkeep_runs", "samples", "left_alone")


def kept(database: servers.Database) -> list[int]:
    return [database.value(f"SELECT count(*) FROM queuewarden.{table}") for table in KEPT]


@pytest.mark.versions
def test_what_is_too_old_is_forgotten_and_nothing_else(database: servers.Database) -> None:
    filled(database)
    assert kept(database) == [2] * len(KEPT)
    assert {
        one.outcome for one in keeping.run(retention, database.dsn, ledger=True, dry_run=True).values()
    } == {"skipped"}
    did = keeping.run(retention, database.dsn, ledger=True)
    assert {one.outcome for one in did.values()} == {"done"}
    assert [one.amount for one in did.values()] == [1, 1, 1, 1, 1, 0]
    assert kept(database) == [1] * len(KEPT)
    assert database.value("SELECT count(*) FROM jobs") == 2


def test_what_is_to_be_kept_for_ever_stays(database: servers.Database) -> None:
    filled(database)
    limits = replace(kit.LIMITS, ledger_keep=None)
    keeping.run(retention, database.dsn, limits=limits, ledger=True)
    assert kept(database)[:3] == [2, 2, 2]


def test_without_a_ledger_there_is_nothing_to_forget(database: servers.Database) -> None:
    assert [one.outcome for one in keeping.run(retention, database.dsn).values()] == ["skipped"]


def test_it_waits_a_moment_for_a_guard_that_repairs(database: servers.Database) -> None:
    filled(database)
    held = threading.Event()

    def guard() -> None:
        with database.connect(autocommit=False) as other:
            other.execute("SELECT pg_advisory_xact_lock(%s, %s)", GUARD_LOCK)
            held.set()
            time.sleep(0.3)

    at_work = threading.Thread(target=guard)
    at_work.start()
    assert held.wait(20)
    did = keeping.run(retention, database.dsn, ledger=True)
    at_work.join()
    assert {one.outcome for one in did.values()} == {"done"}


@pytest.mark.versions
def test_a_full_check_tells_what_each_queue_has_and_mends_nothing(database: servers.Database) -> None:
    database.execute(
        "INSERT INTO workers (id, heartbeat) VALUES ('w', now() - interval '1 h');"
        "INSERT INTO jobs (status, worker, started_at) SELECT 'running', 'w', now() - interval '1 h'"
        " FROM generate_series(1, 3)"
    )
    before = ledgers.image(database) + ledgers.image(database, "workers")
    steps = [
        (one.subject, one.action, one.outcome, one.amount)
        for one in keeping.run_steps(full_check, database.dsn, ledger=True)
    ]
    assert steps
    assert all(subject == "mail" and outcome == "done" for subject, _, outcome, _ in steps)
    assert any(action.startswith("dead_workers: ") and amount for _, action, _, amount in steps)
    assert ledgers.image(database) + ledgers.image(database, "workers") == before
    assert kept(database) == [0] * len(KEPT)


def test_a_queue_without_findings_is_sound_and_one_whose_check_fails_is_told(
    database: servers.Database,
) -> None:
    assert [one.action for one in keeping.run(full_check, database.dsn).values()] == ["sound"]
    elsewhere = Workers(kit.MAPPING.workers.table, "id", "heartbeat", registered_in="prod")  # type: ignore[union-attr]
    database.execute("INSERT INTO jobs (status, worker, started_at) VALUES ('running', 'x', '2020-01-01')")
    steps = keeping.run_steps(full_check, database.dsn, replace(kit.MAPPING, workers=elsewhere))
    assert ("workers not judged", "skipped") in {(one.action, one.outcome) for one in steps}
