"""Sweeps on a database: brakes that hold write nothing, one failing check never stops the others."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import kit
import psycopg
import pytest
from eventually import eventually

from queuewarden.adapters.db.session import Query, Session
from queuewarden.engine import observe
from queuewarden.engine.policy import Policy
from queuewarden.engine.resolve import resolve
from queuewarden.engine.sweep import Sweeper
from queuewarden.errors import UnavailableError, UnknownOutcomeError
from queuewarden.queues.mapping import OrderTerm, Positions

if TYPE_CHECKING:
    from collections.abc import Callable

    import servers

    from queuewarden.engine.report import SweepReport
    from queuewarden.model import Limits, ServerState

DAEMON = Policy()


class Guarded:
    """One queue, swept again and again by the same sweeper, as the daemon does it."""

    def __init__(
        self, database: servers.Database, mapping: Any = kit.MAPPING, limits: Limits = kit.LIMITS
    ) -> None:
        self.database, self.mapping, self.limits = database, mapping, limits
        self.sweeper = Sweeper("test")

    def sweep(self, policy: Policy = DAEMON) -> SweepReport:
        return asyncio.run(
            kit.sweep_async(self.database.dsn, self.mapping, self.limits, sweeper=self.sweeper, policy=policy)
        )

    def settle(self) -> None:
        """A first sweep, before anything goes wrong."""
        assert self.sweep().brakes == ()

    def ripen(self) -> None:
        """Let the time of every mass brake that holds be over."""
        for state in self.sweeper.queues.values():
            for episode in (state.mass_death, *state.mass_repair.values()):
                if episode.until is not None:
                    episode.until -= timedelta(days=1)

    def statuses(self) -> dict[str, int]:
        return dict(self.database.rows("SELECT status, count(*) FROM jobs GROUP BY 1"))


@pytest.fixture(autouse=True)
def old_server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shared server has only just started, which would brake all; make it look old."""
    if "own_server" in request.fixturenames:
        return
    state = observe.server_state

    def aged(row: Any) -> ServerState:
        return replace(state(row), started_at=row[1] - timedelta(days=9))

    monkeypatch.setattr(observe, "server_state", aged)


@pytest.fixture
def queue(databases: Callable[..., servers.Database]) -> Guarded:
    return Guarded(databases(kit.SCHEMA))


def worker(database: servers.Database, name: str, silent: str = "0s", status: str = "busy") -> None:
    database.execute(
        "INSERT INTO workers (id, status, heartbeat) VALUES (%s, %s, now() - %s::interval)",
        [name, status, silent],
    )


def jobs(database: servers.Database, count: int, name: str | None = None, age: str = "30m") -> None:
    database.execute(
        "INSERT INTO jobs (status, worker, started_at, enqueued_at)"
        " SELECT 'running', %s, now() - %s::interval, now() - interval '40 m' FROM generate_series(1, %s)",
        [name, age, count],
    )


def held(report: SweepReport) -> set[str | None]:
    return {outcome.held for queue in report.queues for outcome in queue.outcomes if outcome.found}


def brakes(report: SweepReport) -> list[tuple[bool, str]]:
    return [(change.on, change.kind) for change in report.brakes]


def test_p5_in_grace_nobody_is_judged(queue: Guarded) -> None:
    worker(queue.database, "alive")
    queue.settle()
    worker(queue.database, "w", silent="1h")
    jobs(queue.database, 3, "w")
    queue.sweeper.grace.outage = True
    report = queue.sweep()
    assert held(report) == {"grace"}
    assert brakes(report) == [(True, "grace")]
    assert queue.statuses() == {"running": 3}
    assert brakes(queue.sweep()) == []
    queue.sweeper.grace.until = None
    report = queue.sweep()
    assert brakes(report) == [(False, "grace")]
    assert queue.statuses() == {"waiting": 3}
    assert queue.database.value("SELECT status FROM workers WHERE id = 'w'") == "offline"


