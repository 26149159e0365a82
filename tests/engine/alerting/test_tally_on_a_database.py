"""What a real sweep reports is what the tally reads."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import kit

from queuewarden.engine.alerting.notices import About
from queuewarden.engine.alerting.tally import Tally
from queuewarden.engine.sweep import Sweeper

if TYPE_CHECKING:
    from collections.abc import Callable

    import servers

    from queuewarden.engine.alerting.notices import Observation

MAIL = About("test", "mail")


def observed(database: servers.Database, limits: Any = kit.LIMITS) -> Observation:
    sweeper, tally = Sweeper("test", watched=True), Tally("test")
    report = asyncio.run(kit.sweep_async(database.dsn, limits=limits, sweeper=sweeper))
    tally.swept(report, sweeper.raised.active, list(sweeper.board.on.values()), None, ["mail"], 100.0)
    return tally.observation(110.0, down=False, queues=["mail"])


def test_the_readings_of_a_real_sweep(databases: Callable[..., servers.Database]) -> None:
    database = databases(kit.SCHEMA)
    database.execute("INSERT INTO workers (id, heartbeat) VALUES ('w', now())")
    database.execute(
        "INSERT INTO jobs (status, started_at, attempts, max_attempts)"
        " SELECT 'running', now() - interval '1 h', 3, 3 FROM generate_series(1, 2)"
    )
    database.execute(
        "INSERT INTO jobs (status, enqueued_at) SELECT 'waiting', now() - interval '2 h'"
        " FROM generate_series(1, 4)"
    )
    database.execute(
        "INSERT INTO jobs (status, started_at, finished_at) SELECT state, now() - interval '90 s', now()"
        " FROM unnest(ARRAY['done', 'done', 'done', 'done', 'failed']) AS state"
    )
    seen = observed(database)
    values = {metric: found.get(MAIL) for metric, found in seen.readings.items()}
    assert values["given_up"] == 2
    assert values["waiting_jobs"] == 4
    assert values["active_workers"] == 1
    assert 7200 <= (values["oldest_waiting_seconds"] or 0) < 7300
    assert 7200 <= (values["oldest_waiting"] or 0) < 7300, "the anomaly"
    assert values["failure_share"] == 0.2
    assert values["average_run_seconds"] == 90
    assert values["failed_in_a_row"] in {2, 3}, "it is looked behind the repairs, which gave up two"
    assert values["critical_failures"] == 0
    assert seen.readings["left_over"][MAIL._replace(subject="stuck_jobs")] == 0
    assert 0 < seen.readings["check_seconds"][MAIL._replace(subject="stuck_jobs")] < 5
    assert 0 < seen.readings["connections_used"][About("test")] < 1
    assert 0 < seen.readings["probe_seconds"][About("test")] < 5


def test_what_a_real_sweep_leaves_over(databases: Callable[..., servers.Database]) -> None:
    database = databases(kit.SCHEMA)
    database.execute("INSERT INTO jobs (status, started_at) VALUES ('running', now() - interval '1 h')")
    seen = observed(database, replace(kit.LIMITS, mode="observe"))
    assert seen.readings["left_over"][MAIL._replace(subject="stuck_jobs")] == 1
    assert "left_over" in seen.settled
    assert seen.readings["given_up"] == {MAIL: 0}


def test_what_a_real_sweep_sets_aside(databases: Callable[..., servers.Database]) -> None:
    database = databases(kit.SCHEMA)
    database.execute("CREATE UNIQUE INDEX ON jobs (label) WHERE status = 'waiting'")
    database.execute("INSERT INTO jobs (label) VALUES ('same')")
    database.execute(
        "INSERT INTO jobs (status, label, started_at) VALUES ('running', 'same', now() - interval '1 h')"
    )
    seen = observed(database)
    assert seen.readings["set_aside"] == {MAIL._replace(subject="stuck_jobs"): 1}
    assert seen.readings["left_over"][MAIL._replace(subject="stuck_jobs")] == 0
