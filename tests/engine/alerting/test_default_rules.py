"""Each default rule fires and resolves, from what sweeps report to what people are told.

The anomalies come from the functions that find them in a sweep, the daemon's own readings from those that
take them: a word that two layers spell differently shows here.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import kit
import pytest
from alertings import told

from queuewarden.application.alerting import own_readings
from queuewarden.application.alerting.own_readings import OwnReadings
from queuewarden.engine.alerting import anomalies, blocked
from queuewarden.engine.alerting.decide import AlertState, Policy, decide
from queuewarden.engine.alerting.defaults import RULES
from queuewarden.engine.alerting.notices import Observation
from queuewarden.engine.alerting.readings import READINGS
from queuewarden.engine.alerting.rules import SEVERITIES
from queuewarden.engine.alerting.tally import Tally
from queuewarden.engine.memory import Memory
from queuewarden.engine.observe import Muster
from queuewarden.engine.outcomes import Load
from queuewarden.engine.report import QueueReport, SweepReport
from queuewarden.engine.upkeep.health.signs import Health, Where
from queuewarden.engine.upkeep.runs import Known
from queuewarden.engine.upkeep.schedule import Due
from queuewarden.engine.upkeep.sight import NOTHING as NO_TASKS
from queuewarden.engine.upkeep.sight import Sight
from queuewarden.model import BrakeChange, Counts, Outcome, ServerState
from queuewarden.queues.target import Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from queuewarden.engine.alerting.notices import AlertNotice
    from queuewarden.model import Anomaly

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SERVER = ServerState(NOW, NOW - timedelta(days=9), standby=False, timeline="00000001", system="7")
TARGET: Any = Target("prod", kit.MAPPING, kit.LIMITS, jobs=None)  # type: ignore[arg-type]  # no database
HEALTHY = Counts(
    waiting=3,
    eligible=3,
    running=2,
    failed=1,
    failed_last_hour=1,
    oldest_waiting=timedelta(seconds=20),
    last_finished=timedelta(seconds=10),
    live_workers=4,
    silent_workers=0,
    registered_workers=4,
    done_last_hour=100,
    failed_in_a_row=0,
    average_run=timedelta(seconds=12),
    run_time_ratio=1.0,
)
BY_NAME = {rule.name: rule for rule in RULES}
EVERY = 30.0
DAY = 86_400.0
LONGEST = timedelta(hours=25).total_seconds()


@dataclass
class World:
    """An environment with one queue, healthy until a scenario changes it; swept each 30 seconds."""

    counts: Counts | None = HEALTHY
    muster: Muster = field(default_factory=lambda: Muster(4, 0, 4))
    outcomes: tuple[Outcome, ...] = ()
    found: tuple[Anomaly, ...] = ()
    brakes: tuple[BrakeChange, ...] = ()
    lease: dict[str, Any] | None = field(default_factory=lambda: {"ours": True, "holder": "h1", "epoch": 1})
    critical: tuple[str, ...] = ()
    sight: Sight = NO_TASKS
    seconds: float = 0.05
    probe: float = 0.002
    load: Load | None = field(default_factory=lambda: Load(20, 100, 0.99))
    down: bool = False
    hangs: bool = False
    failures: int = 0
    health: Health | None = None
    own: OwnReadings = field(default_factory=OwnReadings)
    tally: Tally = field(default_factory=lambda: Tally("prod"))
    states: dict[str, AlertState] = field(default_factory=lambda: {"prod": AlertState(), "": AlertState()})
    now: float = 0.0

    def counted(self, **changes: Any) -> None:
        assert self.counts is not None
        self.counts = replace(self.counts, **changes)

    def rises(self, **changes: int) -> None:
        """Counts that are so much higher than at the last sweep."""
        self.counted(**{name: getattr(self.counts, name) + by for name, by in changes.items()})

    def has(self, event: str = "jobs.reset", check: str = "stuck_jobs", **outcome: Any) -> None:
        self.outcomes = (Outcome("prod", "mail", check, "stuck", event, **outcome),)

    def step(self) -> list[AlertNotice]:
        """Thirty seconds later."""
        self.now += EVERY
        for _ in range(self.failures):
            self.tally.failed(self.now)
        if not self.down and not self.hangs:
            self._sweep()
        self.tally.upkept(self.sight)
        if self.health is not None:
            self.tally.examined(self.health, self.now)
        seen = self.tally.observation(self.now, down=self.down, queues=["mail"])
        own = self.own.readings()
        notices = []
        for observation in (seen, Observation("", own, frozenset(own))):
            name = observation.environment
            self.states[name], new = decide(self.states[name], observation, self.now, Policy(RULES))
            notices += new
        return notices

    def until(self, wanted: Callable[[list[str]], bool]) -> float:
        """Go on until something is told; how long that took."""
        begun = self.now
        while self.now - begun < LONGEST:
            if wanted(told(self.step())):
                return self.now - begun
        raise AssertionError(f"nothing of the kind was told: {self.states}")

    def _sweep(self) -> None:
        queue = QueueReport("mail", self.counts, self.outcomes, looked=frozenset(kit.LIMITS.checks))
        found = list(self.found)
        if self.counts is not None:
            found += anomalies.of_counts(TARGET, self.counts, self._muster())
        report = SweepReport(
            "prod", "5ca1ab1e", SERVER, (queue,), (), (), self.seconds, 3, self.probe, self.load
        )
        self.tally.swept(report, found, self.brakes, self.lease, self.critical, self.now)

    def _muster(self) -> Muster:
        live = self.counts.live_workers if self.counts is not None else None
        return replace(self.muster, live=self.muster.live if live is None else live)


def fight() -> Iterable[Anomaly]:
    return anomalies.of_memory(TARGET, Memory(shunned={("positions", ("7",)): ("ab", "fight")}), 0)


def wedged() -> Iterable[Anomaly]:
    counts = replace(HEALTHY, oldest_waiting=timedelta(minutes=10))
    idle = anomalies.Idle({"w1": NOW - timedelta(minutes=6)})
    return anomalies.of_idleness(TARGET, counts, Muster(4, 0, 4, idle=("w1",)), idle, NOW)


def locked() -> Iterable[Anomaly]:
    return [blocked.anomaly(TARGET, "jobs", (["17"], 4711, "psql", "ann", None, 600))]


def found(world: World, of: Iterable[Anomaly]) -> None:
    world.found = tuple(of)
    assert world.found


def upkept(world: World, result: Any, late: timedelta | None = None) -> None:
    """How the last run of a task went, and by how much the next one is late."""
    known = Known("backup", None, result, NOW, 1.0, "", None, NOW)
    dues = {"backup": Due("backup", NOW, NOW - late, "run")} if late is not None else {}
    world.sight = Sight((known,), dues, world.now)  # type: ignore[arg-type]  # a name of a task


def proven(world: World, ago: timedelta) -> None:
    """When the newest proven backup was taken."""
    world.sight = replace(NO_TASKS, at=world.now, proven_age=ago.total_seconds(), proven_within=8 * 86_400)


def sets(**attributes: Any) -> Callable[[World], None]:
    def change(world: World) -> None:
        for name, value in attributes.items():
            assert hasattr(world, name)
            setattr(world, name, value)

    return change


def counts(**changes: Any) -> Callable[[World], None]:
    return lambda world: world.counted(**changes)


def has(**outcome: Any) -> Callable[[World], None]:
    return lambda world: world.has(**outcome)


def finds(of: Callable[[], Iterable[Anomaly]]) -> Callable[[World], None]:
    return lambda world: found(world, of())


def channel(*, ok: bool) -> Callable[[World], None]:
    states = {"ops": SimpleNamespace(ok=ok)}
    return lambda world: setattr(world.own, "dispatch", SimpleNamespace(states=lambda: states))


def http(share: float | None = 0.0, refused: int = 0) -> Callable[[World], None]:
    counted = SimpleNamespace(error_share=lambda: share, refused_lately=lambda: refused)
    return lambda world: setattr(world.own, "http", counted)


def reads(metric: str, value: float | None, queue: str = "", subject: str = "") -> Callable[[World], None]:
    """A look at the database's health that reads this."""
    readings = {Where(metric, queue, subject): value}
    return sets(health=Health((), readings, {}, (), frozenset({metric})))


