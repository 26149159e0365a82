"""Each anomaly made to raise and to clear on a real database."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import kit
import pytest

from queuewarden.engine import sweep
from queuewarden.engine.alerting.blocked import BLOCKED_AFTER
from queuewarden.engine.sweep import Sweeper
from queuewarden.queues.mapping import OrderTerm, Positions

if TYPE_CHECKING:
    from collections.abc import Callable

    import servers

    from queuewarden.model import Anomaly


class Watched:
    """One queue that is swept again and again; nothing is repaired unless a test wants it."""

    def __init__(self, database: servers.Database) -> None:
        self.database = database
        self.mapping: Any = kit.MAPPING
        self.limits = replace(kit.LIMITS, mode="observe", stuck_after_alive=None)
        self.sweeper = Sweeper("test")

    def sweep(self) -> list[tuple[str, str]]:
        report = asyncio.run(
            kit.sweep_async(self.database.dsn, self.mapping, self.limits, sweeper=self.sweeper)
        )
        return [(notice.change, notice.anomaly.kind) for notice in report.notices]

    def active(self, kind: str) -> Anomaly:
        (found,) = [one for one in self.sweeper.raised.active if one.kind == kind]
        return found

    def raises_once(self, kind: str) -> Anomaly:
        """It is raised by this sweep, and not told again by the next."""
        assert ("raised", kind) in self.sweep()
        assert self.sweep() == []
        return self.active(kind)

    def clears_once(self, kind: str) -> None:
        assert self.sweep() == [("cleared", kind)]
        assert self.sweep() == []

    def worker(self, name: str = "w", silent: str = "0s", status: str = "idle") -> None:
        self.database.execute(
            "INSERT INTO workers (id, status, heartbeat) VALUES (%s, %s, now() - %s::interval)",
            [name, status, silent],
        )

    def jobs(self, status: str = "waiting", count: int = 1, **columns: str) -> None:
        names = "".join(f", {name}" for name in columns)
        values = "".join(f", {value}" for value in columns.values())
        self.database.execute(
            f"INSERT INTO jobs (status{names}) SELECT '{status}'{values} FROM generate_series(1, {count})"
        )


@pytest.fixture
def queue(databases: Callable[..., servers.Database]) -> Watched:
    return Watched(databases(kit.SCHEMA))


def ago(span: str) -> str:
    return f"now() - interval '{span}'"


@pytest.mark.versions
def test_no_live_worker(queue: Watched) -> None:
    queue.jobs()
    assert queue.raises_once("no_live_worker").facts == {"waiting_jobs": 1}
    queue.worker()
    queue.clears_once("no_live_worker")


def test_jobs_that_are_not_due_need_no_worker(queue: Watched) -> None:
    queue.mapping = kit.jobs_mapping(scheduled_at="scheduled_at")
    queue.jobs(scheduled_at="now() + interval '1 h'")
    assert queue.sweep() == []


def test_overbusy(queue: Watched) -> None:
    queue.worker()
    queue.jobs("running", 2, worker="'w'", started_at="now()")
    assert queue.sweep() == []
    queue.jobs("running", 1, worker="'w'", started_at="now()")
    assert queue.raises_once("overbusy").facts == {"running_jobs": 3, "active_workers": 1}
    queue.worker("w2")
    queue.clears_once("overbusy")


def test_r14_failures_are_those_of_the_last_hour(queue: Watched) -> None:
    queue.jobs("failed", 500, finished_at=ago("61 m"))
    queue.jobs("failed", 10, finished_at=ago("1 m"))
    assert queue.sweep() == []
    queue.jobs("failed", 1, finished_at=ago("1 m"))
    assert queue.raises_once("failures").facts == {"failed_jobs": 11}
    queue.database.execute("UPDATE jobs SET finished_at = now() - interval '2 h'")
    queue.clears_once("failures")


def test_oldest_waiting(queue: Watched) -> None:
    queue.worker()
    queue.jobs(enqueued_at=ago("59 m"))
    assert queue.sweep() == []
    queue.jobs(enqueued_at=ago("61 m"))
    age = queue.raises_once("oldest_waiting").facts["age"]
    assert 3660 <= int(age) < 3700
    queue.database.execute("UPDATE jobs SET status = 'done'")
    queue.clears_once("oldest_waiting")


def test_stalled(queue: Watched) -> None:
    queue.worker()
    queue.jobs(enqueued_at=ago("10 m"))
    assert queue.sweep() == [], "nothing ever finished: a new queue"
    queue.jobs("done", finished_at=ago("6 m"))
    assert 360 <= int(queue.raises_once("stalled").facts["age"]) < 400
    queue.jobs("done", finished_at="now()")
    queue.clears_once("stalled")


def test_p6_a_worker_that_beats_and_claims_nothing_is_wedged(queue: Watched) -> None:
    queue.worker("good")
    queue.worker("hangs")
    queue.jobs("running", worker="'good'", started_at="now()")
    queue.jobs(enqueued_at=ago("10 m"))
    assert queue.sweep() == []
    idle = queue.sweeper.state("mail").idle
    idle.since = {name: since - timedelta(minutes=5) for name, since in idle.since.items()}
    anomaly = queue.raises_once("wedged")
    assert (anomaly.subject, anomaly.facts) == ("hangs", {"worker": "hangs"})
    queue.database.execute("UPDATE jobs SET status = 'running', worker = 'hangs' WHERE status = 'waiting'")
    queue.clears_once("wedged")


def test_p6_a_worker_without_work_is_not_wedged(queue: Watched) -> None:
    queue.worker("idle")
    queue.jobs(enqueued_at=ago("1 m"))
    queue.sweep()
    assert queue.sweeper.state("mail").idle.since == {}


def test_zombie(queue: Watched) -> None:
    queue.worker("z", status="offline")
    anomaly = queue.raises_once("zombie")
    assert (anomaly.subject, anomaly.facts) == ("z", {"worker": "z"})
    queue.database.execute("UPDATE workers SET status = 'idle'")
    queue.clears_once("zombie")


def test_reset_storm(queue: Watched) -> None:
    queue.limits = replace(queue.limits, mode="repair", brake_rows=3)
    queue.worker()
    queue.jobs("running", 4, started_at=ago("1 h"))
    assert ("raised", "reset_storm") in queue.sweep()
    assert queue.active("reset_storm").facts == {"resets": 4}
    assert ("raised", "reset_storm") not in queue.sweep()
    memory = queue.sweeper.state("mail").memory
    for reset in memory.resets.values():
        reset.times[:] = [time - timedelta(hours=1) for time in reset.times]
    assert ("cleared", "reset_storm") in queue.sweep()


def test_premature_reset_and_threshold(queue: Watched) -> None:
    queue.limits = replace(kit.LIMITS)
    queue.worker()
    queue.jobs("running", 1, worker="'w'", started_at=ago("1 h"))
    queue.sweep()
    queue.database.execute("UPDATE jobs SET status = 'done', worker = 'w', finished_at = now()")
    assert set(queue.sweep()) >= {("raised", "premature_reset"), ("raised", "threshold")}
    assert queue.sweep() == []
    assert queue.active("premature_reset").subject == "1"
    queue.limits = replace(kit.LIMITS, stuck_after_alive=timedelta(hours=9))
    assert queue.sweep() == [("cleared", "threshold")]
    queue.database.execute("UPDATE jobs SET status = 'cancelled'")
    queue.clears_once("premature_reset")


def test_fight(queue: Watched) -> None:
    queue.limits = replace(queue.limits, mode="repair")
    queue.mapping = replace(
        kit.MAPPING,
        positions=Positions(column="position", order_by=(OrderTerm("enqueued_at"),), lane=("lane",)),
    )
    queue.worker()
    queue.jobs("waiting", 2, lane="7", position="9", enqueued_at=ago("1 m"))
    for _ in range(6):
        changes = queue.sweep()
        if ("raised", "fight") in changes:
            break
        queue.database.execute("UPDATE jobs SET position = 9")
    assert queue.active("fight").facts == {"lane": "7"}
    assert queue.sweep() == []
    queue.jobs("waiting", 1, lane="7", position="9")
    assert ("cleared", "fight") in queue.sweep()


def blocked(queue: Watched) -> None:
    """As many sweeps as it takes; the last one raises it."""
    for _ in range(BLOCKED_AFTER - 1):
        assert ("raised", "blocked") not in queue.sweep()
    assert ("raised", "blocked") in queue.sweep()


@pytest.mark.versions
def test_blocked_names_who_holds_the_job(queue: Watched) -> None:
    queue.limits = replace(queue.limits, mode="repair")
    queue.worker()
    queue.jobs("running", 1, worker="'nobody'", started_at=ago("1 h"))
    with queue.database.connect(autocommit=False, application_name="holder") as other:
        other.execute("SELECT * FROM jobs FOR UPDATE")
        blocked(queue)
        anomaly = queue.active("blocked")
        facts = dict(anomaly.facts)
        assert int(facts.pop("age")) < 60
        assert facts == {
            "job": "1",
            "pid": other.info.backend_pid,
            "application": "holder",
            "user": other.info.user,
        }
        assert str(other.info.backend_pid) in anomaly.hint
        assert queue.sweep() == []
    assert ("cleared", "blocked") in queue.sweep()
    assert queue.database.value("SELECT status FROM jobs") == "waiting"


def test_blocked_by_whoever_holds_the_worker(queue: Watched) -> None:
    """A heartbeat whose transaction stays open holds the worker's jobs, too."""
    queue.limits = replace(queue.limits, mode="repair")
    queue.worker("alive")
    queue.worker("w", silent="1h")
    queue.jobs("running", 1, worker="'w'", started_at="now()")
    with queue.database.connect(autocommit=False) as other:
        other.execute("UPDATE workers SET heartbeat = now() WHERE id = 'w'")
        blocked(queue)
        kinds = {one.subject for one in queue.sweeper.raised.active if one.kind == "blocked"}
        assert "jobs:1" in kinds
        other.rollback()


