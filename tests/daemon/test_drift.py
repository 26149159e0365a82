"""Drift under a running daemon: it goes to observing, says so once, and returns when the tables fit again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from daemons import QUEUE
from eventually import eventually
from library_schemas import ddl
from receivers import Receiver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import servers

pytestmark = pytest.mark.slow

OFTEN = """
from queuewarden.application import catalog
catalog.RESOLVE_EVERY = 0.2
from queuewarden.application.cli import main
main()
"""
"""A daemon that reads the catalog before nearly each sweep."""

RIVER = {name: value for name, value in QUEUE.items() if not name.startswith("QUEUE__")} | {
    "QUEUE__RIVER__PRESET": "river",
    "QUEUE__RIVER__MODE": "repair",
    "RULE__DRIFT__FOR": "0s",
    "LOG_LEVEL": "debug",
}
STUCK = """
INSERT INTO river_job (state, attempt, attempted_at, args, kind)
VALUES ('running', 1, now() - interval '3 hours', '{}', 'mail')"""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    yield found
    found.close()


def test_it_observes_while_a_library_s_tables_do_not_fit(
    run: Callable[..., Any], databases: Callable[..., servers.Database], receiver: Receiver
) -> None:
    database = databases(ddl("river"))
    settings = RIVER | {"ENV__PROD__DSN": database.dsn, "ALERT__OPS__URL": receiver.url}
    daemon = run(settings, program=("-c", OFTEN))
    database.execute(STUCK)
    daemon.wait_for("jobs.reset")
    assert not daemon.events("queue.drifted")

    database.execute("ALTER TABLE river_job RENAME CONSTRAINT finalized_or_finalized_at_null TO finalized")
    line = daemon.wait_for("queue.drifted")
    assert (line["level"], line["queue"]) == ("error", "river")
    assert "constraint finalized_or_finalized_at_null is missing (read against versions" in line["fault"]
    database.execute(STUCK)
    before = database.rows("SELECT t::text, xmin::text FROM river_job AS t ORDER BY id")
    told = len(daemon.events("sweep.done"))
    daemon.wait_for("sweep.done", count=told + 3)
    assert database.rows("SELECT t::text, xmin::text FROM river_job AS t ORDER BY id") == before
    eventually(
        lambda: [one for one in receiver.titles if one.startswith("[critical]")], seconds=20, what="the alert"
    )

    database.execute("ALTER TABLE river_job RENAME CONSTRAINT finalized TO finalized_or_finalized_at_null")
    daemon.wait_for("queue.fits", queue="river")
    daemon.wait_for("jobs.reset", count=2)
    daemon.wait_for("alert.resolved", rule="drift")
    assert len(daemon.events("queue.drifted")) == 1
    assert len(daemon.events("anomaly.raised", kind="drift")) == 1
    assert len(daemon.events("alert.fired", rule="drift")) == 1
    lines = [line for body in receiver.bodies for line in body["message"].splitlines()]
    assert [line for line in lines if line.startswith("CRITICAL ")] == [
        "CRITICAL prod/river does not fit the database"
    ]
    assert daemon.end() == 0