def test_p5_a_server_that_has_only_just_started(own_server: servers.OwnServer) -> None:
    with own_server.database(kit.SCHEMA) as database:
        worker(database, "alive")
        worker(database, "w", silent="1h")
        jobs(database, 1, "w")
        queue = Guarded(database, limits=replace(kit.LIMITS, dead_after=timedelta(hours=1)))
        own_server.restart()
        assert held(queue.sweep()) == {"grace"}
        assert held(queue.sweep(Policy(daemon=False))) == {"grace"}, "commands by hand wait, too"
        assert held(queue.sweep(Policy(daemon=False, grace=False))) == {None}
        assert queue.statuses() == {"waiting": 1}


def test_where_nobody_beats_a_daemon_that_starts_waits_and_a_command_by_hand_does_not(
    queue: Guarded,
) -> None:
    worker(queue.database, "w", silent="1h")
    jobs(queue.database, 1, "w")
    report = queue.sweep()
    assert "grace" in held(report)
    assert queue.sweeper.grace.why == "no worker alive at the start"
    assert queue.statuses() == {"running": 1}
    by_hand = Guarded(queue.database)
    by_hand.sweep(Policy(daemon=False, write=False))
    assert not by_hand.sweeper.grace.why


def test_mass_death_holds_dead_workers_and_running_jobs_once(queue: Guarded) -> None:
    for number in range(4):
        worker(queue.database, f"alive{number}")
    queue.settle()
    for number in range(5):
        worker(queue.database, f"w{number}", silent="1h")
        jobs(queue.database, 1, f"w{number}")
    report = queue.sweep()
    assert brakes(report) == [(True, "mass_death")]
    assert report.brakes[0].why == "5 workers silent, 4 alive"
    assert held(report) == {"mass_death"}
    assert queue.statuses() == {"running": 5}
    assert brakes(queue.sweep()) == []
    queue.ripen()
    assert brakes(queue.sweep()) == [(False, "mass_death")]
    assert queue.statuses() == {"waiting": 5}
    worker(queue.database, "w9", silent="1h")
    jobs(queue.database, 1, "w9")
    assert brakes(queue.sweep()) == [], "one more of the same episode"
    assert queue.statuses() == {"waiting": 6}


def test_heartbeats_that_go_on_by_another_clock_hold_for_as_long_as_they_do(queue: Guarded) -> None:
    """A time zone that was mapped wrongly makes every worker look dead for hours, and for ever."""
    queue.database.execute("ALTER TABLE workers ALTER heartbeat TYPE timestamp USING NULL")
    beat = "UPDATE workers SET heartbeat = now() AT TIME ZONE 'America/New_York'"
    worker(queue.database, "w")
    queue.database.execute(beat)
    jobs(queue.database, 1, "w")
    queue.sweep()
    for _ in range(3):
        queue.sweeper.grace.until = None
        queue.database.execute(beat)
        report = queue.sweep()
        assert held(report) == {"mass_death"}
    assert [brake.kind for brake in queue.sweeper.board.on.values()] == ["mass_death:clock"]
    queue.sweeper.state("mail").beaten = report.server.now - timedelta(minutes=3)
    queue.sweep()
    assert queue.statuses() == {"waiting": 1}


def test_mass_death_warns_a_command_by_hand_and_lets_it_go_on(queue: Guarded) -> None:
    for number in range(2):
        worker(queue.database, f"w{number}", silent="1h")
        jobs(queue.database, 1, f"w{number}")
    report = queue.sweep(kit.BY_HAND)
    assert (True, "mass_death") in brakes(report)
    assert queue.statuses() == {"waiting": 2}


def test_workers_that_fall_silent_one_by_one_are_a_mass_death(queue: Guarded) -> None:
    for number in range(9):
        worker(queue.database, f"w{number}")
    queue.settle()
    marked = 0
    for number in range(9):
        queue.database.execute(
            "UPDATE workers SET heartbeat = now() - interval '1 h' WHERE id = %s", [f"w{number}"]
        )
        queue.sweep()
        marked = queue.database.value("SELECT count(*) FROM workers WHERE status = 'offline'")
        if marked <= number:
            break
    assert marked == 4


