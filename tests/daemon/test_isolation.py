"""An error of one environment ends in its own task; the watchdog hears of all of them or of none."""

from __future__ import annotations

import asyncio
import collections
import itertools
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest
from daemons import QUEUE
from eventually import eventually

from queuewarden.adapters import logging
from queuewarden.application import guard as guards
from queuewarden.application.daemon import Daemon
from queuewarden.settings.load import load

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    import servers
    from daemons import Systemd

pytestmark = pytest.mark.slow


@pytest.fixture
def silent() -> Any:
    """A port that accepts connections, and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=200) as listener:
        yield listener.getsockname()[1]


def daemon_of(tmp_path: Path, **settings: str) -> Daemon:
    environ = {f"QUEUEWARDEN_{name}": value for name, value in (QUEUE | settings).items()}
    environ["QUEUEWARDEN_STATUS_FILE"] = str(tmp_path / "status.json")
    configuration = load(environ, None, default_file=tmp_path / "none")
    logging.configure("error", "json")
    return Daemon(configuration, None)


def while_it_runs(daemon: Daemon, work: Callable[[], Awaitable[None]]) -> None:
    """Do something while the daemon runs in this process; then end it."""

    async def both() -> None:
        running = asyncio.create_task(daemon.run())
        try:
            await until(lambda: len(daemon._guards) == len(daemon.configuration.environments))
            await work()
        finally:
            daemon._stop.set()
            await asyncio.wait_for(running, 20)

    asyncio.run(both())


async def until(condition: Callable[[], object], seconds: float = 15) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 -- the other side is a server
            await asyncio.sleep(0.02)


async def unfed(daemon: Daemon, systemd: Systemd) -> int:
    """The watchdog is not pinged, though the status is told again and again; the pings before."""
    daemon._notifier.status("from now on")
    await until(lambda: systemd.count("STATUS=from now on"))
    pinged, told = systemd.count("WATCHDOG=1"), systemd.count("STATUS=")
    await until(lambda: systemd.count("STATUS=") > told + 10)
    assert systemd.count("WATCHDOG=1") == pinged
    return pinged


def test_a_mistake_of_ours_in_one_environment_does_not_end_the_others(
    tmp_path: Path, prod: servers.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = guards.Guard._sweep
    failures = 0

    async def failing(self: guards.Guard, *arguments: Any) -> None:
        nonlocal failures
        if self.config.name == "staging" and failures < 3:
            failures += 1
            raise KeyError("hunter2")
        await sweep(self, *arguments)

    monkeypatch.setattr(guards.Guard, "_sweep", failing)
    daemon = daemon_of(tmp_path, ENV__PROD__DSN=prod.dsn, ENV__STAGING__DSN=prod.dsn)

    async def work() -> None:
        await until(lambda: daemon._guards["staging"].status.state == "down")
        staging, other = daemon._guards["staging"], daemon._guards["prod"]
        assert staging.status.reason == "internal error: KeyError"
        assert not staging._sweeper.grace.outage, "no outage of the database"
        await until(lambda: other.status.state == "up")
        await until(lambda: staging.status.state == "up")
        assert failures == 3

    while_it_runs(daemon, work)


def test_p4_a_guard_that_ends_is_told_and_the_watchdog_is_not_pinged_any_more(
    tmp_path: Path, prod: servers.Database, systemd: Systemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", systemd.environ["NOTIFY_SOCKET"])
    monkeypatch.setenv("WATCHDOG_USEC", "150000")
    monkeypatch.setattr(guards, "SLACK", 0.2)
    daemon = daemon_of(tmp_path, ENV__PROD__DSN=prod.dsn, ENV__STAGING__DSN=prod.dsn)
    ended: list[str] = []
    withheld: list[list[str]] = []

    def told(event: str, late: list[str] | None = None, **_: object) -> None:
        ended.append(event)
        if late is not None:
            withheld.append(late)

    monkeypatch.setattr(daemon._log, "error", told)

    async def work() -> None:
        await until(lambda: systemd.count("WATCHDOG=1") > 3)
        staging = daemon._guards["staging"]
        staging._audience = None  # type: ignore[assignment]
        await until(daemon._tasks["staging"].done)
        await until(lambda: staging.due < time.monotonic() and "staging" in daemon._late)
        assert "guard.ended" in ended
        await unfed(daemon, systemd)
        assert "staging" in withheld[-1]
        assert all(one != other for one, other in itertools.pairwise(withheld)), "each once"
        assert daemon._guards["prod"].status.state == "up"

    while_it_runs(daemon, work)


def test_p4_a_sweep_that_hangs_stops_the_pings_and_one_that_goes_on_brings_them_back(
    tmp_path: Path, prod: servers.Database, systemd: Systemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", systemd.environ["NOTIFY_SOCKET"])
    monkeypatch.setenv("WATCHDOG_USEC", "150000")
    monkeypatch.setattr(guards, "SLACK", 0.2)
    sweep = guards.Guard._sweep
    going_on = asyncio.Event()
    going_on.set()
    hangs = asyncio.Event()

    async def slow(self: guards.Guard, *arguments: Any) -> None:
        await sweep(self, *arguments)
        self.announce(0.0)
        if not going_on.is_set():
            hangs.set()
        await going_on.wait()

    monkeypatch.setattr(guards.Guard, "_sweep", slow)
    daemon = daemon_of(tmp_path, ENV__PROD__DSN=prod.dsn)

    async def work() -> None:
        await until(lambda: systemd.count("WATCHDOG=1") > 3)
        going_on.clear()
        await hangs.wait()
        await until(lambda: daemon._guards["prod"].due < time.monotonic() and daemon._late == ["prod"])
        pinged = await unfed(daemon, systemd)
        going_on.set()
        await until(lambda: systemd.count("WATCHDOG=1") > pinged + 2)

    while_it_runs(daemon, work)


def test_a_database_that_is_down_or_hangs_makes_progress_for_the_watchdog(
    tmp_path: Path, silent: int, systemd: Systemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", systemd.environ["NOTIFY_SOCKET"])
    monkeypatch.setenv("WATCHDOG_USEC", "150000")
    daemon = daemon_of(
        tmp_path,
        ENV__PROD__DSN=f"host=127.0.0.1 port={silent} user=x",
        ENV__STAGING__DSN="host=127.0.0.1 port=1 user=x",
        CONNECT_TIMEOUT="2s",
    )

    async def work() -> None:
        await until(lambda: all(one.status.state == "down" for one in daemon._guards.values()))
        pinged = systemd.count("WATCHDOG=1")
        await asyncio.sleep(4)
        assert systemd.count("WATCHDOG=1") > pinged + 20
        assert daemon._late == []
        assert systemd.count("STATUS=0/2 up; prod DOWN") > 0

    while_it_runs(daemon, work)


def test_it_is_ready_within_ten_seconds_although_a_database_hangs(
    run: Callable[..., Any], prod: servers.Database, silent: int, systemd: Systemd
) -> None:
    daemon = run(
        QUEUE
        | {
            "ENV__PROD__DSN": prod.dsn,
            "ENV__STAGING__DSN": f"host=127.0.0.1 port={silent} user=x",
            "CONNECT_TIMEOUT": "40s",
            "LEASE_TTL": "1m",
        },
        **systemd.environ,
    )
    daemon.wait_for("daemon.started")
    begun = time.monotonic()
    daemon.wait_for("environment.up", environment="prod")
    assert not systemd.count("READY=1")
    eventually(lambda: systemd.count("READY=1"), seconds=begun + 15 - time.monotonic(), what="ready")
    assert not daemon.events("environment.down")
    assert systemd.count("STATUS=1/2 up") > 0


def test_a_hundred_environments_of_which_three_hang(
    tmp_path: Path, prod: servers.Database, silent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other 97 keep their interval."""
    times: dict[str, list[float]] = {}
    overlapping: list[str] = []
    busy: set[str] = set()
    sweep = guards.Guard._sweep

    async def timed(self: guards.Guard, *arguments: Any) -> None:
        name = self.config.name
        if name in busy:
            overlapping.append(name)
        busy.add(name)
        times.setdefault(name, []).append(time.monotonic())
        await sweep(self, *arguments)
        busy.discard(name)

    monkeypatch.setattr(guards.Guard, "_sweep", timed)
    hanging = f"host=127.0.0.1 port={silent} user=x"
    environments = {f"ENV__E{number}__DSN": prod.dsn if number >= 3 else hanging for number in range(100)}
    daemon = daemon_of(tmp_path, **environments, INTERVAL="3s", CONNECT_TIMEOUT="10s", STATUS_EVERY="1h")

    async def work() -> None:
        await until(lambda: len(times) == 97 and min(map(len, times.values())) >= 4, 60)
        await until(lambda: all(one.status.state != "starting" for one in daemon._guards.values()))
        states = collections.Counter(
            f"{one.status.state} {one.status.reason}" for one in daemon._guards.values()
        )
        assert states == {"up None": 97, "down timed out": 3}

    while_it_runs(daemon, work)
    gaps = [second - first for one in times.values() for first, second in itertools.pairwise(one[1:])]
    assert max(gaps) < 8, "an interval of three seconds, whatever hangs for ten"
    assert overlapping == [], "r11: a sweep never overlaps itself"


def test_r11_a_sweep_that_takes_longer_than_its_interval_never_overlaps_itself(
    tmp_path: Path, prod: servers.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = guards.Guard._sweep
    under_way, most, done = 0, 0, 0

    async def slow(self: guards.Guard, *arguments: Any) -> None:
        nonlocal under_way, most, done
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.3)
        await sweep(self, *arguments)
        under_way -= 1
        done += 1

    monkeypatch.setattr(guards.Guard, "_sweep", slow)
    daemon = daemon_of(tmp_path, ENV__PROD__DSN=prod.dsn, INTERVAL="100ms")

    async def work() -> None:
        await until(lambda: done >= 4)

    while_it_runs(daemon, work)
    assert most == 1