def test_what_nobody_holds_any_more_is_not_blocked(queue: Watched) -> None:
    queue.limits = replace(queue.limits, mode="repair")
    queue.worker()
    queue.jobs("running", 1, worker="'nobody'", started_at=ago("1 h"))
    with queue.database.connect(autocommit=False) as other:
        other.execute("SELECT * FROM jobs FOR UPDATE")
        for _ in range(BLOCKED_AFTER - 1):
            queue.sweep()
    queue.database.execute("UPDATE jobs SET status = 'done'")
    queue.sweeper.state("mail").memory.skips["jobs", ("1",)] = BLOCKED_AFTER + 9
    assert ("raised", "blocked") not in queue.sweep()
    assert queue.sweeper.state("mail").memory.skips == {}


def test_one_that_stays_is_told_again(queue: Watched) -> None:
    queue.jobs()
    queue.sweep()
    entry = next(iter(queue.sweeper.raised._active.values()))
    entry.told -= timedelta(hours=1)
    assert queue.sweep() == [("reminded", "no_live_worker")]


def test_r13_a_queue_that_cannot_be_counted_neither_raises_nor_clears(
    queue: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "COSTLY", 0.05)
    monkeypatch.setattr(sweep, "DUTY", 10_000)
    queue.jobs()
    queue.raises_once("no_live_worker")
    queue.sweeper.state("mail").next_look = 0.0
    with queue.database.connect(autocommit=False) as other:
        other.execute("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE")
        assert queue.sweep() == []
    assert queue.sweep() == [], "a look that took long is not repeated at once"
    assert queue.sweeper.state("mail").sight is None
    assert queue.active("no_live_worker")