def test_r2_r7_mass_repair_holds_once_then_acts(queue: Guarded) -> None:
    worker(queue.database, "alive")
    queue.settle()
    jobs(queue.database, 51)
    report = queue.sweep()
    assert brakes(report) == [(True, "mass_repair:stuck_jobs")]
    assert report.brakes[0].why == "stuck_jobs would change 51 of 51 rows"
    assert held(report) == {"mass_repair:stuck_jobs"}
    assert queue.statuses() == {"running": 51}
    queue.ripen()
    queue.sweep()
    assert queue.statuses() == {"waiting": 51}


@pytest.mark.parametrize(("stuck", "fine"), [(50, 0), (60, 60)])
def test_what_is_no_mass_repair(queue: Guarded, stuck: int, fine: int) -> None:
    worker(queue.database, "alive")
    queue.settle()
    jobs(queue.database, stuck)
    jobs(queue.database, fine, age="1s")
    assert brakes(queue.sweep()) == []
    assert queue.statuses().get("waiting", 0) == stuck


def finished(database: servers.Database, count: int, took: str) -> None:
    database.execute(
        "INSERT INTO jobs (status, worker, started_at, finished_at)"
        " SELECT 'done', 'alive', now() - %s::interval, now() FROM generate_series(1, %s)",
        [took, count],
    )


def test_r4_where_jobs_run_long_those_of_live_workers_are_spared_from_the_first_sweep_on(
    queue: Guarded,
) -> None:
    worker(queue.database, "alive")
    worker(queue.database, "w", silent="1h")
    finished(queue.database, 20, "2m")
    jobs(queue.database, 1, "alive")
    jobs(queue.database, 1, "w")
    queue.sweeper.grace.until = None
    report = queue.sweep(kit.BY_HAND)
    assert [notice.anomaly.kind for notice in report.notices] == ["threshold"]
    assert report.notices[0].anomaly.facts == {"advised_seconds": 240}
    assert queue.database.rows("SELECT worker, status FROM jobs WHERE status <> 'done' ORDER BY 1") == [
        ("alive", "running"),
        (None, "waiting"),
    ]


def test_r4_infinite_times_of_other_jobs_do_not_lift_that_brake(queue: Guarded) -> None:
    worker(queue.database, "alive")
    finished(queue.database, 20, "2m")
    queue.database.execute(
        "INSERT INTO jobs (status, started_at, finished_at) VALUES"
        " ('done', now(), 'infinity'), ('done', '-infinity', now())"
    )
    jobs(queue.database, 1, "alive")
    queue.sweeper.grace.until = None
    report = queue.sweep(kit.BY_HAND)
    assert [notice.anomaly.kind for notice in report.notices] == ["threshold"]
    assert queue.statuses() == {"done": 22, "running": 1}


def test_r4_a_raised_limit_ends_it_at_once_and_trust_overrides(queue: Guarded) -> None:
    worker(queue.database, "alive")
    finished(queue.database, 20, "2m")
    queue.sweep(kit.BY_HAND)
    jobs(queue.database, 1, "alive")
    queue.limits = replace(kit.LIMITS, stuck_after_alive=timedelta(minutes=4))
    report = queue.sweep(kit.BY_HAND)
    assert [notice.change for notice in report.notices] == ["cleared"]
    assert queue.statuses()["waiting"] == 1
    jobs(queue.database, 1, "alive")
    queue.limits = replace(kit.LIMITS, trust_threshold=True)
    assert queue.sweep(kit.BY_HAND).notices == ()
    assert queue.statuses()["waiting"] == 2


def test_r4_too_few_finished_jobs_tell_nothing(queue: Guarded) -> None:
    worker(queue.database, "alive")
    finished(queue.database, 19, "2m")
    jobs(queue.database, 1, "alive")
    queue.sweep(kit.BY_HAND)
    assert queue.statuses()["waiting"] == 1


