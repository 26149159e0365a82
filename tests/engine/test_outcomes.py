"""How jobs ended lately, and the server's load: only asked for where somebody watches."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import kit
import pytest
from rows import Rows

from queuewarden.engine.sweep import Sweeper

if TYPE_CHECKING:
    from collections.abc import Callable

    import servers

    from queuewarden.engine.report import SweepReport
    from queuewarden.model import Counts

pytestmark = pytest.mark.versions


@pytest.fixture
def rows(databases: Callable[..., servers.Database]) -> Rows:
    return Rows(databases(kit.SCHEMA))


def report(rows: Rows, mapping: Any = kit.MAPPING, *, watched: bool = True) -> SweepReport:
    limits = replace(kit.LIMITS, mode="observe")
    return asyncio.run(kit.sweep_async(rows.dsn, mapping, limits, sweeper=Sweeper("test", watched=watched)))


def counts(rows: Rows, mapping: Any = kit.MAPPING) -> Counts:
    found = report(rows, mapping).queues[0].counts
    assert found is not None
    return found


def ended(rows: Rows, status: str, ago: int, took: int = 10) -> None:
    rows.job(status, f"{ago + took} seconds", finished_at=f"{ago} seconds")


def test_shares_rows_and_averages_of_the_last_hour(rows: Rows) -> None:
    ended(rows, "done", 7200, took=1000)
    ended(rows, "failed", 7000)
    ended(rows, "done", 300, took=20)
    ended(rows, "done", 200, took=40)
    ended(rows, "failed", 100)
    ended(rows, "failed", 50)
    found = counts(rows)
    assert (found.done_last_hour, found.failed_in_a_row) == (2, 2)
    assert found.average_run is not None
    assert found.average_run == pytest.approx(timedelta(seconds=30), abs=timedelta(seconds=1))
    assert found.run_time_ratio is None


def test_infinite_times_are_no_run_times(rows: Rows) -> None:
    ended(rows, "done", 300, took=20)
    rows.database.execute(
        "INSERT INTO jobs (status, started_at, finished_at) VALUES"
        " ('done', '-infinity', now()), ('done', now(), 'infinity')"
    )
    found = counts(rows)
    assert found.done_last_hour == 2
    assert found.average_run == pytest.approx(timedelta(seconds=20), abs=timedelta(seconds=1))


def test_run_times_are_held_against_the_day(rows: Rows) -> None:
    for number in range(25):
        ended(rows, "done", 60 + number, took=60)
        ended(rows, "done", 20_000 + number, took=10)
    ratio = counts(rows).run_time_ratio
    assert ratio == pytest.approx(1, rel=0.05)
    for number in range(500):
        ended(rows, "done", 30_000 + number, took=10)
    assert counts(rows).run_time_ratio == pytest.approx(6, rel=0.05)


def test_failures_only_are_a_row_of_failures(rows: Rows) -> None:
    for ago in (30, 20, 10):
        ended(rows, "failed", ago)
    found = counts(rows)
    assert (found.done_last_hour, found.failed_in_a_row) == (0, 3)


def test_what_is_not_mapped_is_unknown(rows: Rows) -> None:
    ended(rows, "done", 5)
    assert counts(rows, kit.jobs_mapping(finished_at=None)).done_last_hour is None
    found = counts(rows, replace(kit.MAPPING, states=replace(kit.MAPPING.states, failed=())))
    assert (found.done_last_hour, found.failed_in_a_row) == (1, None)
    assert counts(rows, kit.jobs_mapping(started_at=None)).average_run is None


def test_the_servers_load_is_told(rows: Rows) -> None:
    load = report(rows).load
    assert load is not None
    assert 1 <= load.used <= load.most
    assert load.cache_hits is None or 0 <= load.cache_hits <= 1


def test_nobody_watching_costs_nothing(rows: Rows) -> None:
    ended(rows, "done", 5)
    watched, unwatched = report(rows), report(rows, watched=False)
    assert unwatched.load is None
    assert unwatched.queues[0].counts is not None
    assert unwatched.queues[0].counts.done_last_hour is None
    assert unwatched.round_trips < watched.round_trips


def test_the_first_round_trip_is_timed(rows: Rows) -> None:
    found = report(rows)
    assert 0 < found.probe_seconds < found.seconds


def test_repairs_do_not_wait_for_it_and_are_told_though_it_fails(
    rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    from queuewarden.engine.alerting import watch
    from queuewarden.errors import UnavailableError

    job = rows.job("running", "1 hour")

    async def lost(*_: Any) -> None:
        assert rows.of_job(job) == "waiting"
        raise UnavailableError("the connection was lost")

    for name in ("look_at_outcomes", "load"):
        with monkeypatch.context() as patched:
            patched.setattr(watch, name, lost)
            rows.database.execute(
                "UPDATE jobs SET status = 'running', started_at = now() - interval '1 hour'"
            )
            sweeper = Sweeper("test", watched=True)
            with pytest.raises(UnavailableError):
                asyncio.run(kit.sweep_async(rows.dsn, sweeper=sweeper))
            assert sweeper.interrupted is not None
            outcomes = sweeper.interrupted.queues[0].outcomes
            assert sum(one.mended for one in outcomes) == 1, name
