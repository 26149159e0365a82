"""R12: workers that register in another environment's database."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import kit
import pytest

from queuewarden.application import liveness as liveness_module
from queuewarden.application.liveness import Liveness
from queuewarden.engine import fleet, observe
from queuewarden.engine.resolve import resolve
from queuewarden.engine.sweep import Sweeper
from queuewarden.settings.configuration import EnvironmentConfig
from queuewarden.settings.secret import DsnSource

if TYPE_CHECKING:
    from collections.abc import Callable

    import servers

    from queuewarden.adapters.db.session import Row
    from queuewarden.engine.report import SweepReport
    from queuewarden.model import Limits, ServerState
    from queuewarden.queues.target import Fleet

JOBS_ONLY = kit.SCHEMA[kit.SCHEMA.index("CREATE TABLE jobs") :]
# The shared server has only just started, and nothing is known of a fleet for so long after that.
LIMITS = replace(kit.LIMITS, dead_after=timedelta(seconds=1), connect_timeout=timedelta(seconds=20))


def config(name: str, dsn: str, limits: Limits = LIMITS) -> EnvironmentConfig:
    return EnvironmentConfig(name, DsnSource("test", dsn), (), limits, {})


class Elsewhere:
    """Jobs in ``dev``, whose workers register in ``prod``."""

    def __init__(self, dev: servers.Database, prod: servers.Database) -> None:
        self.dev, self.prod = dev, prod
        assert kit.MAPPING.workers is not None
        self.mapping = replace(kit.MAPPING, workers=replace(kit.MAPPING.workers, registered_in="prod"))
        self.limits = LIMITS
        self.sweeper = Sweeper("dev")
        self.home = prod.dsn
        self.before_confirm: Callable[[], None] | None = None

    def sweep(self) -> SweepReport:
        return asyncio.run(self._sweep())

    async def _sweep(self) -> SweepReport:
        liveness = Liveness("dev", {"prod": config("prod", self.home, self.limits)})
        try:
            async with kit.session(self.dev.dsn, self.limits) as session:
                resolution = await resolve(session, "dev", self.mapping, self.limits)
                assert resolution.faults == ()
                assert resolution.target is not None
                confirm = liveness.confirm

                async def confirming(*arguments: Any) -> bool:
                    if self.before_confirm is not None:
                        self.before_confirm()
                    return await confirm(*arguments)

                return await self.sweeper.sweep(
                    session,
                    [resolution.target],
                    confirm=confirming,
                    fleets=await liveness.fleets(session, [resolution.target]),
                )
        finally:
            await liveness.close()

    def worker(self, name: str, silent: str = "0s") -> None:
        self.prod.execute(
            "INSERT INTO workers (id, heartbeat) VALUES (%s, now() - %s::interval)"
            " ON CONFLICT (id) DO UPDATE SET heartbeat = excluded.heartbeat",
            [name, silent],
        )

    def job(self, worker: str, age: str = "1m") -> None:
        self.dev.execute(
            "INSERT INTO jobs (status, worker, started_at) VALUES ('running', %s, now() - %s::interval)",
            [worker, age],
        )

    def statuses(self) -> list[str]:
        return [row[0] for row in self.dev.rows("SELECT status FROM jobs ORDER BY id")]


@pytest.fixture
def elsewhere(databases: Callable[..., servers.Database], monkeypatch: pytest.MonkeyPatch) -> Elsewhere:
    state = observe.server_state

    def aged(row: Row) -> ServerState:
        return replace(state(row), started_at=row[1] - timedelta(days=9))

    monkeypatch.setattr(observe, "server_state", aged)
    found = Elsewhere(databases(JOBS_ONLY), databases(kit.SCHEMA))
    old = "now() - pg_postmaster_start_time()"
    found.prod.rows(f"SELECT pg_sleep(greatest(0, 1.1 - extract(epoch FROM {old})))")
    return found


def held(report: SweepReport) -> set[str | None]:
    return {one.held for one in report.queues[0].outcomes if one.found}


def test_r12_liveness_is_read_where_the_workers_register(elsewhere: Elsewhere) -> None:
    elsewhere.worker("alive", "-1h")
    elsewhere.worker("alive2", "-1h")
    elsewhere.worker("dead", "1h")
    for name in ("alive", "dead", "unknown"):
        elsewhere.job(name)
    report = elsewhere.sweep()
    assert elsewhere.statuses() == ["running", "waiting", "waiting"]
    counts = report.queues[0].counts
    assert counts is not None
    assert (counts.live_workers, counts.silent_workers) == (2, 1)
    assert elsewhere.prod.value("SELECT count(*) FROM workers WHERE status = 'offline'") == 0, (
        "the environment where they register marks its own workers"
    )


def test_r12_of_several_rows_of_a_worker_one_that_beats_is_enough(elsewhere: Elsewhere) -> None:
    elsewhere.prod.execute("ALTER TABLE workers DROP CONSTRAINT workers_pkey")
    for name, beat in (("alive", "-1h"), ("alive", "1h"), ("dead", "1h"), ("dead", "2h")):
        elsewhere.prod.execute(
            "INSERT INTO workers (id, heartbeat) VALUES (%s, now() - %s::interval)", [name, beat]
        )
    elsewhere.job("alive")
    elsewhere.job("dead")
    elsewhere.sweep()
    assert elsewhere.statuses() == ["running", "waiting"]


def test_r12_a_worker_of_another_type_that_lives_is_known_however_it_is_spelled(elsewhere: Elsewhere) -> None:
    elsewhere.prod.execute("ALTER TABLE workers ALTER id TYPE uuid USING id::uuid")
    elsewhere.worker("0f9e3bb0-5a3a-4a45-9d0f-111111111111", "-1h")
    elsewhere.job("0F9E3BB05A3A4A459D0F111111111111")
    elsewhere.sweep()
    assert elsewhere.statuses() == ["running"]


def test_r12_a_job_that_beats_is_not_of_the_dead(elsewhere: Elsewhere) -> None:
    elsewhere.dev.execute("ALTER TABLE jobs ADD seconds int NOT NULL DEFAULT 3600")
    elsewhere.mapping = kit.jobs_mapping(
        elsewhere.mapping, heartbeat="heartbeat", heartbeat_seconds="seconds"
    )
    elsewhere.worker("dead", "1h")
    elsewhere.job("dead")
    elsewhere.dev.execute("UPDATE jobs SET heartbeat = now()")
    elsewhere.sweep()
    assert elsewhere.statuses() == ["running"]


def test_r12_heartbeats_there_that_go_on_by_another_clock_hold(elsewhere: Elsewhere) -> None:
    elsewhere.job("w")
    elsewhere.worker("w", "5h")
    elsewhere.limits = replace(LIMITS, mode="observe")
    elsewhere.sweep()
    elsewhere.limits = LIMITS
    elsewhere.sweeper.grace.until = None
    elsewhere.worker("w", "4h")
    assert held(elsewhere.sweep()) == {"mass_death"}
    assert elsewhere.statuses() == ["running"]


def test_r12_no_constant_false_alarm(elsewhere: Elsewhere) -> None:
    elsewhere.dev.execute("INSERT INTO jobs DEFAULT VALUES")
    elsewhere.worker("alive", "-1h")
    assert elsewhere.sweep().notices == ()
    elsewhere.worker("alive", "1h")
    kinds = [notice.anomaly.kind for notice in elsewhere.sweep().notices]
    assert kinds == ["no_live_worker"]


def test_r12_a_worker_that_beats_again_before_the_commit_keeps_its_job(elsewhere: Elsewhere) -> None:
    elsewhere.worker("alive", "-1h")
    elsewhere.worker("late", "1h")
    elsewhere.job("late")
    elsewhere.before_confirm = lambda: elsewhere.worker("late", "-1h")
    report = elsewhere.sweep()
    assert elsewhere.statuses() == ["running"]
    assert held(report) == {"busy"}


def test_r12_a_job_that_hangs_under_a_live_worker_is_reset(elsewhere: Elsewhere) -> None:
    elsewhere.worker("alive", "-1h")
    elsewhere.job("alive", "1h")
    elsewhere.sweep()
    assert elsewhere.statuses() == ["waiting"]


def test_r12_where_the_fleet_cannot_be_reached_nobody_is_judged_nor_at_once_after(
    elsewhere: Elsewhere,
) -> None:
    elsewhere.limits = replace(LIMITS, dead_after=timedelta(hours=2))
    elsewhere.worker("alive", "-9h")
    elsewhere.worker("dead", "9h")
    elsewhere.job("dead", "5h")
    elsewhere.home = "host=127.0.0.1 port=1 user=x"
    report = elsewhere.sweep()
    assert elsewhere.statuses() == ["running"]
    counts = report.queues[0].counts
    assert counts is not None
    assert counts.live_workers is None
    assert not [one for one in report.notices if one.anomaly.kind == "no_live_worker"]
    elsewhere.limits = LIMITS
    elsewhere.home = elsewhere.prod.dsn
    report = elsewhere.sweep()
    assert elsewhere.sweeper.grace.why == "outage where the workers register"
    assert elsewhere.statuses() == ["running"]
    elsewhere.sweeper.grace.until = None
    elsewhere.sweep()
    assert elsewhere.statuses() == ["waiting"]


def test_no_live_worker_lasts_while_the_fleet_cannot_be_reached(elsewhere: Elsewhere) -> None:
    elsewhere.worker("dead", "9h")
    elsewhere.dev.execute("INSERT INTO jobs (status, worker) VALUES ('waiting', 'dead')")

    def raised() -> bool:
        elsewhere.sweep()
        return "no_live_worker" in {one.kind for one in elsewhere.sweeper.raised.active}

    assert raised()
    elsewhere.home = "host=127.0.0.1 port=1 user=x"
    assert raised()
    elsewhere.home = elsewhere.prod.dsn
    elsewhere.worker("dead", "0s")
    assert not raised()


def test_r12_a_connection_that_was_ended_while_it_was_idle_is_no_outage(elsewhere: Elsewhere) -> None:
    elsewhere.worker("alive", "-1h")
    elsewhere.job("alive")

    async def twice() -> list[Fleet | None]:
        liveness = Liveness("dev", {"prod": config("prod", elsewhere.home)})
        found = []
        try:
            async with kit.session(elsewhere.dev.dsn, LIMITS) as session:
                resolution = await resolve(session, "dev", elsewhere.mapping, LIMITS)
                assert resolution.target is not None
                for _ in range(2):
                    fleets = await liveness.fleets(session, [resolution.target])
                    found.append(fleets["mail"])
                    elsewhere.prod.execute(
                        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                    )
        finally:
            await liveness.close()
        return found

    first, second = asyncio.run(twice())
    assert first is not None
    assert first.live == ("alive",)
    assert second == first


def test_p5_nothing_is_known_of_a_fleet_whose_server_has_only_just_started(elsewhere: Elsewhere) -> None:
    elsewhere.limits = replace(LIMITS, dead_after=timedelta(days=9))
    elsewhere.worker("dead", "20 days")
    elsewhere.job("dead", "19 days")
    report = elsewhere.sweep()
    assert report.queues[0].counts is not None
    assert report.queues[0].counts.live_workers is None
    assert elsewhere.statuses() == ["running"]


@pytest.mark.parametrize("change", ["DROP TABLE workers", "ALTER TABLE workers DROP heartbeat"])
def test_a_table_there_that_is_not_as_mapped_is_unknown(elsewhere: Elsewhere, change: str) -> None:
    elsewhere.job("dead")
    elsewhere.prod.execute(change)
    report = elsewhere.sweep()
    assert report.queues[0].counts is not None
    assert report.queues[0].counts.live_workers is None
    assert elsewhere.statuses() == ["running"]


def test_a_fleet_too_large_to_ask_about_is_unknown(
    elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet, "MOST", 2)
    monkeypatch.setattr("queuewarden.application.liveness.MOST", 2)
    for name in ("a", "b"):
        elsewhere.worker(name, "1h")
        elsewhere.job(name)
    elsewhere.sweep()
    assert elsewhere.statuses() == ["running", "running"]


@pytest.mark.slow
def test_r12_a_frozen_home_costs_a_bounded_time_and_is_left_alone_for_a_while(
    elsewhere: Elsewhere, own_server: servers.OwnServer
) -> None:
    with own_server.database(kit.SCHEMA) as home:

        async def work() -> None:
            loop = asyncio.get_running_loop()
            liveness = Liveness("dev", {"prod": config("prod", home.dsn)})
            async with kit.session(elsewhere.dev.dsn, LIMITS) as session:
                resolution = await resolve(session, "dev", elsewhere.mapping, LIMITS)
                assert resolution.target is not None
                targets = [resolution.target]
                target = replace(resolution.target, limits=replace(LIMITS, dead_after=timedelta(0)))
                assert (await liveness.fleets(session, [target]))["mail"] is not None
                own_server.freeze()
                begun = loop.time()
                assert not await liveness.confirm(target, {"w"})
                assert loop.time() - begun < 10, "not as long as a connection may take"
                assert liveness_module.CONFIRM_WITHIN < 2, "the server gives an idle transaction no longer"
                begun = loop.time()
                for _ in range(20):
                    assert await liveness.fleets(session, targets) == {"mail": None}
                assert loop.time() - begun < 10, "it is not asked again"
            await liveness.close()

        try:
            asyncio.run(work())
        finally:
            own_server.thaw()