def test_a_job_heartbeat_tells_a_long_run_from_a_hang(queue: Guarded) -> None:
    queue.mapping = kit.jobs_mapping(heartbeat="heartbeat")
    worker(queue.database, "alive")
    finished(queue.database, 20, "2m")
    jobs(queue.database, 2, "alive")
    queue.database.execute("UPDATE jobs SET heartbeat = now() WHERE id = (SELECT max(id) FROM jobs)")
    assert queue.sweep(kit.BY_HAND).notices == ()
    assert queue.statuses() == {"done": 20, "running": 1, "waiting": 1}


def test_r5_after_a_premature_reset_jobs_of_live_workers_are_spared(queue: Guarded) -> None:
    worker(queue.database, "alive")
    jobs(queue.database, 1, "alive")
    started = queue.database.value("SELECT started_at::text FROM jobs")
    queue.sweep(kit.BY_HAND)
    assert queue.statuses() == {"waiting": 1}
    queue.database.execute("UPDATE jobs SET status = 'done', worker = 'alive', finished_at = now()")
    report = queue.sweep(kit.BY_HAND)
    assert started
    assert {notice.anomaly.kind for notice in report.notices} == {"premature_reset", "threshold"}
    jobs(queue.database, 1, "alive")
    queue.sweep(kit.BY_HAND)
    assert queue.statuses() == {"done": 1, "running": 1}


def test_r5_of_a_key_that_holds_the_status_the_rest_tells_the_job(queue: Guarded) -> None:
    queue.mapping = kit.jobs_mapping(id=("id", "status"))
    worker(queue.database, "alive")
    jobs(queue.database, 1, "alive")
    queue.sweep(kit.BY_HAND)
    queue.database.execute("UPDATE jobs SET status = 'done', worker = 'alive', finished_at = now()")
    report = queue.sweep(kit.BY_HAND)
    assert {notice.anomaly.kind for notice in report.notices} == {"premature_reset", "threshold"}


def test_r5_a_job_that_ran_since_ever_hides_no_premature_reset(queue: Guarded) -> None:
    worker(queue.database, "alive")
    jobs(queue.database, 2, "alive")
    queue.database.execute("UPDATE jobs SET started_at = '-infinity' WHERE id = (SELECT max(id) FROM jobs)")
    queue.sweep(kit.BY_HAND)
    queue.database.execute("UPDATE jobs SET status = 'done', worker = 'alive', finished_at = now()")
    report = queue.sweep(kit.BY_HAND)
    assert [notice.anomaly.kind for notice in report.notices].count("premature_reset") == 2


def test_observe_writes_nothing_and_still_counts(queue: Guarded) -> None:
    queue.limits = replace(kit.LIMITS, mode="observe")
    worker(queue.database, "alive")
    worker(queue.database, "w", silent="1h")
    jobs(queue.database, 2, "w")
    report = queue.sweep(kit.BY_HAND)
    assert held(report) == {"observe"}
    assert queue.statuses() == {"running": 2}
    counts = report.queues[0].counts
    assert counts is not None
    assert (counts.running, counts.live_workers, counts.silent_workers) == (2, 1, 1)


def test_r13_counts_that_fail_are_unknown_and_stop_no_check(queue: Guarded) -> None:
    worker(queue.database, "alive")
    queue.settle()
    jobs(queue.database, 1)

    async def work() -> SweepReport:
        async with kit.session(queue.database.dsn) as session:
            resolution = await resolve(session, "test", queue.mapping, queue.limits)
            assert resolution.target is not None
            read = session.read

            async def failing(queries: list[Query], **rest: Any) -> list[Any]:
                first = await read(queries, **rest)
                if b"pg_is_in_recovery" not in queries[0].text:
                    return first
                return [*first[:-1], psycopg.errors.QueryCanceled("statement timeout")]

            session.read = failing  # type: ignore[method-assign, assignment]
            return await queue.sweeper.sweep(session, [resolution.target])

    report = asyncio.run(work())
    assert report.queues[0].counts is None
    assert [(one.check, one.code, one.error) for one in report.queues[0].outcomes if one.error] == [
        ("observe", "counts", "57014")
    ]
    assert queue.statuses() == {"waiting": 1}


