"""What the ledger remembers for all daemons, across restarts: budgets, premature resets, made-up times."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import kit
import ledgers
import pytest
from ledgers import Ledgered
from rows import Rows

from queuewarden.checks import by_hand
from queuewarden.engine.ledger import recall
from queuewarden.queues.mapping import TableName

if TYPE_CHECKING:
    from collections.abc import Callable

    from servers import Database

LIMITS = replace(kit.LIMITS, checks=("stuck_jobs",), rescue_budget=2)


@pytest.fixture
def queue(databases: Callable[..., Database]) -> Ledgered:
    return Ledgered(databases(ledgers.SCHEMA), limits=LIMITS)


def stick(queue: Ledgered) -> None:
    """It is claimed again and hangs again."""
    queue.database.execute(
        "UPDATE jobs SET status = 'running', started_at = now() - interval '1 h', worker = 'w',"
        " attempts = 0 WHERE status = 'waiting'"
    )


def again(queue: Ledgered) -> str:
    """It hangs once more, and another daemon finds it; what becomes of it."""
    stick(queue)
    queue.restart()
    queue.sweep()
    return str(queue.database.value("SELECT status FROM jobs"))


@pytest.mark.versions
def test_r3_the_rescue_budget_is_spent_across_restarts_and_daemons(queue: Ledgered) -> None:
    Rows(queue.database).job("waiting")
    assert [again(queue) for _ in range(3)] == ["waiting", "waiting", "failed"]
    assert queue.changes()[-1].event == "jobs.failed"


@pytest.mark.versions
def test_what_was_undone_does_not_count(queue: Ledgered) -> None:
    Rows(queue.database).job("waiting")
    assert [again(queue), again(queue)] == ["waiting", "waiting"]
    assert [one.refused for one in queue.undo(2)] == [None]
    queue.database.execute("UPDATE jobs SET status = 'waiting'")
    assert [again(queue), again(queue)] == ["waiting", "failed"]


def test_a_reset_by_hand_does_not_count_nor_one_of_yesterday_nor_one_of_another_queue(
    queue: Ledgered,
) -> None:
    Rows(queue.database).job("waiting")
    for change in (
        f"reason = '{by_hand.NAME}'",
        "at = at - interval '25 h'",
        "queue = 'fax'",
        "table_name = 'tasks'",
    ):
        assert again(queue) == "waiting"
        queue.database.execute(
            f"UPDATE queuewarden.changes SET {change} WHERE first_id = (SELECT max(first_id)"
            " FROM queuewarden.changes)"
        )
    assert [again(queue) for _ in range(3)] == ["waiting", "waiting", "failed"]


def test_budgets_of_jobs_with_keys_of_several_columns(queue: Ledgered) -> None:
    queue.database.execute(
        "CREATE TABLE parts (a int, b text, status text, started_at timestamptz, PRIMARY KEY (a, b));"
        "INSERT INTO parts VALUES (1, 'x,y', 'waiting'), (1, 'x', 'waiting')"
    )
    plain: dict[str, Any] = dict.fromkeys(
        ("worker", "enqueued_at", "finished_at", "attempts", "max_attempts", "error")
    )
    queue.mapping = replace(
        kit.jobs_mapping(table=TableName("parts"), id=("a", "b"), label=(), **plain), workers=None
    )
    for _ in range(3):
        queue.database.execute(
            "UPDATE parts SET status = 'running', started_at = now() - interval '1 h'"
            " WHERE b = 'x,y' AND status = 'waiting'"
        )
        queue.restart()
        queue.sweep()
    assert queue.database.rows("SELECT b, status FROM parts ORDER BY b") == [
        ("x", "waiting"),
        ("x,y", "failed"),
    ]


def finished_early(queue: Ledgered, ran: str) -> None:
    """A job of a live worker is reset, and its worker finishes it after all."""
    rows = Rows(queue.database)
    rows.worker("w")
    rows.job("running", ran, worker="w")
    queue.sweep()
    queue.database.execute("UPDATE jobs SET status = 'done', worker = 'w', finished_at = now()")


@pytest.mark.versions
def test_r5_a_premature_reset_shows_to_another_daemon_with_the_limit_that_would_have_done(
    queue: Ledgered,
) -> None:
    finished_early(queue, "40 minutes")
    queue.restart()
    report = queue.report()
    found = {one.anomaly.kind: one.anomaly for one in report.notices}
    assert set(found) == {"premature_reset", "threshold"}
    assert 2400 <= float(found["threshold"].facts["advised_seconds"]) < 2460
    Rows(queue.database).job("running", "30 minutes", worker="w")
    assert queue.sweep() == {}, "live workers are spared"
    queue.limits = replace(LIMITS, stuck_after_alive=timedelta(minutes=45))
    assert queue.sweep() == {}
    queue.database.execute("UPDATE jobs SET started_at = now() - interval '50 m' WHERE status = 'running'")
    assert queue.sweep()["stuck_alive"].mended == 1


@pytest.mark.parametrize(
    "afterwards",
    [
        "UPDATE jobs SET worker = 'w2'",
        "UPDATE jobs SET started_at = now()",
        "UPDATE jobs SET status = 'failed'",
        "UPDATE queuewarden.changes SET reason = 'by_hand'",
        "UPDATE queuewarden.changes SET at = at - interval '25 h'",
    ],
)
def test_what_is_no_premature_reset(queue: Ledgered, afterwards: str) -> None:
    finished_early(queue, "40 minutes")
    queue.database.execute(afterwards)
    queue.restart()
    assert queue.report().notices == ()


def test_a_reset_that_a_person_took_back_was_premature_all_the_same(queue: Ledgered) -> None:
    rows = Rows(queue.database)
    rows.worker("w")
    rows.job("running", "40 minutes", worker="w")
    queue.sweep()
    queue.undo()
    queue.database.execute("UPDATE jobs SET status = 'done', finished_at = now()")
    queue.restart()
    kinds = {one.anomaly.kind for one in queue.report().notices}
    assert kinds == {"premature_reset", "threshold"}, "its worker was at work, and the limit is too short"


def test_only_the_latest_resets_are_looked_at(queue: Ledgered, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recall, "LATEST", 3)
    queue.limits = replace(LIMITS, batch=2, brake_rows=1000)
    rows = Rows(queue.database)
    rows.worker("w")
    for minutes in range(59, 49, -1):
        rows.job("running", f"{minutes} minutes", worker="w")
    queue.sweep()
    queue.database.execute("UPDATE jobs SET status = 'done', worker = 'w', finished_at = now()")
    queue.restart()
    report = queue.report()
    keys = {one.anomaly.subject for one in report.notices if one.anomaly.kind == "premature_reset"}
    assert len(keys) == 3
    assert keys == {"8", "9", "10"}


@pytest.mark.versions
def test_times_that_another_daemon_made_up_feed_no_anomaly(queue: Ledgered) -> None:
    queue.mapping = replace(kit.MAPPING, timestamps=(("done", "finished_at"),))
    queue.limits = replace(kit.LIMITS, checks=("timestamps",))
    rows = Rows(queue.database)
    rows.worker("w")
    jobs = [rows.job("done", "5 hours", worker="w") for _ in range(25)]
    queue.sweep()
    assert queue.database.value("SELECT count(*) FROM jobs WHERE finished_at IS NOT NULL") == 25
    queue.restart()
    assert queue.report().notices == (), "25 jobs that seem to have run for five hours"
    known = queue.sweeper.state("mail").memory
    assert set(known.estimated) == {(str(job),) for job in jobs}
    assert known.last_filled == 25
    rows.job("done", "1 hour", worker="w")
    queue.sweep()
    queue.sweep()
    assert len(known.estimated) == 26
    assert known.last_filled == 26


def test_a_storm_of_resets_is_one_whoever_made_them(queue: Ledgered) -> None:
    queue.limits = replace(LIMITS, brake_rows=3)
    rows = Rows(queue.database)
    for _ in range(2):
        for _ in range(2):
            rows.job("running", "1 hour")
        queue.restart()
        queue.sweep()
    queue.restart()
    report = queue.report()
    assert [one.anomaly.kind for one in report.notices if one.anomaly.kind == "reset_storm"] == [
        "reset_storm"
    ]


def test_a_ledger_that_cannot_be_asked_holds_all_repair_and_says_so(queue: Ledgered) -> None:
    rows = Rows(queue.database)
    rows.job("running", "1 hour")
    queue.database.execute("ALTER TABLE queuewarden.changes RENAME undoes TO taken_back")
    report = queue.report()
    outcomes = {one.code: one for one in report.queues[0].outcomes}
    assert outcomes["ledger"].error == "42703"
    assert outcomes["stuck"].held == "ledger"
    assert set(rows.statuses().values()) == {"running"}


def test_what_the_ledger_tells_comes_with_the_first_round_trip(queue: Ledgered) -> None:
    queue.sweep()
    queue.report()
    trips = queue.report().round_trips
    plain = Ledgered(queue.database, limits=LIMITS)
    with queue.database.connect() as other:
        other.execute("DROP SCHEMA queuewarden CASCADE")
    plain.sweep()
    plain.report()
    assert trips == plain.report().round_trips
