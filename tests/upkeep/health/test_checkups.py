"""Checkups beside a daemon: when one is made, what becomes of it, and that no sweep waits for one."""

from __future__ import annotations

import asyncio
import json
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import kit
import pytest
from commands_kit import MAIL
from eventually import eventually
from metrics.stations import asked, until, value, watched

from queuewarden.application.watching import checkups
from queuewarden.application.watching.checkups import Checkups
from queuewarden.settings.load import load

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import servers

    from queuewarden.engine.upkeep.health.signs import Health


def guard(dsn: str, name: str = "prod", **settings: str) -> Any:
    config = load({f"QUEUEWARDEN_ENV__{name.upper()}__DSN": dsn, **settings}).environments[0]
    return SimpleNamespace(config=config, targets=[])


def made(work: Callable[[Checkups, list[Health]], Any]) -> list[Health]:
    """What checkups found while some work was done."""

    async def run() -> list[Health]:
        found: list[Health] = []
        own = Checkups(lambda _, health: found.append(health))
        try:
            await work(own, found)
        finally:
            await own.close()
        return found

    return asyncio.run(run())


async def _first(found: list[Health]) -> None:
    async with asyncio.timeout(20):
        while not found:  # noqa: ASYNC110 -- nothing to wait on
            await asyncio.sleep(0.01)


def test_one_is_made_at_once_and_not_again_before_its_time(database: servers.Database) -> None:
    async def work(own: Checkups, found: list[Health]) -> None:
        own.swept(guard(database.dsn))
        own.swept(guard(database.dsn))
        await _first(found)
        for _ in range(20):
            own.swept(guard(database.dsn))
            await asyncio.sleep(0.01)

    (health,) = made(work)
    assert "blocked_seconds" in health.settled
    assert checkups.EVERY >= 300


def test_it_is_made_again_when_it_is_due(database: servers.Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkups, "EVERY", 0.05)

    async def work(own: Checkups, found: list[Health]) -> None:
        async with asyncio.timeout(20):
            while len(found) < 3:
                own.swept(guard(database.dsn))
                await asyncio.sleep(0.01)

    assert len(made(work)) == 3


def test_it_leaves_no_connection_and_no_change(databases: Callable[..., servers.Database]) -> None:
    database = databases(kit.SCHEMA)
    database.execute("INSERT INTO jobs (label) VALUES ('x')")
    before = database.rows("SELECT xmin, ctid, * FROM jobs")

    async def work(own: Checkups, found: list[Health]) -> None:
        own.swept(guard(database.dsn))
        await _first(found)

    made(work)
    others = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid() AND application_name LIKE 'queuewarden/%'"
    )
    eventually(lambda: database.value(others) == 0, what="the server has ended the session")
    assert database.rows("SELECT xmin, ctid, * FROM jobs") == before


def test_a_frozen_server_keeps_nobody_from_ending(own_server: servers.OwnServer) -> None:
    ending = 0.0

    async def work(own: Checkups, found: list[Health]) -> None:
        nonlocal ending
        config = guard(own_server.dsn(), QUEUEWARDEN_CONNECT_TIMEOUT="60s", QUEUEWARDEN_LEASE_TTL="10m")
        own.swept(config)
        await _first(found)
        await asyncio.gather(*own._tasks.values())
        own._due.clear()
        own_server.freeze()
        own.swept(config)
        await asyncio.sleep(0.3)
        ending = time.monotonic()

    assert len(made(work)) == 1
    assert time.monotonic() - ending < 15


def test_one_slow_database_does_not_keep_the_others_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []

    async def look(config: Any, *_: Any) -> Any:
        begun.append(config.name)
        if config.name == "slow":
            await asyncio.Event().wait()
        return SimpleNamespace(seconds=0.01)

    monkeypatch.setattr("queuewarden.application.upkeep.checkup.checkup", look)
    monkeypatch.setattr(checkups, "PATIENCE", 0.2)

    async def work(own: Checkups, found: list[Health]) -> None:
        for name in ("slow", "one", "two"):
            own.swept(guard("host=/nowhere dbname=none", name))
        await asyncio.sleep(0.05)
        assert begun == ["slow"], "one at a time"
        async with asyncio.timeout(20):
            while len(found) < 2:  # noqa: ASYNC110 -- as above
                await asyncio.sleep(0.01)
        assert own._tasks.keys() >= {"slow"}, "it goes on"

    made(work)
    assert begun == ["slow", "one", "two"]