def test_where_the_workers_cannot_be_read_nobody_is_judged(queue: Guarded) -> None:
    """Without them no brake could tell a mass death."""
    worker(queue.database, "alive")
    queue.settle()
    jobs(queue.database, 1, "w")
    resolved: list[Any] = []

    async def work() -> SweepReport:
        async with kit.session(queue.database.dsn) as session:
            resolution = await resolve(session, "test", queue.mapping, queue.limits)
            resolved.append(resolution.target)
            with queue.database.connect() as other:
                other.execute("ALTER TABLE workers RENAME heartbeat TO beat")
            return await queue.sweeper.sweep(session, resolved)

    report = asyncio.run(work())
    errors = {(one.check, one.code) for one in report.queues[0].outcomes if one.error == "42703"}
    assert all("does not exist" in (one.failure or "") for one in report.queues[0].outcomes if one.error)
    assert ("observe", "workers") in errors
    assert queue.statuses() == {"running": 1}
    assert report.queues[0].counts is not None
    assert report.queues[0].counts.live_workers is None


OTHERS = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
MIXED = replace(
    kit.MAPPING,
    positions=Positions(column="position", order_by=(OrderTerm("enqueued_at"),), lane=("lane",)),
    timestamps=(("done", "finished_at"),),
)


def all_faults(database: servers.Database) -> None:
    """A fault for each of dead_workers, stuck_jobs, timestamps and positions."""
    worker(database, "alive")
    worker(database, "w", silent="1h")
    jobs(database, 1, "w")
    jobs(database, 1)
    database.execute("INSERT INTO jobs (status, started_at) VALUES ('done', now())")
    database.execute("INSERT INTO jobs (lane, position, enqueued_at) VALUES (1, 7, now() - interval '1 m')")


class Interrupted:
    """A session that cancels or ends its own backend at the n-th step; counts the steps."""

    def __init__(self, database: servers.Database, session: Session, how: str, at: int) -> None:
        self.steps = 0
        self.struck = False
        self._database, self._how, self._at = database, how, at
        self._connection = session._connection
        execute = session._connection.execute
        self._pid = session._connection.info.backend_pid

        async def striking(query: Any, params: Any = None, **rest: Any) -> Any:
            if not query.startswith((b"BEGIN", b"COMMIT", b"ROLLBACK", b"SET", b"\nSELECT set_config")):
                self.steps += 1
                if self.steps == self._at:
                    return await self._strike()
            return await execute(query, params, **rest)

        async def strike() -> Any:
            self.struck = True
            sleeping = asyncio.create_task(execute(b"SELECT pg_sleep(60)"))
            await asyncio.sleep(0)
            await asyncio.to_thread(self._end)
            return await sleeping

        self._strike = strike
        session._connection.execute = striking  # type: ignore[method-assign, assignment]

    def _end(self) -> None:
        asleep = "SELECT FROM pg_stat_activity WHERE pid = %s AND wait_event = 'PgSleep'"
        eventually(lambda: self._database.rows(asleep, [self._pid]), what="the step that is cut")
        self._database.execute(f"SELECT {self._how}(%s)", [self._pid])


@pytest.mark.slow
@pytest.mark.parametrize("how", ["pg_cancel_backend", "pg_terminate_backend"])
def test_a_sweep_cut_at_each_of_its_steps_leaves_whole_rows_and_the_next_one_mends(
    databases: Callable[..., servers.Database], how: str
) -> None:
    struck = at = 0
    while True:
        at += 1
        database = databases(kit.SCHEMA)
        all_faults(database)
        queue = Guarded(database, MIXED)
        if not asyncio.run(_cut(queue, how, at)):
            break
        struck += 1
        eventually(
            lambda database=database: database.value(OTHERS) == 0, what="the session that was cut has ended"
        )
        torn = database.value(
            "SELECT count(*) FROM jobs WHERE status = 'waiting' AND coalesce(worker, started_at::text) <> ''"
        )
        assert torn == 0, f"step {at}"
        queue.sweep(kit.BY_HAND)
        queue.sweep(kit.BY_HAND)
        assert queue.statuses() == {"waiting": 3, "done": 1}, f"step {at}"
        assert database.value("SELECT array_agg(position ORDER BY position) FROM jobs WHERE lane = 1") == [1]
    assert struck >= 10, "the sweep has that many steps"


