"""Undo: a row goes back exactly, where it still is what the repair made of it; all else is refused."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import kit
import ledgers
import psycopg
import pytest
from ledgers import Ledgered, refusals
from rows import Rows

from queuewarden.adapters.db.session import Session
from queuewarden.engine import replay
from queuewarden.queues.mapping import OrderTerm, Positions, Reference, TableName

if TYPE_CHECKING:
    from collections.abc import Callable

    from servers import Database

MAPPED = replace(
    kit.jobs_mapping(heartbeat="heartbeat", updated_at="updated_at"),
    positions=Positions(column="position", order_by=(OrderTerm("enqueued_at"),), lane=("lane",)),
    references=(Reference("parent", TableName("parents"), "id"),),
    timestamps=(("done", "finished_at"),),
)
TOUCH = """
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN NEW.updated_at := clock_timestamp(); RETURN NEW; END $$;
CREATE TRIGGER touch BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION touch()"""


@pytest.fixture
def queue(databases: Callable[..., Database]) -> Ledgered:
    database = databases(ledgers.SCHEMA)
    database.execute("CREATE TABLE parents (id bigint PRIMARY KEY); INSERT INTO parents VALUES (1)")
    return Ledgered(database, MAPPED, replace(kit.LIMITS, checks=("stuck_jobs",)))


def stuck(queue: Ledgered, count: int = 1, **columns: Any) -> list[int]:
    return [Rows(queue.database).job("running", "1 hour", **columns) for _ in range(count)]


def every_fault(queue: Ledgered) -> None:
    """A row for every check that writes."""
    rows = Rows(queue.database)
    rows.worker("alive")
    rows.worker("dead", "1 hour", status="busy")
    rows.job("running", "10 minutes", worker="dead", attempts=1, label="dead's", error="was: an error")
    rows.job("running", "10 minutes", worker="alive", attempts=3, max_attempts=3, label="spent")
    rows.job("waiting", enqueued_at="1 hour", parent=99, label="orphan")
    rows.job("done", "1 hour", updated_at="30 minutes", label="no end")
    for position in (7, 7, None):
        rows.job("waiting", lane=1, position=position, enqueued_at="5 minutes")


@pytest.mark.versions
def test_every_kind_of_repair_goes_back_to_the_letter(queue: Ledgered) -> None:
    queue.limits = kit.LIMITS
    every_fault(queue)
    jobs, workers = ledgers.image(queue.database), ledgers.image(queue.database, "workers")
    queue.sweep()
    changes = queue.changes()
    assert {one.event for one in changes} == {
        "jobs.reset",
        "jobs.failed",
        "workers.offline",
        "orphans.cancelled",
        "timestamps.filled",
        "positions.repaired",
    }
    undone = queue.undo()
    assert [one.refused for one in undone] == [None] * len(changes)
    assert [one.change.id for one in undone] == [one.id for one in changes][::-1], "the newest first"
    assert ledgers.image(queue.database) == jobs
    assert ledgers.image(queue.database, "workers") == workers


def test_a_row_whose_key_the_repair_has_changed_is_found_again(databases: Callable[..., Database]) -> None:
    """Of a table that is partitioned by status, every unique key holds the status."""
    database = databases(ledgers.SCHEMA)
    database.execute(
        "ALTER TABLE jobs RENAME TO old;"
        "CREATE TABLE jobs (LIKE old INCLUDING DEFAULTS, PRIMARY KEY (id, status))"
        " PARTITION BY LIST (status);"
        "CREATE TABLE running PARTITION OF jobs FOR VALUES IN ('running');"
        "CREATE TABLE rest PARTITION OF jobs DEFAULT"
    )
    mapping = replace(kit.jobs_mapping(id=("id", "status")), workers=None)
    queue = Ledgered(database, mapping, replace(kit.LIMITS, checks=("stuck_jobs",)))
    stuck(queue, 2)
    before = ledgers.image(database, order="id")
    queue.sweep()
    assert [one.refused for one in queue.undo(dry=True)] == [None, None]
    assert [one.refused for one in queue.undo()] == [None, None]
    assert ledgers.image(database, order="id") == before
    assert queue.sweep() == {}, "what was put back is left alone"
    undos = [one.id for one in queue.changes() if one.undoes]
    assert [one.refused for one in queue.undo(*undos)] == [None, None]
    database.execute("DELETE FROM jobs")
    assert {one.refused for one in queue.undo(*(one.id for one in queue.changes()[-2:]))} == {
        "the row is gone"
    }


def test_a_row_that_a_trigger_keeps_as_it_was_has_not_been_put_back(queue: Ledgered) -> None:
    first, second = stuck(queue, 2)
    queue.sweep()
    queue.database.execute(
        "CREATE FUNCTION t() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN"
        f" IF NEW.id = {second} THEN NEW.status := OLD.status; END IF; RETURN NEW; END$$;"
        "CREATE TRIGGER t BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION t()"
    )
    told = refusals(queue.undo())
    assert told == {str(first): None, str(second): "refused by the database with SQLSTATE P0001"}
    assert Rows(queue.database).of_job(second, "status", "started_at") == ("waiting", None)
    assert [one.finding.key for one in queue.changes() if one.undoes] == [(str(first),)]


@pytest.mark.parametrize(
    ("change", "column"),
    [
        ("status = 'running'", "status"),
        ("worker = 'w2'", "worker"),
        ("worker = ''", "worker"),
        ("started_at = now()", "started_at"),
        ("enqueued_at = enqueued_at + interval '1 microsecond'", "enqueued_at"),
        ("attempts = attempts + 1", "attempts"),
        ("error = NULL", "error"),
        ("label = ''", "label"),
        ("lane = 5", "lane"),
        ("heartbeat = '-infinity'", "heartbeat"),
        ("updated_at = now()", "updated_at"),
        ("status = 'done', finished_at = now()", "status, finished_at"),
    ],
)
def test_a_row_of_which_any_column_has_changed_is_left_alone(
    queue: Ledgered, change: str, column: str
) -> None:
    first, second = stuck(queue, 2)
    queue.sweep()
    queue.database.execute(f"UPDATE jobs SET {change} WHERE id = {first}")
    whole = ledgers.image(queue.database, order="id")[0]
    told = refusals(queue.undo())
    refused = told[str(first)] or ""
    assert refused.startswith("it has changed since: ")
    assert set(refused.removeprefix("it has changed since: ").split(", ")) == set(column.split(", "))
    assert told[str(second)] is None
    assert ledgers.image(queue.database, order="id")[0] == whole
    assert Rows(queue.database).of_job(second) == "running"


def test_a_column_that_no_mapping_knows_may_have_changed(queue: Ledgered) -> None:
    (job,) = stuck(queue)
    queue.sweep()
    queue.database.execute("UPDATE jobs SET priority = 9")
    assert refusals(queue.undo()) == {str(job): None}
    assert Rows(queue.database).of_job(job, "status", "priority") == ("running", 9)


def test_a_row_that_was_changed_and_changed_back_is_as_it_was_left(queue: Ledgered) -> None:
    stuck(queue)
    queue.sweep()
    for label in ("'x'", "NULL"):
        queue.database.execute(f"UPDATE jobs SET label = {label}")
    assert [one.refused for one in queue.undo()] == [None]


def test_rows_that_are_gone_and_those_behind_them(queue: Ledgered) -> None:
    first, second = stuck(queue, 2)
    queue.sweep()
    queue.database.execute(f"DELETE FROM jobs WHERE id = {first}")
    assert refusals(queue.undo()) == {str(first): "the row is gone", str(second): None}


@pytest.mark.versions
def test_a_row_that_somebody_holds_is_skipped_not_waited_for(queue: Ledgered) -> None:
    first, second = stuck(queue, 2)
    queue.sweep()
    with queue.database.connect(autocommit=False) as other:
        other.execute(f"SELECT FROM jobs WHERE id = {first} FOR UPDATE")
        told = refusals(queue.undo())
        other.rollback()
    assert told == {str(first): "somebody holds it locked: try again", str(second): None}
    assert refusals(queue.undo()) == {str(first): None, str(second): "already undone by 3"}


@pytest.mark.versions
@pytest.mark.parametrize(
    ("constraint", "state"),
    [
        ("CREATE UNIQUE INDEX ON jobs (worker) WHERE status = 'running'", "23505"),
        ("ALTER TABLE jobs ADD CHECK (label <> 'a' OR status = 'waiting') NOT VALID", "23514"),
        ("ALTER TABLE jobs ADD UNIQUE (worker) DEFERRABLE INITIALLY DEFERRED", "23505"),
    ],
)
def test_what_a_constraint_forbids_is_refused_row_by_row(
    queue: Ledgered, constraint: str, state: str
) -> None:
    first = stuck(queue, worker="w1", label="a")[0]
    rest = [stuck(queue, worker=f"w{number}")[0] for number in range(2, 7)]
    queue.sweep()
    queue.database.execute(constraint)
    taken = Rows(queue.database).job("running", "0 seconds", worker="w1")
    told = refusals(queue.undo())
    assert told == {
        str(first): f"refused by the database with SQLSTATE {state}",
        **{str(job): None for job in rest},
    }
    assert Rows(queue.database).of_job(first) == "waiting"
    assert Rows(queue.database).of_job(taken) == "running"
    assert len([one for one in queue.changes() if one.undoes]) == 5


def test_a_table_or_a_column_that_is_gone(queue: Ledgered) -> None:
    stuck(queue)
    queue.sweep()
    queue.database.execute("ALTER TABLE jobs DROP label")
    assert [one.refused for one in queue.undo()] == ["public.jobs has no column label any more"]
    queue.database.execute("ALTER TABLE jobs RENAME TO tasks")
    assert [one.refused for one in queue.undo()] == ["there is no table public.jobs any more"]


@pytest.mark.versions
@pytest.mark.parametrize("trigger", ["", TOUCH], ids=["plain", "touched"])
def test_a_row_changed_twice_in_a_sweep_goes_all_the_way_back(queue: Ledgered, trigger: str) -> None:
    """A job is released by one check and numbered by another; taking back the later one is our own doing."""
    queue.limits = kit.LIMITS
    rows = Rows(queue.database)
    rows.worker("dead", "1 hour", status="busy")
    job = rows.job("running", "10 minutes", worker="dead", lane=1, enqueued_at="1 hour")
    rows.job("waiting", lane=1, position=1, enqueued_at="5 minutes")
    queue.database.execute(trigger or "SELECT")
    was = rows.of_job(job, "status", "worker", "started_at", "position", "error")
    report = queue.report()
    assert len([one for one in queue.changes() if one.finding.key == (str(job),)]) == 2
    assert {one.refused for one in queue.undo(sweep=report.sweep, dry=True)} == {None}
    undone = queue.undo(sweep=report.sweep)
    assert {one.refused for one in undone} == {None}
    assert rows.of_job(job, "status", "worker", "started_at", "position", "error") == was


def test_the_first_of_two_changes_alone_is_refused_as_long_as_the_second_stands(queue: Ledgered) -> None:
    queue.limits = kit.LIMITS
    rows = Rows(queue.database)
    job = rows.job("running", "10 minutes", lane=1, enqueued_at="1 hour")
    queue.sweep()
    first, second = queue.changes()
    assert refusals(queue.undo(first.id)) == {str(job): "it has changed since: position"}
    assert refusals(queue.undo(first.id, second.id)) == {str(job): None}
    assert rows.of_job(job) == "running"


@pytest.mark.versions
def test_a_change_between_two_of_ours_ends_the_way_back(queue: Ledgered) -> None:
    rows = Rows(queue.database)
    job = rows.job("running", "10 minutes", label="a")
    queue.sweep()
    queue.database.execute("UPDATE jobs SET status = 'running', started_at = now() - interval '1 h'")
    queue.sweep()
    for dry in (True, False):
        told = queue.undo(dry=dry)
        assert [(one.change.id, one.refused) for one in told] == [
            (2, None),
            (1, "it has changed since: status, started_at"),
        ]
    assert rows.of_job(job) == "running"


@pytest.mark.versions
def test_an_undo_is_in_the_ledger_and_can_be_undone(queue: Ledgered) -> None:
    (job,) = stuck(queue)
    queue.sweep()
    repaired = ledgers.image(queue.database)
    queue.undo(by="berta")
    change, taken_back = queue.changes()
    assert (taken_back.event, taken_back.reason, taken_back.actor) == ("changes.undone", "undo", "berta")
    assert (taken_back.undoes, change.undone_by) == (change.id, taken_back.id)
    assert taken_back.finding.before == change.finding.after
    assert taken_back.finding.after == change.finding.before
    assert [one.change.id for one in queue.undo()] == [1], "an undo is not among what --sweep or --since name"
    assert refusals(queue.undo(taken_back.id)) == {str(job): None}
    assert ledgers.image(queue.database) == repaired
    assert refusals(queue.undo(change.id)) == {str(job): None}, "and the change once more"


def test_what_was_undone_is_not_undone_again(queue: Ledgered) -> None:
    stuck(queue, 2)
    queue.sweep()
    queue.undo(1)
    assert {one.change.id: one.refused for one in queue.undo()} == {1: "already undone by 3", 2: None}
    assert [one.id for one in queue.changes()] == [1, 2, 3, 4]


def test_two_at_once_undo_a_row_once(queue: Ledgered) -> None:
    stuck(queue, 200)
    queue.sweep()
    found: list[Any] = []

    def work() -> None:
        try:
            found.extend(queue.undo())
        except Exception as error:  # noqa: BLE001 -- told below
            found.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(1 for one in found if getattr(one, "refused", "") is None) == 200
    assert queue.database.value("SELECT count(*) FROM jobs WHERE status = 'running'") == 200
    assert len(queue.changes()) == 400


def test_an_undo_that_is_cut_leaves_both_or_neither(queue: Ledgered, monkeypatch: pytest.MonkeyPatch) -> None:
    stuck(queue, 3)
    queue.sweep()

    async def cut(session: Session, *_: Any) -> None:
        session.shut()
        raise psycopg.OperationalError

    with monkeypatch.context() as patched:
        patched.setattr(Session, "_commit", cut)
        with pytest.raises(psycopg.OperationalError):
            queue.undo()
    assert len(queue.changes()) == 3
    assert queue.database.value("SELECT count(*) FROM queuewarden.left_alone") == 0
    assert {one.refused for one in queue.undo()} == {None}


def test_a_trigger_that_moves_on_what_is_put_out_of_the_way_leaves_nothing_there(queue: Ledgered) -> None:
    queue.limits = kit.LIMITS
    rows = Rows(queue.database)
    for number in (3, 2, 1):
        rows.job("waiting", lane=1, position=number, enqueued_at=f"{number} minutes")
    queue.database.execute("UPDATE jobs SET position = 4 - position")
    queue.database.execute("ALTER TABLE jobs ADD UNIQUE (lane, position)")
    queue.sweep()
    numbered = ledgers.image(queue.database)
    queue.database.execute(
        """
        CREATE FUNCTION busybody() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN IF NEW.position IS NULL THEN
          UPDATE jobs SET position = 77 WHERE id = NEW.id; END IF; RETURN NULL; END $$;
        CREATE TRIGGER busybody AFTER UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION busybody()"""
    )
    assert all(one.refused for one in queue.undo())
    assert ledgers.image(queue.database) == numbered


@pytest.mark.versions
def test_without_the_comparison_a_newer_row_would_be_overwritten(
    queue: Ledgered, monkeypatch: pytest.MonkeyPatch
) -> None:
    (job,) = stuck(queue)
    queue.sweep()
    queue.database.execute("UPDATE jobs SET status = 'done'")
    assert [one.refused for one in queue.undo()] == ["it has changed since: status"]
    monkeypatch.setattr(replay, "_same", lambda *_: [])
    queue.undo()
    assert Rows(queue.database).of_job(job) == "running"


def test_the_application_wins_a_race_against_an_undo(queue: Ledgered) -> None:
    """It writes between the look of the undo and its lock: the statement looks again under the lock."""
    (job,) = stuck(queue)
    queue.sweep()
    application = queue.database.connect(autocommit=False)
    application.execute("UPDATE jobs SET label = 'mine'")

    async def work() -> list[Any]:
        async with kit.session(queue.database.dsn) as session:
            execute = session.execute

            async def late(query: Any, **rest: Any) -> Any:
                if b"wanted" in query.text:
                    application.commit()
                return await execute(query, **rest)

            session.execute = late  # type: ignore[method-assign]
            wanted, book = ledgers.Wanted(ids=(1,)), ledgers.Book("u", "anna")
            return [one async for one in ledgers.undo(session, wanted, book, dry=False)]

    assert [one.refused for one in asyncio.run(work())] == ["it has changed since: label"]
    application.close()
    assert Rows(queue.database).of_job(job, "status", "label") == ("waiting", "mine")
