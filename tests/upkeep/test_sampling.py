"""The sampler of one environment: what it makes of sweeps, and when it writes."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import kit
import pytest
import stations
from upkeep.clocks import FIVE, NOON, Clock

from queuewarden.application.upkeep.sampling import MOST, Sampler, interval
from queuewarden.engine.ledger.schema import Schema
from queuewarden.engine.report import QueueReport
from queuewarden.model import Counts, Outcome
from queuewarden.settings.configuration import EnvironmentConfig
from queuewarden.settings.secret import DsnSource

if TYPE_CHECKING:
    from queuewarden.adapters.db.session import Session
    from queuewarden.engine.upkeep.samples import Readings


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def of(sampler: Sampler, at: int, queue: str = "") -> Readings:
    return sampler._open[at, queue]


def test_time_is_up_down_or_unknown(clock: Clock) -> None:
    sampler = Sampler("prod")
    sampler.swept(clock.report(), 30)
    for _ in range(4):
        clock.now += 30
        sampler.swept(clock.report(), 30)
    clock.now += 30
    sampler.failed(30)
    clock.now += 60
    sampler.failed(30)
    clock.now += 5
    sampler.swept(clock.report(), 30)
    found = of(sampler, NOON)
    assert (found.sums["up"], found.sums["down"]) == (150, 65)
    assert (found.sums["sweeps"], found.sums["failed_sweeps"], found.n) == (6, 2, 8)
    assert (found.gauges["latency"].mean, found.gauges["sweep_seconds"].most) == (0.25, 0.5)


def test_a_hole_is_unknown_and_spans_are_cut_where_they_end(clock: Clock) -> None:
    sampler = Sampler("prod")
    clock.now = NOON + 280
    sampler.swept(clock.report(), 30)
    clock.now += 3600
    sampler.swept(clock.report(), 30)
    assert of(sampler, NOON).sums["up"] == 20
    assert of(sampler, NOON + FIVE).sums == {"up": 130}, "150 s hold: three intervals and a minute"
    assert NOON + 2 * FIVE not in {at for at, _ in sampler._open}


def test_moments_are_the_servers(clock: Clock) -> None:
    sampler = Sampler("prod")
    sampler.swept(clock.report(ahead=7200), 30)
    clock.now += 30
    sampler.failed(30)
    assert {at for at, _ in sampler._open} == {NOON + 7200}
    clock.now += 30
    sampler.swept(clock.report(ahead=-7200), 30)
    assert of(sampler, NOON - 7200).sums == {"sweeps": 1}, "a clock that was set back proves no time"


def test_what_is_unknown_of_a_queue_is_absent(clock: Clock) -> None:
    sampler = Sampler("prod")
    outcome = Outcome("prod", "a", "stuck_jobs", "x", "jobs.reset", mended=3)
    failure = replace(outcome, mended=0, error="57014")
    counts = Counts(waiting=4, oldest_waiting=timedelta(seconds=-3))
    sampler.swept(clock.report(QueueReport("a", counts, (outcome, failure)), QueueReport("b", None, ())), 30)
    assert of(sampler, NOON, "a").sums == {"mended": 3, "errors": 1}
    assert {name: one.mean for name, one in of(sampler, NOON, "a").gauges.items()} == {
        "waiting": 4,
        "oldest": 0,
    }
    assert of(sampler, NOON, "b").gauges == {}


def test_an_outage_of_a_year_is_kept_in_bounds(clock: Clock) -> None:
    sampler = Sampler("prod")
    for _ in range(MOST + 50):
        clock.now += FIVE
        sampler.failed(FIVE)
    assert len(sampler._open) == MOST
    assert max(sampler._open)[0] == clock.now


def test_the_interval_is_the_shortest_of_the_queues_where_all_are_longer() -> None:
    slow = replace(kit.LIMITS, interval=timedelta(hours=1))
    config = EnvironmentConfig("prod", DsnSource("D", value="x"), (kit.MAPPING,), kit.LIMITS, {"mail": slow})
    assert interval(config) == 3600
    assert interval(replace(config, queue_limits={})) == 30


def test_the_station_samples_whoever_watches(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    """Nobody hears alerts, and nobody asks for metrics: it is sampled all the same, and fails by itself."""
    made = stations.station(None, "prod", "staging")
    guard = made.guards["prod"]
    made.swept(guard, clock.report())
    clock.now += 30
    made.failed(guard, None)
    assert of(made.samplers["prod"], NOON).sums == {"sweeps": 1, "failed_sweeps": 1, "up": 30}
    asked: list[bool] = []

    async def keep(_: Sampler, session: Session, schema: Schema, targets: object, *, ours: bool) -> None:
        asked.append(ours)
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr(Sampler, "keep", keep)

    async def work() -> None:
        for lease in (None, {"ours": False}, {"ours": True}):
            guard.status.lease = lease
            await made.keep(guard, None, Schema())  # type: ignore[arg-type]
        made.reconfigure(replace(made.configuration, environments=made.configuration.environments[1:]))
        await made.close()

    asyncio.run(work())
    assert asked == [False, False, True]
    assert made.samplers == made.trends == {}, "what is known of an environment goes with it"