def memory(share: float) -> Callable[[World], None]:
    def change(_: World) -> None:
        own_readings.memory.resident = lambda: int(share * 1000)  # type: ignore[attr-defined]

    return change


ALL_FAIL = "0A000"
NOTHING = sets(found=(), outcomes=(), brakes=())

SCENARIOS: dict[str, tuple[Callable[[World], None], Callable[[World], None]]] = {
    "environment_down": (sets(down=True), sets(down=False)),
    "connection_failures": (sets(failures=4), sets(failures=0)),
    "database_errors": (
        lambda world: world.has(check="lanes", error=ALL_FAIL) if world.now % 60 else NOTHING(world),
        NOTHING,
    ),
    "database_errors_critical": (has(check="lanes", error=ALL_FAIL), NOTHING),
    "sweep_overdue": (sets(hangs=True), sets(hangs=False)),
    "sweep_slow": (sets(seconds=6.0), sets(seconds=2.0)),
    "check_slow": (has(found=9, mended=9, seconds=3.0), has(found=9, mended=9, seconds=0.1)),
    "database_slow": (sets(probe=1.5), sets(probe=0.1)),
    "database_slow_critical": (sets(probe=6.0), sets(probe=0.1)),
    "connections_used": (sets(load=Load(85, 100, 0.99)), sets(load=Load(75, 100, 0.99))),
    "connections_used_critical": (sets(load=Load(97, 100, 0.99)), sets(load=Load(20, 100, 0.99))),
    "cache_hits": (sets(load=Load(20, 100, 0.6)), sets(load=Load(20, 100, 0.8))),
    "cache_hits_low": (sets(load=Load(20, 100, 0.4)), sets(load=Load(20, 100, None))),
    "long_query": (reads("long_query_seconds", 301), reads("long_query_seconds", 300)),
    "long_query_critical": (reads("long_query_seconds", 4000), reads("long_query_seconds", 0)),
    "blocked_session": (reads("blocked_seconds", 31), reads("blocked_seconds", 30)),
    "blocked_session_critical": (reads("blocked_seconds", 301), reads("blocked_seconds", 0)),
    "idle_in_transaction": (
        reads("idle_in_transaction_seconds", 301),
        reads("idle_in_transaction_seconds", 300),
    ),
    "idle_in_transaction_critical": (
        reads("idle_in_transaction_seconds", 4000),
        reads("idle_in_transaction_seconds", 0),
    ),
    "slow_statement": (reads("slow_statement_seconds", 1.5), reads("slow_statement_seconds", 0.9)),
    "slow_statement_high": (reads("slow_statement_seconds", 6), reads("slow_statement_seconds", 0)),
    "wraparound": (reads("wraparound", 0.51), reads("wraparound", 0.01)),
    "wraparound_critical": (reads("wraparound", 0.76), reads("wraparound", 0.01)),
    "replication_lag": (
        reads("replication_lag_seconds", 61, subject="s1"),
        sets(health=Health((), {}, {}, (), frozenset({"replication_lag_seconds"}))),
    ),
    "replication_lag_critical": (
        reads("replication_lag_seconds", 601, subject="s1"),
        reads("replication_lag_seconds", 1, subject="s1"),
    ),
    "slot_unread": (reads("slot_megabytes", 1001, subject="s1"), reads("slot_megabytes", 1, subject="s1")),
    "slot_unread_critical": (
        reads("slot_megabytes", 10_001, subject="s1"),
        sets(health=Health((), {}, {}, (), frozenset({"slot_megabytes"}))),
    ),
    "disk_used": (reads("disk_used", 0.86), reads("disk_used", 0.8)),
    "disk_used_critical": (reads("disk_used", 0.96), reads("disk_used", 0.5)),
    "unencrypted": (reads("unencrypted", 1), reads("unencrypted", 0)),
    "certificate_ends": (reads("certificate_seconds", 29 * DAY), reads("certificate_seconds", 90 * DAY)),
    "certificate_ends_critical": (
        reads("certificate_seconds", 6 * DAY),
        reads("certificate_seconds", 90 * DAY),
    ),
    "index_use": (reads("index_use", 0.94, "mail"), reads("index_use", None, "mail")),
    "missing_indexes": (reads("missing_indexes", 1, "mail"), reads("missing_indexes", 0, "mail")),
    "invalid_indexes": (reads("invalid_indexes", 1, "mail"), reads("invalid_indexes", 0, "mail")),
    "duplicate_indexes": (reads("duplicate_indexes", 1, "mail"), reads("duplicate_indexes", 0, "mail")),
    "unused_indexes": (reads("unused_indexes", 1, "mail"), reads("unused_indexes", 0, "mail")),
    "autovacuum_off": (reads("autovacuum_off", 1, "mail"), reads("autovacuum_off", 0, "mail")),
    "dead_rows": (reads("dead_rows", 0.31, "mail"), reads("dead_rows", None, "mail")),
    "dead_rows_critical": (reads("dead_rows", 0.9, "mail"), reads("dead_rows", 0.1, "mail")),
    "bloat": (reads("bloat", 0.51, "mail"), reads("bloat", 0.1, "mail")),
    "bloat_high": (reads("bloat", 0.81, "mail"), reads("bloat", None, "mail")),
    "stale_statistics": (reads("stale_statistics", 0.6, "mail"), reads("stale_statistics", None, "mail")),
    "lease_free": (
        sets(lease={"ours": False, "holder": None, "epoch": 3}),
        sets(lease={"ours": False, "holder": "h2", "epoch": 4}),
    ),
    "brake": (sets(brakes=(BrakeChange(on=True, kind="mass_death", queue="mail", why="…"),)), NOTHING),
    "drift": (finds(lambda: [anomalies.drift("prod", "mail", ["no column"])]), NOTHING),
    "left_over": (has(found=5, mended=2, skipped=3), has(found=2, mended=2)),
    "set_aside": (has(found=1, set_aside=1), NOTHING),
    "reset_storm": (finds(lambda: anomalies.of_memory(TARGET, Memory(), 51)), NOTHING),
    "threshold": (finds(lambda: [anomalies.threshold(TARGET, timedelta(minutes=9))]), NOTHING),
    "premature_reset": (
        finds(lambda: [anomalies.premature(TARGET, ("17",), timedelta(minutes=4))]),
        NOTHING,
    ),
    "fight": (finds(fight), NOTHING),
    "blocked": (finds(locked), NOTHING),
    "upkeep_failed": (
        lambda world: upkept(world, "failed"),
        lambda world: upkept(world, "done"),
    ),
    "upkeep_overdue": (
        lambda world: upkept(world, "done", late=timedelta(minutes=61)),
        lambda world: upkept(world, "done"),
    ),
    "backup_unproven": (
        lambda world: proven(world, timedelta(days=8, seconds=1)),
        lambda world: proven(world, timedelta(days=7)),
    ),
    "no_live_worker": (counts(live_workers=0), counts(live_workers=1)),
    "overbusy": (counts(running=9), counts(running=8)),
    "zombie": (sets(muster=Muster(4, 0, 4, zombies=("w1",))), sets(muster=Muster(4, 0, 4))),
    "wedged": (finds(wedged), NOTHING),
    "critical_failures": (
        lambda world: (sets(critical=("mail",))(world), world.rises(failed=1))[0],
        lambda _: None,
    ),
    "failures": (counts(failed_last_hour=11), counts(failed_last_hour=10)),
    "failure_share": (counts(failed_last_hour=20), counts(failed_last_hour=4)),
    "failure_share_critical": (
        counts(failed_last_hour=6, done_last_hour=4),
        counts(failed_last_hour=2, done_last_hour=2),
    ),
    "failed_in_a_row": (counts(failed_in_a_row=3), counts(failed_in_a_row=0)),
    "given_up": (has(event="jobs.failed", found=1, mended=1), NOTHING),
    "stalled": (
        counts(last_finished=timedelta(minutes=6), oldest_waiting=timedelta(minutes=6)),
        counts(last_finished=timedelta(seconds=5)),
    ),
    "oldest_waiting": (
        counts(oldest_waiting=timedelta(minutes=61)),
        counts(oldest_waiting=None, eligible=0),
    ),
    "backlog": (counts(waiting=101), counts(waiting=50)),
    "average_run": (counts(average_run=timedelta(hours=2)), counts(average_run=None, done_last_hour=0)),
    "runs_longer": (counts(run_time_ratio=2.5), counts(run_time_ratio=None)),
    "memory_used": (memory(0.85), memory(0.5)),
    "memory_used_critical": (memory(0.95), memory(0.5)),
    "channel_failing": (channel(ok=False), channel(ok=True)),
    "http_errors": (http(share=0.06), http(share=None)),
    "http_refused": (http(refused=21), http(refused=0)),
    "config_rejected": (
        lambda world: setattr(world.own, "config_rejected", True),
        lambda world: setattr(world.own, "config_rejected", False),
    ),
}


