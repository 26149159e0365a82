"""What sweeps tell, as readings: what is known, what is unknown, and what is known to be missing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuewarden.engine.alerting.notices import About
from queuewarden.engine.alerting.queue_tally import STALE
from queuewarden.engine.alerting.readings import ANOMALIES, READINGS, unit
from queuewarden.engine.alerting.tally import ALWAYS, LOAD, SWEPT, Tally
from queuewarden.engine.alerting.windows import Window
from queuewarden.engine.outcomes import Load
from queuewarden.engine.report import QueueReport, SweepReport
from queuewarden.model import Anomaly, BrakeChange, Counts, Outcome, ServerState

if TYPE_CHECKING:
    from queuewarden.engine.alerting.notices import Observation

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SERVER = ServerState(NOW, NOW, standby=False, timeline=None, system=None)
PROD, MAIL, NEWS = About("prod"), About("prod", "mail"), About("prod", "news")
COUNTS = Counts(waiting=3, eligible=2, running=4, failed=5, failed_last_hour=1, live_workers=2)
CHECKS = frozenset({"stuck_jobs", "dead_workers"})


def queue(
    name: str = "mail", counts: Counts | None = COUNTS, *outcomes: Outcome, looked: frozenset[str] = CHECKS
) -> QueueReport:
    return QueueReport(name, counts, outcomes, looked=looked)


def outcome(check: str = "stuck_jobs", event: str = "jobs.reset", **rest: Any) -> Outcome:
    return Outcome("prod", "mail", check, "code", event, **rest)


class Swept:
    """One environment, swept again and again."""

    def __init__(self) -> None:
        self.tally = Tally("prod")
        self.anomalies: list[Anomaly] = []
        self.brakes: list[BrakeChange] = []
        self.lease: dict[str, Any] | None = None
        self.critical: tuple[str, ...] = ()
        self.load: Load | None = None

    def sweep(self, now: float, *queues: QueueReport) -> None:
        report = SweepReport("prod", "s", SERVER, queues, (), (), 0.5, 3, 0.25, self.load)
        self.tally.swept(report, self.anomalies, self.brakes, self.lease, self.critical, now)

    def seen(
        self, now: float, *queues: QueueReport, there: tuple[str, ...] = ("mail",), down: bool = False
    ) -> Observation:
        if queues:
            self.sweep(now, *queues)
        return self.tally.observation(now, down=down, queues=there)


def test_before_the_first_sweep_next_to_nothing_is_known() -> None:
    swept = Swept()
    seen = swept.seen(10)
    assert (seen.readings.keys(), seen.settled, seen.queues) == (ALWAYS, ALWAYS, None)
    assert seen.readings["environment_down"] == {PROD: 0}
    assert swept.seen(70).readings["sweep_age_seconds"] == {PROD: 60}


def test_counts_are_readings() -> None:
    readings = Swept().seen(1, queue()).readings
    assert readings["waiting_jobs"] == {MAIL: 3}
    assert readings["running_jobs"] == {MAIL: 4}
    assert readings["failed_last_hour"] == {MAIL: 1}
    assert readings["active_workers"] == {MAIL: 2}
    assert readings["busy_ratio"] == {MAIL: 2}
    assert readings["sweep_seconds"] == {PROD: 0.5}
    assert readings["probe_seconds"] == {PROD: 0.25}


def test_while_the_database_is_down_only_that_is_known() -> None:
    swept = Swept()
    swept.sweep(1, queue())
    swept.tally.failed(5)
    swept.tally.failed(6)
    seen = swept.seen(7, down=True)
    assert seen.readings == {
        "environment_down": {PROD: 1},
        "connection_failures": {PROD: 2},
        "sweep_age_seconds": {PROD: 6},
    }
    assert (seen.settled, seen.queues, seen.absent) == (ALWAYS, None, frozenset())
    assert swept.seen(65, down=True).readings["connection_failures"] == {PROD: 1}
    assert swept.seen(66, down=True).readings["connection_failures"] == {PROD: 0}


def test_r13_counts_that_could_not_be_taken_are_unknown() -> None:
    blind = queue("mail", None, outcome("observe", "", error="57014"))
    seen = Swept().seen(1, blind, queue("news"), there=("mail", "news"))
    assert seen.readings["waiting_jobs"] == {NEWS: 3}
    assert "waiting_jobs" not in seen.settled
    assert ("waiting_jobs", MAIL) not in seen.absent


def test_a_queue_whose_interval_has_not_passed_stays_as_it_was() -> None:
    swept = Swept()
    swept.sweep(1, queue(), queue("news"))
    seen = swept.seen(2, queue("mail", replace(COUNTS, waiting=9)), there=("mail", "news"))
    assert seen.readings["waiting_jobs"] == {MAIL: 9, NEWS: 3}


def test_r13_a_queue_whose_mapping_no_longer_fits_is_unknown_until_it_does() -> None:
    swept = Swept()
    stuck = MAIL._replace(subject="stuck_jobs")
    swept.sweep(1, queue("mail", COUNTS, outcome(found=5)))
    swept.anomalies = [Anomaly("drift", "prod", "mail"), Anomaly("drift", "prod", None, "ledger")]
    swept.sweep(31)
    seen = swept.seen(32)
    assert not {"waiting_jobs", "left_over"} & (seen.readings.keys() | seen.settled)
    assert not {("waiting_jobs", MAIL), ("left_over", stuck)} & seen.absent
    assert seen.readings["drift"][MAIL] == 1
    assert swept.seen(41, queue()).readings["waiting_jobs"] == {MAIL: 3}, "it is only observed"
    swept.anomalies = []
    assert swept.seen(61, queue()).readings["waiting_jobs"] == {MAIL: 3}


def test_a_queue_that_is_no_more_is_forgotten() -> None:
    swept = Swept()
    swept.sweep(1, queue(), queue("news"))
    seen = swept.seen(2, there=("mail",))
    assert (seen.readings["waiting_jobs"], seen.queues) == ({MAIL: 3}, frozenset({"mail"}))


def test_what_a_queue_does_not_have_is_absent_not_zero() -> None:
    seen = Swept().seen(1, queue("mail", Counts(waiting=3, eligible=3, running=0)))
    for metric in ("failed_last_hour", "oldest_waiting_seconds"):
        assert metric not in seen.readings
        assert (metric, MAIL) in seen.absent
    for metric in ("active_workers", "silent_workers", "busy_ratio", "failure_share", "average_run_seconds"):
        assert metric not in seen.readings
        assert (metric, MAIL) not in seen.absent, "nobody could ask"


def test_where_no_job_may_run_the_oldest_has_waited_for_no_time() -> None:
    counts = replace(COUNTS, eligible=0, oldest_waiting=None)
    assert Swept().seen(1, queue("mail", counts)).readings["oldest_waiting_seconds"] == {MAIL: 0}
    counts = replace(COUNTS, oldest_waiting=timedelta(minutes=2))
    assert Swept().seen(1, queue("mail", counts)).readings["oldest_waiting_seconds"] == {MAIL: 120}


def test_without_live_workers_none_is_busy() -> None:
    seen = Swept().seen(1, queue("mail", replace(COUNTS, live_workers=0)))
    assert "busy_ratio" not in seen.readings
    assert ("busy_ratio", MAIL) in seen.absent


@pytest.mark.parametrize(
    ("done", "failed", "share"), [(3, 1, None), (4, 1, 0.2), (0, 5, 1.0), (5, 0, 0.0), (0, 0, None)]
)
def test_o20_a_share_of_failures_needs_a_sample(done: int, failed: int, share: float | None) -> None:
    seen = Swept().seen(1, queue("mail", replace(COUNTS, done_last_hour=done, failed_last_hour=failed)))
    assert seen.readings.get("failure_share", {}).get(MAIL) == share
    assert (("failure_share", MAIL) in seen.absent) == (share is None)


def test_how_jobs_end_is_told_where_somebody_asked() -> None:
    counts = replace(
        COUNTS,
        done_last_hour=30,
        failed_in_a_row=2,
        average_run=timedelta(seconds=90),
        run_time_ratio=1.5,
    )
    readings = Swept().seen(1, queue("mail", counts)).readings
    assert readings["failed_in_a_row"] == {MAIL: 2}
    assert readings["average_run_seconds"] == {MAIL: 90}
    assert readings["run_time_ratio"] == {MAIL: 1.5}


def test_g7_failed_checks_are_a_share_of_the_last_ten_minutes_not_of_a_lifetime() -> None:
    swept = Swept()
    failing = queue("mail", COUNTS, outcome(error="42703"), outcome(error="42703"))
    assert "database_errors" not in swept.seen(0, failing).readings, "three checks say nothing"
    for moment in range(30, 600, 30):
        swept.sweep(moment, queue())
    assert swept.seen(599).readings["database_errors"] == {PROD: 1 / 60}
    assert swept.seen(600).readings["database_errors"] == {PROD: 0}
    assert "database_errors" in swept.seen(5000).settled
    assert "database_errors" not in swept.seen(5000).readings


def test_twenty_checks_are_enough_to_tell() -> None:
    swept = Swept()
    four = queue(looked=frozenset({"stuck_jobs", "dead_workers", "lanes", "orphans"}))
    for moment in range(3):
        assert "database_errors" not in swept.seen(moment, four).readings
    assert swept.seen(3, four).readings["database_errors"] == {PROD: 0}


def test_each_failure_of_a_sweep_counts_once_a_check() -> None:
    swept = Swept()
    for moment in range(10):
        swept.sweep(
            moment, queue("mail", None, outcome("observe", "", error="57014"), outcome(error="42703"))
        )
    assert swept.seen(10).readings["database_errors"] == {PROD: 2 / 3}


def test_what_a_check_leaves_over() -> None:
    swept = Swept()
    first = outcome(found=5, mended=2, skipped=2, set_aside=1, seconds=0.5)
    seen = swept.seen(1, queue("mail", COUNTS, first, outcome(found=3, mended=3, seconds=0.25)))
    stuck = MAIL._replace(subject="stuck_jobs")
    dead = MAIL._replace(subject="dead_workers")
    assert seen.readings["left_over"] == {stuck: 2, dead: 0}
    assert seen.readings["set_aside"] == {stuck: 1}
    assert seen.readings["check_seconds"] == {stuck: 0.75}
    assert seen.settled >= {"left_over", "set_aside", "check_seconds"}
    paced = swept.seen(31, queue(looked=frozenset({"dead_workers"})))
    assert paced.readings["left_over"] == {stuck: 2, dead: 0}, "it did not look"
    clean = swept.seen(61, queue())
    assert clean.readings["left_over"] == {stuck: 0, dead: 0}
    assert ("check_seconds", stuck) in clean.absent
    assert clean.readings["set_aside"] == {stuck: 1}, "the row is still at fault"
    assert swept.seen(3601).readings["set_aside"] == {stuck: 0}


def test_r13_what_a_failed_check_would_have_found_is_unknown() -> None:
    swept = Swept()
    stuck = MAIL._replace(subject="stuck_jobs")
    swept.sweep(1, queue("mail", COUNTS, outcome(found=5)))
    failed = swept.seen(31, queue("mail", COUNTS, outcome(error="57014")))
    assert stuck not in failed.readings["left_over"]
    assert ("left_over", stuck) not in failed.absent
    assert "left_over" not in failed.settled
    paced = swept.seen(61, queue(looked=frozenset()))
    assert "left_over" not in paced.settled
    assert swept.seen(91, queue()).readings["left_over"][stuck] == 0


def test_counts_that_fail_say_nothing_of_what_checks_leave_over() -> None:
    blind = queue("mail", None, outcome("observe", "", error="57014"))
    assert "left_over" in Swept().seen(1, blind).settled


def test_a_check_that_failed_and_is_no_longer_run_is_forgotten() -> None:
    swept = Swept()
    swept.sweep(1, queue("mail", COUNTS, outcome(error="57014")))
    others = queue(looked=frozenset({"dead_workers"}))
    assert "left_over" not in swept.seen(STALE, others).settled
    assert "left_over" in swept.seen(STALE + 1, others).settled


def test_a_check_that_is_no_longer_run_is_forgotten() -> None:
    swept = Swept()
    stuck = MAIL._replace(subject="stuck_jobs")
    swept.sweep(1, queue("mail", COUNTS, outcome(found=5, seconds=9.0)))
    others = queue(looked=frozenset({"dead_workers"}))
    assert swept.seen(STALE, others).readings["left_over"][stuck] == 5
    seen = swept.seen(STALE + 1, others)
    assert {("left_over", stuck), ("check_seconds", stuck)} <= seen.absent


def test_until_each_queue_was_swept_nobody_knows_what_checks_leave_over() -> None:
    swept = Swept()
    assert "left_over" not in swept.seen(1, queue(), there=("mail", "news")).settled
    assert "left_over" in swept.seen(2, queue("news"), there=("mail", "news")).settled


def test_jobs_that_were_given_up_count_for_ten_minutes() -> None:
    swept = Swept()
    gave_up = outcome(event="jobs.failed", found=2, mended=2)
    swept.sweep(0, queue("mail", COUNTS, gave_up, outcome(found=7, mended=7)))
    assert swept.seen(30, queue()).readings["given_up"] == {MAIL: 2}
    assert swept.seen(600, queue()).readings["given_up"] == {MAIL: 0}


def test_s2_23_failures_of_a_critical_queue() -> None:
    swept = Swept()
    swept.critical = ("mail",)
    first = swept.seen(0, queue(), queue("news"), there=("mail", "news"))
    assert first.readings["critical_failures"] == {MAIL: 0}, "what failed before is not new"
    assert ("critical_failures", NEWS) in first.absent
    both = swept.seen(30, queue("mail", replace(COUNTS, failed=7, failed_last_hour=3)))
    assert both.readings["critical_failures"] == {MAIL: 2}, "once, though two counts tell of it"
    purged = swept.seen(60, queue("mail", replace(COUNTS, failed=0, failed_last_hour=4)))
    assert purged.readings["critical_failures"] == {MAIL: 3}
    swept.sweep(90, queue("mail", None))
    after = swept.seen(120, queue("mail", replace(COUNTS, failed=1, failed_last_hour=4)))
    assert after.readings["critical_failures"] == {MAIL: 4}, "one failed while nobody could count"
    retried = swept.seen(150, queue("mail", replace(COUNTS, failed=0, failed_last_hour=3)))
    assert retried.readings["critical_failures"] == {MAIL: 4}
    assert swept.seen(720).readings["critical_failures"] == {MAIL: 0}
    swept.critical = ()
    assert ("critical_failures", MAIL) in swept.seen(730, queue()).absent


def test_failures_that_cannot_be_counted_are_none() -> None:
    swept = Swept()
    swept.critical = ("mail",)
    for moment in (0, 30):
        seen = swept.seen(moment, queue("mail", Counts(waiting=3, eligible=3, running=0)))
    assert seen.readings["critical_failures"] == {MAIL: 0}


@pytest.mark.parametrize(
    ("lease", "free"),
    [
        (None, None),
        ({"ours": True, "holder": "me", "epoch": 1}, 0),
        ({"ours": False, "holder": "other", "epoch": 1}, 0),
        ({"ours": False, "holder": None, "epoch": 1}, 1),
    ],
)
def test_a_lease_is_free_where_nobody_has_it(lease: dict[str, Any] | None, free: float | None) -> None:
    swept = Swept()
    swept.lease = lease
    assert swept.seen(1, queue()).readings.get("lease_free", {}).get(PROD) == free


def test_brakes_and_anomalies_are_readings_by_what_they_are_about() -> None:
    swept = Swept()
    swept.brakes = [
        BrakeChange(on=True, kind="grace", queue=None, why=""),
        BrakeChange(on=True, kind="mass_death", queue="mail", why=""),
    ]
    swept.anomalies = [
        Anomaly("zombie", "prod", "mail", "w1"),
        Anomaly("zombie", "prod", "mail", "w2"),
        Anomaly("drift", "prod", None, "ledger", {"faults": 3}),
        Anomaly("no_live_worker", "prod", "mail", "", {"waiting_jobs": 7}),
        Anomaly("stalled", "prod", "mail", "", {"age": 0}),
        Anomaly("failures", "prod", "mail", "", {"failed_jobs": "many"}),
        Anomaly("of a later version", "prod", "mail"),
    ]
    seen = swept.seen(1, queue())
    readings = seen.readings
    assert readings["brake"] == {PROD._replace(subject="grace"): 1, MAIL._replace(subject="mass_death"): 1}
    assert readings["zombie"] == {MAIL._replace(subject="w1"): 1, MAIL._replace(subject="w2"): 1}
    assert readings["drift"] == {PROD._replace(subject="ledger"): 3}
    assert readings["no_live_worker"] == {MAIL: 7}
    assert readings["stalled"] == {MAIL: 1}, "it is there, so that it is more than nothing"
    assert readings["failures"] == {MAIL: 1}
    assert readings.keys() <= READINGS.keys()
    swept.brakes, swept.anomalies = [], []
    seen = swept.seen(2, queue())
    assert not {"brake", *ANOMALIES} & seen.readings.keys()
    assert {"brake", *ANOMALIES} <= seen.settled


def test_the_servers_load_is_known_where_it_was_asked_for() -> None:
    swept = Swept()
    assert not LOAD & swept.seen(1, queue()).settled
    swept.load = Load(20, 80, None)
    seen = swept.seen(2, queue())
    assert seen.readings["connections_used"] == {PROD: 0.25}
    assert "cache_hits" not in seen.readings
    assert seen.settled >= LOAD
    swept.load = Load(20, 0, 0.5)
    seen = swept.seen(3, queue())
    assert "connections_used" not in seen.readings
    assert seen.readings["cache_hits"] == {PROD: 0.5}


def test_what_is_settled_is_a_reading() -> None:
    assert READINGS.keys() >= ALWAYS | SWEPT | LOAD
    assert {unit(metric) for metric in READINGS} == {"seconds", "share", "number"}
    assert (unit("oldest_waiting"), unit("cache_hits"), unit("nonsense")) == ("seconds", "share", "number")
    assert all(unit(metric) == "seconds" for metric in READINGS if metric.endswith("_seconds"))


def test_a_window_forgets_and_is_bounded() -> None:
    window = Window(60)
    window.add(0, 0)
    window.add(2, 1)
    window.add(3, 2)
    assert [window.total(moment) for moment in (2, 60.9, 61, 62)] == [5, 5, 3, 0]
    for _ in range(20_000):
        window.add(1, 70)
    assert window.total(71) == 10_000


COUNT = st.none() | st.integers(0, 3)
SPAN = st.none() | st.timedeltas(timedelta(seconds=-5), timedelta(days=400))
COUNTED = st.none() | st.builds(
    Counts,
    *([COUNT] * 5),
    *([SPAN] * 2),
    *([COUNT] * 5),
    average_run=SPAN,
    run_time_ratio=st.none() | st.floats(),
)
OUTCOMES = st.builds(
    Outcome,
    st.just("prod"),
    st.just("mail"),
    st.sampled_from(["stuck_jobs", "observe", "lanes"]),
    st.just("code"),
    st.sampled_from(["jobs.failed", "jobs.reset", ""]),
    found=st.integers(0, 3),
    mended=st.integers(0, 3),
    set_aside=st.integers(0, 3),
    error=st.sampled_from([None, None, "57014"]),
)
QUEUES = st.builds(
    QueueReport,
    st.sampled_from(["mail", "news"]),
    COUNTED,
    st.lists(OUTCOMES, max_size=3).map(tuple),
    looked=st.frozensets(st.sampled_from(["stuck_jobs", "lanes"])),
)
SWEEPS = st.tuples(st.sampled_from([0.0, 30.0, 700.0, 9000.0]), st.booleans(), st.lists(QUEUES, max_size=3))


@given(st.lists(SWEEPS, max_size=12), st.sets(st.sampled_from(["mail", "news"])))
def test_whatever_sweeps_report_it_makes_sense(
    sweeps: list[tuple[float, bool, list[QueueReport]]], there: set[str]
) -> None:
    swept, now = Swept(), 1000.0
    swept.critical = ("news",)
    for wait, down, queues in sweeps:
        now += wait
        if down:
            swept.tally.failed(now)
        else:
            swept.sweep(now, *queues)
        seen = swept.seen(now, there=tuple(there), down=down)
        assert seen.readings.keys() | seen.settled <= READINGS.keys()
        for metric, found in seen.readings.items():
            assert found
            for about, value in found.items():
                assert isinstance(value, float)
                assert (metric, about) not in seen.absent
                assert about.queue in {"", *there}
                if unit(metric) == "share":
                    assert 0 <= value <= 1


def test_a_long_interval_is_not_overdue() -> None:
    tally = Tally("prod")
    tally.failed(0)
    seen = tally.observation(4000, down=True, queues=(), interval=3600)
    assert seen.readings["sweep_age_seconds"] == {PROD: 400}
