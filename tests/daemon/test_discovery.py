"""With a DSN and no queue, the daemon looks for the tables of the presets that it knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from daemons import QUEUE

from queuewarden.application.demo import schema

if TYPE_CHECKING:
    from collections.abc import Callable

    import servers

pytestmark = pytest.mark.slow

BARE = {name: value for name, value in QUEUE.items() if not name.startswith("QUEUE__")}


def test_an_empty_database_is_told_how_to_map_a_table(
    run: Callable[..., Any], database: servers.Database
) -> None:
    daemon = run(BARE | {"DSN": database.dsn})
    assert "QUEUEWARDEN_QUEUE__NAME__JOBS__TABLE" in daemon.wait_for("queue.unmapped")["hint"]
    daemon.wait_for("environment.status", up=True, count=3)
    assert len(daemon.events("queue.unmapped")) == 1


def test_tables_of_our_own_presets_are_guarded(run: Callable[..., Any], database: servers.Database) -> None:
    with database.connect() as connection:
        schema.create(connection)
    daemon = run(BARE | {"DSN": database.dsn, "LOG_LEVEL": "debug"})
    daemon.wait_for("environment.status", up=True)
    daemon.wait_for("sweep.done", count=2)
    assert not daemon.events("queue.unmapped")
    assert not daemon.events("queue.drifted")
    assert daemon.events("environment.status")[-1]["waiting_jobs"] == 0


def test_tables_that_resemble_a_preset_are_told_what_differs(
    run: Callable[..., Any], database: servers.Database
) -> None:
    with database.connect() as connection:
        schema.create(connection)
    database.execute("ALTER TABLE extraction_queue RENAME attemtps TO attempts")
    hint = run(BARE | {"DSN": database.dsn}).wait_for("queue.unmapped")["hint"]
    assert "differs: extraction_queue.attemtps missing" in hint
    assert "QUEUEWARDEN_QUEUE__EXTRACTION__PRESET=extraction" in hint
    assert "QUEUEWARDEN_QUEUE__EXTRACTION__JOBS__ATTEMPTS" in hint
    assert "only observed until" not in hint


def test_a_queue_that_appears_later_is_found(run: Callable[..., Any], database: servers.Database) -> None:
    """The catalog is read anew now and then, and after a connection was lost."""
    daemon = run(BARE | {"DSN": database.dsn})
    daemon.wait_for("queue.unmapped")
    with database.connect() as connection:
        schema.create(connection)
    database.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name ~ '^queuewarden/' AND datname = current_database()"
    )
    daemon.wait_for("environment.status", waiting_jobs=0)