async def _cut(queue: Guarded, how: str, at: int) -> bool:
    async with kit.session(queue.database.dsn) as session:
        resolution = await resolve(session, "test", queue.mapping, queue.limits)
        assert resolution.target is not None
        cutting = Interrupted(queue.database, session, how, at)
        try:
            report = await queue.sweeper.sweep(session, [resolution.target], policy=kit.BY_HAND)
        except (psycopg.Error, UnavailableError, UnknownOutcomeError):
            if queue.sweeper.interrupted is not None:
                done = queue.sweeper.interrupted.queues[0].outcomes
                mended = sum(one.mended for one in done if one.event == "jobs.reset")
                assert mended <= queue.statuses().get("waiting", 0) - 1, "never more told than done"
        else:
            assert queue.sweeper.interrupted is None
            assert report.queues
        return cutting.struck


def test_what_an_interrupted_sweep_had_done_is_kept_to_be_told(queue: Guarded) -> None:
    worker(queue.database, "alive")
    queue.settle()
    jobs(queue.database, 2)

    async def work() -> None:
        async with kit.session(queue.database.dsn) as session:
            resolution = await resolve(session, "test", queue.mapping, queue.limits)
            assert resolution.target is not None
            rows = session.read

            async def losing(queries: list[Query], **rest: Any) -> list[Any]:
                if queue.statuses() == {"waiting": 2}:
                    raise psycopg.OperationalError("the connection is lost")
                return await rows(queries, **rest)

            session.read = losing  # type: ignore[method-assign, assignment]
            with pytest.raises(psycopg.OperationalError):
                await queue.sweeper.sweep(session, [resolution.target])

    asyncio.run(work())
    assert queue.sweeper.interrupted is not None
    assert queue.statuses() == {"waiting": 2}


def test_p8_no_lock_outlives_a_sweep(queue: Guarded) -> None:
    worker(queue.database, "alive")
    jobs(queue.database, 2)

    async def work() -> None:
        async with kit.session(queue.database.dsn) as session:
            resolution = await resolve(session, "test", queue.mapping, queue.limits)
            assert resolution.target is not None
            await queue.sweeper.sweep(session, [resolution.target], policy=kit.BY_HAND)
            left = await session.rows(
                Query(
                    b"SELECT locktype, mode FROM pg_locks WHERE locktype = 'advisory'"
                    b" OR relation IN ('public.jobs'::regclass, 'public.workers'::regclass)",
                    {},
                )
            )
            assert left == []
            assert session.usable

    asyncio.run(work())
    assert queue.statuses() == {"waiting": 2}


def test_a_standby_is_refused(own_server: servers.OwnServer) -> None:
    with own_server.database(kit.SCHEMA) as database:
        data = database.value("SHOW data_directory")
        own_server.halt()
        signal = Path(data) / "standby.signal"
        signal.touch()
        own_server.launch()
        queue = Guarded(database)
        with pytest.raises(UnavailableError, match="standby"):
            queue.sweep()
        own_server.halt()
        signal.unlink()
        own_server.launch()
        queue.sweep()


def test_forgotten_queues_leave_no_brake_and_no_anomaly(queue: Guarded) -> None:
    for number in range(2):
        worker(queue.database, f"w{number}", silent="1h")
        jobs(queue.database, 1, f"w{number}")
    queue.database.execute("INSERT INTO jobs DEFAULT VALUES")
    report = queue.sweep()
    assert (True, "mass_death") in brakes(report)
    assert queue.sweeper.raised.active
    queue.sweeper.keep(())
    assert not [one for one in queue.sweeper.board.on if one[1] is not None]

    async def empty() -> SweepReport:
        async with kit.session(queue.database.dsn) as session:
            return await queue.sweeper.sweep(session, [])

    report = asyncio.run(empty())
    assert {notice.change for notice in report.notices} == {"cleared"}
    assert not queue.sweeper.raised.active
