"""What comes out of a daemon that repairs one database while another is down."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from metrics.stations import value

if TYPE_CHECKING:
    from metrics.stations import Samples

MAIL = {"environment": "prod", "queue": "mail"}


def of(scene: Samples, environment: str) -> set[str]:
    return {
        name
        for name, values in scene.items()
        if any(dict(labels).get("environment") == environment for labels in values)
    }


def test_the_repairs_are_counted(scene: Samples) -> None:
    assert value(scene, "repairs_total", **MAIL, check="stuck_jobs") == 3
    assert value(scene, "repairs_total", **MAIL, check="dead_workers") == 1
    assert value(scene, "repairs_total", **MAIL, check="positions") == 0


def test_the_queue_is_as_it_was_left(scene: Samples) -> None:
    assert value(scene, "up", environment="prod") == 1
    assert value(scene, "jobs", **MAIL, state="failed") == 2
    assert value(scene, "jobs_ended_last_hour", **MAIL, outcome="done") == 1
    assert value(scene, "job_run_seconds_mean", **MAIL) == 300
    assert value(scene, "workers", **MAIL, liveness="alive") == 1
    assert value(scene, "lease_held", environment="prod") == 1
    # One for the sweeps, one for the lease, one for the record of upkeep.
    assert value(scene, "database_connections", environment="prod") == 3


def test_p10_nothing_says_up_in_an_outage(scene: Samples) -> None:
    assert value(scene, "up", environment="gone") == 0
    assert (value(scene, "sweeps_total", environment="gone", outcome="failed") or 0) >= 1
    assert (value(scene, "database_errors_total", environment="gone", sqlstate_class="connection") or 0) >= 1


def test_r13_an_outage_is_no_idle_queue(scene: Samples) -> None:
    assert of(scene, "gone") == {
        "up", "sweeps_total", "database_errors_total", "database_round_trips_total", "database_connections",
        "alerts",
    }  # fmt: skip
    assert "jobs" in of(scene, "prod")


def test_upkeep_is_told_of(scene: Samples) -> None:
    task = {"environment": "prod", "task": "analyze"}
    assert value(scene, "upkeep_failed", **task) == 0
    assert value(scene, "upkeep_overdue_seconds", **task) == 0
    assert (value(scene, "upkeep_last_run_seconds", **task) or 99) < 60
    assert (value(scene, "upkeep_last_success_timestamp_seconds", **task) or 0) > 1.7e9
    age = value(scene, "backup_verified_age_seconds", environment="prod")
    assert age == pytest.approx(3 * 86_400, abs=600)


def test_the_health_of_the_database_was_looked_at(scene: Samples) -> None:
    assert value(scene, "server_longest_lock_wait_seconds", environment="prod") == 0
    assert 0 < (value(scene, "server_wraparound_ratio", environment="prod") or 0) < 0.01
    assert (value(scene, "table_bytes", **MAIL) or 0) >= 8192
    assert value(scene, "index_faults", **MAIL, kind="invalid") == 0
    # Nobody may say 0 of what this server does not have, or does not tell.
    assert "server_replication_lag_seconds" not in scene
    assert "server_certificate_end_timestamp_seconds" not in scene
    assert "table_bloat_ratio" not in scene


def test_the_api_counts_who_asks(scene: Samples) -> None:
    answered = value(scene, "http_requests_total", route="/metrics", status_class="2xx")
    assert answered == 1
    assert value(scene, "http_refused_total", status="401") == 0


def test_the_process_is_ours(scene: Samples) -> None:
    assert (value(scene, "process_resident_memory_bytes") or 0) > 20e6
    assert (value(scene, "process_open_fds") or 0) > 5
