"""What reports and statuses become; an outage is not an idle queue."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from metrics.stations import Samples, samples, value

from queuewarden.adapters.metrics.exposition import merged, part
from queuewarden.adapters.metrics.families import OF_ENVIRONMENT
from queuewarden.adapters.metrics.instruments import Instruments
from queuewarden.application.status import EnvironmentStatus
from queuewarden.application.watching import measures
from queuewarden.checks import CHECKS
from queuewarden.engine.outcomes import Load
from queuewarden.engine.report import QueueReport, SweepReport
from queuewarden.errors import BusyError, UnavailableError
from queuewarden.model import Anomaly, BrakeChange, Counts, Outcome, ServerState

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
RESET = Outcome(
    "prod", "mail", "stuck_jobs", "stuck", "jobs.reset", found=5, mended=3, skipped=2, seconds=0.02
)
STUCK = {"environment": "prod", "queue": "mail", "check": "stuck_jobs"}
COUNTS = Counts(waiting=4, running=2, live_workers=1, silent_workers=0, oldest_waiting=timedelta(seconds=9))


def report(*outcomes: Outcome, looked: Any = frozenset(CHECKS), load: Load | None = None) -> SweepReport:
    server = ServerState(NOW, NOW, standby=False, timeline="1", system="1")
    queue = QueueReport("mail", COUNTS, outcomes, looked=looked)
    return SweepReport("prod", "ab12", server, (queue,), (), (), 0.01, 3, 0.002, load)


def fresh() -> Instruments:
    one = Instruments(OF_ENVIRONMENT, ("prod",))
    measures.begin(one)
    return one


def shown(one: Instruments) -> Samples:
    return samples(merged([part(one)]))


def taken(*reports: SweepReport) -> Samples:
    one = fresh()
    for each in reports:
        measures.take(one, each)
    return shown(one)


def status(**parts: Any) -> EnvironmentStatus:
    one = EnvironmentStatus("prod", "up", last_sweep=NOW, counts={"mail": COUNTS})
    for name, part_ in parts.items():
        setattr(one, name, part_)
    return one


def test_work_is_counted_by_check() -> None:
    found = taken(report(RESET), report(RESET))
    assert value(found, "findings_total", **STUCK) == 10
    assert value(found, "repairs_total", **STUCK) == 6
    assert value(found, "skipped_total", **STUCK) == 4
    assert value(found, "guarded_write_races_total", **STUCK) == 4
    assert value(found, "left_over_rows", **STUCK) == 2
    assert value(found, "check_duration_seconds_sum", environment="prod", check="stuck_jobs") == 0.04


def test_checks_that_found_nothing_are_known_to_have_found_nothing() -> None:
    found = taken(report())
    assert {value(found, "repairs_total", **(STUCK | {"check": check})) for check in CHECKS} == {0}
    assert value(found, "check_duration_seconds_count", environment="prod", check="stuck_jobs") is None


def test_what_a_brake_holds_back_is_no_race() -> None:
    found = taken(report(replace(RESET, mended=0, skipped=5, held="grace")))
    assert value(found, "skipped_total", **STUCK) == 5
    assert value(found, "guarded_write_races_total", **STUCK) == 0


def test_what_is_only_reported_is_no_race() -> None:
    seen = Outcome("prod", "mail", "orphans", "running", "orphans.running", found=2, skipped=2)
    assert value(taken(report(seen)), "guarded_write_races_total", **(STUCK | {"check": "orphans"})) == 0


def test_what_a_check_left_over_stays_until_it_looks_again() -> None:
    paced = report(looked=frozenset({"dead_workers"}))
    assert value(taken(report(RESET), paced), "left_over_rows", **STUCK) == 2
    assert value(taken(report(RESET), report()), "left_over_rows", **STUCK) == 0


def test_a_sweep_with_a_failed_check_is_partial_and_its_error_counted() -> None:
    found = taken(report(replace(RESET, error="42501")), report())
    assert value(found, "sweeps_total", environment="prod", outcome="partial") == 1
    assert value(found, "sweeps_total", environment="prod", outcome="ok") == 1
    assert value(found, "database_errors_total", environment="prod", sqlstate_class="42") == 1


def test_what_a_sweep_did_before_it_was_cut_short_counts() -> None:
    one = fresh()
    measures.take_work(one, report(RESET))
    measures.take_failure(one, psycopg.OperationalError("gone"))
    found = shown(one)
    assert value(found, "repairs_total", **STUCK) == 3
    assert value(found, "sweeps_total", environment="prod", outcome="ok") == 0
    assert value(found, "sweeps_total", environment="prod", outcome="failed") == 1


@pytest.mark.parametrize(
    ("error", "label"),
    [
        (psycopg.OperationalError("connection refused"), "connection"),
        (psycopg.errors.InsufficientPrivilege("no"), "42"),
        (UnavailableError("a standby"), "connection"),
        (BusyError("another guard"), None),
        (ZeroDivisionError(), None),
        (None, None),
    ],
)
def test_an_error_is_the_databases_only_where_it_is(error: BaseException | None, label: str | None) -> None:
    one = fresh()
    measures.take_failure(one, error)
    found = shown(one)["database_errors_total"]
    counted = {dict(labels)["sqlstate_class"] for labels, count in found.items() if count}
    assert counted == ({label} if label else set())


def test_what_is_known_is_shown_and_what_is_unknown_is_absent() -> None:
    one = fresh()
    measures.show(one, status(lease={"ours": False, "holder": "x", "epoch": 3}), 2)
    found = shown(one)
    assert value(found, "jobs", environment="prod", queue="mail", state="waiting") == 4
    assert value(found, "jobs", environment="prod", queue="mail", state="failed") is None
    assert value(found, "workers", environment="prod", queue="mail", liveness="silent") == 0
    assert value(found, "workers", environment="prod", queue="mail", liveness="registered") is None
    assert value(found, "oldest_waiting_seconds", environment="prod", queue="mail") == 9
    assert value(found, "lease_held", environment="prod") == 0
    assert value(found, "database_connections", environment="prod") == 2
    assert value(found, "last_successful_sweep_timestamp_seconds", environment="prod") == NOW.timestamp()


@pytest.mark.parametrize("state", ["down", "starting"])
def test_an_outage_shows_nothing_of_what_it_hides(state: str) -> None:
    one = fresh()
    measures.take(one, report(RESET, load=Load(5, 100, 0.9)))
    brakes = (BrakeChange(on=True, kind="grace", queue=None, why="x"),)
    anomalies = (Anomaly("stalled", "prod", "mail"),)
    known = status(lease={"ours": True}, brakes=brakes, anomalies=anomalies)
    measures.show(one, known, 1)
    hidden = {"jobs", "workers", "oldest_waiting_seconds", "lease_held", "brake", "anomalies"}
    hidden |= {"left_over_rows", "server_connections", "server_connections_max", "server_cache_hit_ratio"}
    assert hidden <= set(shown(one))
    known.state = state  # type: ignore[assignment]
    measures.show(one, known, 0)
    assert not hidden & set(shown(one))
    assert value(shown(one), "repairs_total", **STUCK) == 3


def test_brakes_and_anomalies_are_counted_by_kind() -> None:
    brakes = tuple(
        BrakeChange(on=True, kind=kind, queue="mail", why="x")
        for kind in ("mass_repair:stuck_jobs", "mass_repair:orphans", "mass_death")
    )
    anomalies = (
        Anomaly("wedged", "prod", "mail", "w1"),
        Anomaly("wedged", "prod", "mail", "w2"),
        Anomaly("drift", "prod", None),
    )
    one = fresh()
    measures.show(one, status(brakes=brakes, anomalies=anomalies), 1)
    found = shown(one)
    held = {
        kind: value(found, "brake", environment="prod", kind=kind)
        for kind in ("mass_repair", "mass_death", "grace")
    }
    assert held == {"mass_repair": 2, "mass_death": 1, "grace": 0}
    assert value(found, "anomalies", environment="prod", queue="mail", kind="wedged") == 2
    assert value(found, "anomalies", environment="prod", queue="", kind="drift") == 1
