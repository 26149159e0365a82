"""The meter: what is shown when, and what it costs to ask."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from metrics.stations import samples, value
from metrics.test_measures import RESET, report

from queuewarden.application.alerting.own_readings import OwnReadings
from queuewarden.application.status import EnvironmentStatus
from queuewarden.application.watching import metering
from queuewarden.application.watching.metering import Meter

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest


class Station(SimpleNamespace):
    """As much of one as a meter asks for."""

    def __init__(self, *names: str) -> None:
        super().__init__(
            guards={name: guard(name) for name in names},
            own=OwnReadings(),
            alarm=SimpleNamespace(alerts=list),
        )


def guard(name: str) -> Any:
    status = EnvironmentStatus(name, "up")
    return SimpleNamespace(
        config=SimpleNamespace(name=name),
        status=status,
        due=time.monotonic() + 1000,
        connections=1,
        caretaker=SimpleNamespace(sight=None),
    )


def sweep(meter: Meter, one: Any) -> None:
    """As a station tells of it."""
    done = report(RESET)
    one.status.take(done, {"mail"})
    meter.swept(one, done)
    meter.changed(one)


def running(work: Callable[[Meter, Station], Any], *names: str) -> Any:
    async def inside() -> Any:
        station = Station(*names)
        return await work(Meter(station), station)  # type: ignore[arg-type]

    return asyncio.run(inside())


def test_an_environment_that_is_gone_vanishes_and_begins_anew() -> None:
    async def work(meter: Meter, station: Station) -> None:
        sweep(meter, station.guards["a"])
        sweep(meter, station.guards["b"])
        assert b'"b"' in meter.exposition()
        gone = station.guards.pop("b")
        meter.changed(gone)  # its last words
        assert b'"b"' not in meter.exposition()
        station.guards["b"] = guard("b")
        found = samples(meter.exposition())
        assert value(found, "sweeps_total", environment="b", outcome="ok") == 0

    running(work, "a", "b")


def test_a_queue_that_is_gone_vanishes_but_not_in_an_outage() -> None:
    async def work(meter: Meter, station: Station) -> None:
        one = station.guards["a"]
        sweep(meter, one)
        one.status.counts = {}
        one.status.turn("down", "x")
        meter.failed(one, None)
        meter.changed(one)
        assert b'repairs_total{check="stuck_jobs",environment="a",queue="mail"} 3.0' in meter.exposition()
        one.status.turn("up")
        empty = report()
        one.status.take(empty, set())
        meter.swept(one, empty)
        meter.changed(one)
        assert b'"mail"' not in meter.exposition()

    running(work, "a")


def test_a_queue_that_is_not_due_in_the_first_sweep_after_an_outage_keeps_its_counters() -> None:
    async def work(meter: Meter, station: Station) -> None:
        one = station.guards["a"]
        seldom = replace(report(RESET), queues=(replace(report(RESET).queues[0], queue="seldom"),))
        one.status.take(seldom, {"mail", "seldom"})
        meter.swept(one, seldom)
        one.status.counts = {}
        done = report()
        one.status.take(done, {"mail", "seldom"})
        meter.swept(one, done)
        meter.changed(one)
        found = samples(meter.exposition())
        assert value(found, "repairs_total", environment="a", queue="seldom", check="stuck_jobs") == 3

    running(work, "a")


def test_a_refused_reload_shows_until_one_is_taken() -> None:
    async def work(meter: Meter, station: Station) -> None:
        for rejected, shown in ((False, 1), (True, 0), (False, 1)):
            station.own.config_rejected = rejected
            assert value(samples(meter.exposition()), "config_reload_successful") == shown

    running(work)


def test_a_guard_that_hangs_is_not_up() -> None:
    async def work(meter: Meter, station: Station) -> None:
        one = station.guards["a"]
        sweep(meter, one)
        assert value(samples(meter.exposition()), "up", environment="a") == 1
        one.due = time.monotonic() - 1
        assert value(samples(meter.exposition()), "up", environment="a") == 0
        one.due = time.monotonic() + 10
        assert value(samples(meter.exposition()), "up", environment="a") == 1

    running(work, "a")


def test_an_environment_that_has_not_answered_yet_is_neither_up_nor_down() -> None:
    async def work(meter: Meter, station: Station) -> None:
        station.guards["a"].status.state = "starting"
        found = samples(meter.exposition())
        assert "up" not in found
        assert value(found, "sweeps_total", environment="a", outcome="ok") == 0

    running(work, "a")


def test_asking_renders_little_and_the_rest_is_rendered_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    rendered: list[object] = []
    real = metering.part
    monkeypatch.setattr(metering, "part", lambda one: (rendered.append(one), real(one))[1])

    async def work(meter: Meter, station: Station) -> None:
        meter.exposition()
        for one in station.guards.values():
            sweep(meter, one)
        rendered.clear()
        meter.exposition()
        assert len(rendered) == 2  # the daemon's own numbers, and its process
        async with asyncio.timeout(30):
            while len(rendered) < len(station.guards) + 2:  # noqa: ASYNC110 -- nobody tells
                await asyncio.sleep(0.01)
        rendered.clear()
        found = samples(meter.exposition())
        assert len(rendered) == 2
        swept = [value(found, "sweeps_total", environment=name, outcome="ok") for name in station.guards]
        assert set(swept) == {1}

    running(work, *(f"e{number}" for number in range(20)))


def test_few_environments_are_always_told_as_they_are() -> None:
    async def work(meter: Meter, station: Station) -> None:
        for times in (1, 2, 3):
            for one in station.guards.values():
                sweep(meter, one)
            found = samples(meter.exposition())
            assert {
                value(found, "sweeps_total", environment=name, outcome="ok") for name in station.guards
            } == {times}

    running(work, *(f"e{number}" for number in range(metering.FEW)))


def test_alerts_are_counted_by_environment_and_severity_as_they_are_now() -> None:
    def alert(severity: str, environment: str) -> Any:
        return SimpleNamespace(severity=severity, about=SimpleNamespace(environment=environment))

    async def work(meter: Meter, station: Station) -> None:
        def shown(environment: str, severity: str) -> float | None:
            return value(samples(meter.exposition()), "alerts", environment=environment, severity=severity)

        firing: list[Any] = []
        station.alarm.alerts = lambda: firing
        assert shown("a", "critical") == 0
        firing += [alert("critical", "a"), alert("critical", "a"), alert("warning", "")]
        assert shown("a", "critical") == 2
        assert shown("", "warning") == 1
        assert shown("b", "critical") == 0
        firing.clear()
        assert shown("a", "critical") == 0

    running(work, "a", "b")


def test_what_changes_together_is_rendered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rendered: list[object] = []
    real = metering.part
    monkeypatch.setattr(metering, "part", lambda one: (rendered.append(one), real(one))[1])

    async def work(meter: Meter, station: Station) -> None:
        for _ in range(5):
            sweep(meter, station.guards["a"])
        await asyncio.sleep(metering.SOON * 3)

    running(work, "a")
    assert len(rendered) == 1


def test_a_hundred_environments_are_told_of_in_milliseconds() -> None:
    async def work(meter: Meter, station: Station) -> float:
        for one in station.guards.values():
            sweep(meter, one)
        meter.exposition()
        took = []
        for one in list(station.guards.values()) * 2:
            sweep(meter, one)
            begun = time.perf_counter()
            meter.exposition()
            took.append(time.perf_counter() - begun)
        return sorted(took)[len(took) // 2]

    # A few milliseconds on a quiet machine.
    assert running(work, *(f"e{number}" for number in range(100))) < 0.1


def test_its_library_is_not_imported_where_nobody_can_ask() -> None:
    code = (
        "import sys, queuewarden.application.daemon;"
        "print([m for m in sys.modules if m.startswith(('prometheus_client', 'fastapi'))])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert said.stdout.strip() == "[]"
