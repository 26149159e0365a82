"""The real process does upkeep by the clock, beside its sweeps, and ends in time in the middle of it."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import kit
import pytest
from daemons import QUEUE
from eventually import eventually

from queuewarden.engine.ledger import schema

if TYPE_CHECKING:
    from collections.abc import Callable

    import servers

pytestmark = pytest.mark.slow

EACH_DAY = f"0 {(datetime.now(UTC).hour + 12) % 24} * * *"
"""As far from now as can be: while a test runs, nothing more becomes due."""
CLOCK = {"UPKEEP__VACUUM": EACH_DAY, "UPKEEP__JITTER": "0", "INTERVAL": "200ms", "LOG_LEVEL": "debug"}


@pytest.fixture
def database(databases: Callable[..., servers.Database]) -> servers.Database:
    database = databases(kit.SCHEMA + schema.script())
    database.execute(
        "INSERT INTO queuewarden.upkeep_runs (environment, task, trigger, actor, slot, schedule, alive_until)"
        " VALUES ('prod', 'vacuum', 'schedule', 'before', now() - interval '2 days', %s, now())",
        [f"{EACH_DAY} UTC"],
    )
    return database


def runs(database: servers.Database) -> list[tuple[Any, ...]]:
    return database.rows(
        "SELECT task, result FROM queuewarden.upkeep_runs WHERE actor <> 'before' ORDER BY number"
    )


def hold_up(database: servers.Database) -> None:
    """Have a VACUUM of the jobs table take a quarter of a minute: it rests at each of many pages."""
    database.execute("ALTER TABLE jobs SET (fillfactor = 10)")
    database.execute("INSERT INTO jobs (status) SELECT 'done' FROM generate_series(1, 20000)")
    database.execute("DELETE FROM jobs WHERE id % 2 = 0")
    database.execute(f"ALTER DATABASE {database.name} SET vacuum_cost_limit = 1")


def gaps(daemon: Any) -> list[float]:
    """Seconds between its sweeps."""
    times = [datetime.fromisoformat(one["timestamp"]).timestamp() for one in daemon.events("sweep.done")]
    return [second - first for first, second in itertools.pairwise(times)]


def test_what_is_due_is_done_while_sweeps_go_on(run: Callable[..., Any], database: servers.Database) -> None:
    database.execute("INSERT INTO jobs (status) SELECT 'done' FROM generate_series(1, 20000)")
    database.execute("DELETE FROM jobs WHERE id % 2 = 0")
    daemon = run(QUEUE | CLOCK | {"ENV__PROD__DSN": database.dsn})
    done = daemon.wait_for("upkeep.done", task="vacuum")
    assert done["environment"] == "prod"
    assert any(step.startswith("public.jobs: vacuumed ") for step in done["steps"])
    assert runs(database) == [("vacuum", "done")]
    daemon.wait_for("sweep.done", count=5)
    assert max(gaps(daemon)) < 5
    assert daemon.end() == 0
    assert not daemon.events("upkeep.mistake")


def test_it_ends_in_time_amid_a_task_and_the_next_one_finishes_it(
    run: Callable[..., Any], database: servers.Database
) -> None:
    hold_up(database)
    settings = QUEUE | CLOCK | {"ENV__PROD__DSN": database.dsn}
    daemon = run(settings)
    vacuuming = "SELECT count(*) FROM pg_stat_progress_vacuum WHERE datname = current_database()"
    eventually(lambda: database.value(vacuuming))
    daemon.wait_for("sweep.done", count=len(daemon.events("sweep.done")) + 3)
    assert database.value(vacuuming), "sweeps go on meanwhile"
    assert daemon.end() == 0
    assert daemon.events("upkeep.killed")
    eventually(lambda: not database.value(vacuuming), seconds=5, what="the server has ended it")
    assert runs(database) == [("vacuum", "killed")]
    database.execute(f"ALTER DATABASE {database.name} RESET vacuum_cost_limit")
    again = run(settings)
    again.wait_for("upkeep.done")
    assert runs(database) == [("vacuum", "killed"), ("vacuum", "done")]


def test_killed_amid_a_task_it_is_found_by_the_next(
    run: Callable[..., Any], database: servers.Database
) -> None:
    hold_up(database)
    settings = QUEUE | CLOCK | {"ENV__PROD__DSN": database.dsn, "LEASE_TTL": "5s"}
    daemon = run(settings)
    eventually(lambda: runs(database) == [("vacuum", "running")])
    daemon.process.kill()
    # Nobody waits a minute for the sign of life to grow old, nor for the VACUUM that goes on.
    database.execute("UPDATE queuewarden.upkeep_runs SET alive_until = now() WHERE result = 'running'")
    database.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'queuewarden/upkeep' AND datname = current_database()"
    )
    database.execute(f"ALTER DATABASE {database.name} RESET vacuum_cost_limit")
    again = run(settings)
    again.wait_for("upkeep.done")
    assert runs(database) == [("vacuum", "killed"), ("vacuum", "done")]