def test_behind_a_look_there_is_rest_as_it_took_time(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[float] = []

    async def look(*_: Any) -> Any:
        begun.append(time.monotonic())
        return SimpleNamespace(seconds=0.1)

    monkeypatch.setattr("queuewarden.application.upkeep.checkup.checkup", look)

    async def work(own: Checkups, _: list[Health]) -> None:
        for name in ("one", "two"):
            own.swept(guard("host=/nowhere dbname=none", name))
        async with asyncio.timeout(20):
            while len(begun) < 2:  # noqa: ASYNC110 -- as above
                await asyncio.sleep(0.01)

    made(work)
    assert begun[1] - begun[0] >= 0.1 * checkups.REST


def test_a_server_that_is_down_is_the_guards_to_tell_of() -> None:
    async def work(own: Checkups, _: list[Health]) -> None:
        own.swept(guard("host=/nowhere dbname=none"))
        async with asyncio.timeout(20):
            while own._tasks:  # noqa: ASYNC110 -- as above
                await asyncio.sleep(0.01)

    assert made(work) == []


def test_nobody_is_asked_where_nobody_watches(database: servers.Database) -> None:
    from queuewarden.application.watching.station import Station

    async def work(own: Checkups, _: list[Health]) -> None:
        station = Station(load({"QUEUEWARDEN_ENV__PROD__DSN": database.dsn}), {})
        assert not station.configuration.alerting
        station.checkups = own
        report = SimpleNamespace(queues=(), load=None)
        station.swept(guard(database.dsn), report)  # type: ignore[arg-type]
        assert not own._due

    made(work)


def test_an_index_that_is_invalid_becomes_an_alert_and_a_metric_that_an_outage_hides(
    databases: Callable[..., servers.Database], tmp_path: Path
) -> None:
    database = databases(kit.SCHEMA)
    database.execute("INSERT INTO jobs (label) VALUES ('twice'), ('twice')")
    with pytest.raises(Exception, match="could not create unique index"):
        database.execute("CREATE UNIQUE INDEX CONCURRENTLY broken ON jobs (label)")
    rule = {"RULE__INVALID_INDEXES__FOR": "1ms"}
    settings = {name.removeprefix("QUEUEWARDEN_"): text for name, text in MAIL.items()} | rule

    async def work() -> None:
        async with watched(settings | {"ENV__PROD__DSN": database.dsn}, tmp_path) as station:
            listens = tmp_path / "http"
            faults = {"environment": "prod", "queue": "mail", "kind": "invalid"}
            await until(
                station, lambda found: value(found, "index_faults", **faults) == 1 and listens.is_socket()
            )
            async with asyncio.timeout(20):
                while not (
                    alerts := [one for one in station.alarm.alerts() if one.rule == "invalid_indexes"]
                ):
                    station.alarm.decide()
                    await asyncio.sleep(0.05)
            (alert,) = alerts
            assert alert.summary == "prod/mail: 1 indexes are invalid"
            _, body = await asked(tmp_path, "/api/stats")
            told = json.loads(body)["environments"]["prod"]["health"]
            about = {"reading": "invalid_indexes", "queue": "mail", "subject": None}
            assert {**about, "value": 1.0, "severity": "warning"} in told
            assert all(one["severity"] is None for one in told if one["reading"] == "blocked_seconds")
            status = station.guards["prod"].status
            status.turn("down", "no answer")
            assert station.meter is not None
            station.meter.changed(station.guards["prod"])
            await until(station, lambda found: "index_faults" not in found)

    asyncio.run(work())