@pytest.fixture(autouse=True)
def _modest(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = SimpleNamespace(resident=lambda: 100, allowed=lambda: 1000)
    monkeypatch.setattr(own_readings, "memory", sizes)


@pytest.mark.parametrize("name", list(BY_NAME))
def test_g14_g15_a_default_rule_fires_and_resolves(name: str) -> None:
    world, rule = World(), BY_NAME[name]
    bad, good = SCENARIOS[name]
    for _ in range(5):
        assert world.step() == [], "a healthy environment is silent"

    def fires(heard: list[str]) -> bool:
        if any(one.startswith(f"fired {name}") for one in heard):
            return True
        bad(world)
        return False

    bad(world)
    assert world.until(fires) >= rule.hold.total_seconds()
    (alert,) = [one for state in world.states.values() for one in state.alerts if one.rule == name]
    assert (alert.severity, alert.muted, alert.announced) == (rule.severity, None, True)
    assert "{" not in alert.summary
    good(world)
    world.until(lambda heard: any(one.startswith(f"resolved {name}") for one in heard))
    assert name not in [one.rule for state in world.states.values() for one in state.alerts]


def test_each_default_rule_has_a_scenario() -> None:
    assert SCENARIOS.keys() == BY_NAME.keys()


def test_default_rules_are_well_formed() -> None:
    assert len(BY_NAME) == len(RULES)
    for rule in RULES:
        assert rule.metric in READINGS, rule.name
        assert rule.summary, rule.name
        assert rule.hint, rule.name
        assert not rule.channels
        if rule.clear is not None:
            assert rule.clear < rule.threshold if rule.comparison == "above" else rule.clear > rule.threshold


def test_of_two_default_rules_on_one_reading_the_louder_one_needs_more() -> None:
    for quiet in RULES:
        for loud in RULES:
            if (quiet.metric, quiet.comparison) == (loud.metric, loud.comparison):
                louder = SEVERITIES.index(loud.severity) - SEVERITIES.index(quiet.severity)
                more = loud.threshold - quiet.threshold
                assert (more if loud.comparison == "above" else -more) * louder >= 0
                assert quiet is loud or louder, f"{quiet.name} and {loud.name} are as loud"


def test_only_a_database_that_is_down_mutes_all_others() -> None:
    assert [rule.name for rule in RULES if rule.mutes] == ["environment_down"]
