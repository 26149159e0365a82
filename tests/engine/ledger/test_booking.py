"""The ledger: every change is recorded by the transaction that makes it, under ids that follow each other."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import kit
import ledgers
import psycopg
import pytest
from ledgers import Ledgered
from rows import Rows

from queuewarden.errors import UnknownOutcomeError
from queuewarden.queues.mapping import TableName

if TYPE_CHECKING:
    from collections.abc import Callable

    from servers import Database

    from queuewarden.adapters.db.session import Session

STUCK = replace(kit.LIMITS, checks=("stuck_jobs",))


@pytest.fixture
def queue(databases: Callable[..., Database]) -> Ledgered:
    return Ledgered(databases(ledgers.SCHEMA), limits=STUCK)


def stuck(database: Database, count: int, **columns: Any) -> list[int]:
    rows = Rows(database)
    return [rows.job("running", f"{1000 - number} minutes", **columns) for number in range(count)]


@pytest.mark.versions
def test_a_repair_is_booked_whole(queue: Ledgered) -> None:
    (job,) = stuck(queue.database, 1, worker="w1", attempts=2, label="mail:7")
    report = queue.report()
    (change,) = queue.changes()
    finding = change.finding
    assert (finding.environment, finding.queue, finding.check, finding.code) == (
        "test",
        "mail",
        "stuck_jobs",
        "stuck",
    )
    assert (change.event, change.reason, finding.table) == ("jobs.reset", "stuck", "jobs")
    assert (change.relation, change.key_columns, finding.key) == (("public", "jobs"), ("id",), (str(job),))
    assert (change.id, change.sweep, change.actor, change.epoch) == (1, report.sweep, "anna", None)
    assert (change.undoes, change.undone_by) == (None, None)
    assert finding.before["worker"] == "w1"
    assert finding.after is not None
    assert finding.after["worker"] is None
    assert queue.database.value("SELECT clock_timestamp() - at < '10 s' FROM queuewarden.changes")


def test_a_daemons_change_names_its_run_and_its_epoch(queue: Ledgered) -> None:
    queue.actor = "db1:17:ab"
    queue.take_lease()
    stuck(queue.database, 1)
    queue.sweep()
    (change,) = queue.changes()
    assert (change.actor, change.epoch) == ("db1:17:ab", 1)


def test_what_is_only_found_is_not_booked(queue: Ledgered) -> None:
    stuck(queue.database, 3)
    queue.limits = replace(STUCK, mode="observe")
    assert queue.sweep()["stuck"].found == 3
    assert queue.changes() == []
    assert queue.database.value("SELECT last_id FROM queuewarden.counter") == 0


@pytest.mark.versions
@pytest.mark.parametrize("lost", [b"COMMIT", b"SET CONSTRAINTS"])
def test_a_repair_that_is_rolled_back_leaves_no_line_and_one_that_is_cut_leaves_both_or_neither(
    queue: Ledgered, lost: bytes
) -> None:
    stuck(queue.database, 3)

    def cut(session: Session) -> None:
        execute = session._connection.execute

        async def cutting(query: Any, params: Any = None, **rest: Any) -> Any:
            if query.startswith(lost) and b"changes" in b"".join(sent):
                session.shut()
            sent.append(query)
            return await execute(query, params, **rest)

        sent: list[bytes] = []
        session._connection.execute = cutting  # type: ignore[method-assign, assignment]

    with pytest.raises((psycopg.OperationalError, UnknownOutcomeError)):
        queue.sweep(meanwhile=cut)
    assert queue.changes() == []
    assert set(Rows(queue.database).statuses().values()) == {"running"}
    assert queue.sweep()["stuck"].mended == 3
    assert ledgers.ranges(queue.database) == [(1, 3)], "no id was lost"


def test_an_error_of_ours_before_the_commit_takes_the_lines_along(queue: Ledgered) -> None:
    stuck(queue.database, 2)

    def refuse(session: Session) -> None:
        async def refusing(*_: Any) -> None:
            raise RuntimeError

        session._commit = refusing  # type: ignore[method-assign]

    with pytest.raises(RuntimeError):
        queue.sweep(meanwhile=refuse)
    assert queue.changes() == []
    queue.sweep()
    assert [one.id for one in queue.changes()] == [1, 2]


@pytest.mark.versions
def test_ids_are_contiguous_across_batches_and_go_with_the_order_of_work(queue: Ledgered) -> None:
    jobs = stuck(queue.database, 10)
    queue.limits = replace(STUCK, batch=3)
    assert queue.sweep()["stuck"].mended == 10
    assert ledgers.ranges(queue.database) == [(1, 3), (4, 6), (7, 9), (10, 10)]
    changes = queue.changes()
    assert [one.id for one in changes] == list(range(1, 11))
    batches = [{int(one.finding.key[0]) for one in changes[at : at + 3]} for at in range(0, 10, 3)]
    assert batches == [set(jobs[at : at + 3]) for at in range(0, 10, 3)]
    assert queue.database.value("SELECT last_id FROM queuewarden.counter") == 10
    stuck(queue.database, 1)
    queue.sweep()
    assert queue.changes()[-1].id == 11


def test_a_batch_larger_than_a_line_may_hold_is_booked_in_chunks(queue: Ledgered) -> None:
    queue.database.execute(
        "INSERT INTO jobs (status, started_at)"
        " SELECT 'running', now() - interval '1 h' FROM generate_series(1, 2500)"
    )
    queue.limits = replace(STUCK, batch=5000)
    assert queue.sweep()["stuck"].mended == 2500
    assert ledgers.ranges(queue.database) == [(1, 1000), (1001, 2000), (2001, 2500)]
    changes = queue.changes()
    assert [one.id for one in changes] == list(range(1, 2501))
    assert {int(one.finding.key[0]) for one in changes} == set(range(1, 2501))
    assert {(one.finding.before["id"],) for one in changes} == {one.finding.key for one in changes}, (
        "every image stands with its own key"
    )


def test_a_bisected_batch_books_only_what_was_changed(queue: Ledgered) -> None:
    jobs = stuck(queue.database, 8)
    queue.database.execute(f"ALTER TABLE jobs ADD CHECK (id <> {jobs[3]} OR status = 'running')")
    outcome = queue.sweep()["stuck"]
    assert (outcome.mended, outcome.set_aside) == (7, 1)
    assert sorted(int(one.finding.key[0]) for one in queue.changes()) == [*jobs[:3], *jobs[4:]]
    assert [one.id for one in queue.changes()] == list(range(1, 8)), "what failed took no id"


@pytest.mark.versions
def test_a_deferred_violation_leaves_no_line(queue: Ledgered) -> None:
    jobs = stuck(queue.database, 4)
    queue.database.execute(
        f"""
        CREATE FUNCTION forbid() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN IF NEW.id = {jobs[1]} THEN RAISE integrity_constraint_violation; END IF; RETURN NULL; END $$;
        CREATE CONSTRAINT TRIGGER late AFTER UPDATE ON jobs DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION forbid()"""
    )
    outcome = queue.sweep()["stuck"]
    assert (outcome.mended, outcome.set_aside) == (3, 1)
    assert sorted(int(one.finding.key[0]) for one in queue.changes()) == [jobs[0], *jobs[2:]]


def test_a_row_that_is_locked_is_not_booked(queue: Ledgered) -> None:
    jobs = stuck(queue.database, 3)
    with queue.database.connect(autocommit=False) as other:
        other.execute("SELECT FROM jobs WHERE id = %s FOR UPDATE", [jobs[0]])
        assert queue.sweep()["stuck"].mended == 2
        other.rollback()
    assert sorted(int(one.finding.key[0]) for one in queue.changes()) == jobs[1:]


def test_a_trigger_that_takes_the_write_away_takes_the_line_too(queue: Ledgered) -> None:
    jobs = stuck(queue.database, 2)
    queue.database.execute(
        f"""
        CREATE FUNCTION skip() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN IF NEW.id = {jobs[0]} THEN RETURN NULL; END IF; RETURN NEW; END $$;
        CREATE TRIGGER skip BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION skip()"""
    )
    queue.sweep()
    assert [int(one.finding.key[0]) for one in queue.changes()] == jobs[1:]


def test_what_a_dead_worker_loses_is_booked_with_its_own_row(queue: Ledgered) -> None:
    rows = Rows(queue.database)
    rows.worker("w1", "1 hour", status="busy", current_job=1)
    rows.worker("alive")
    job = rows.job("running", "5 minutes", worker="w1")
    queue.limits = replace(kit.LIMITS, checks=("dead_workers",))
    queue.sweep()
    first, second = queue.changes()
    assert (first.event, first.finding.table, first.finding.key) == ("jobs.reset", "jobs", (str(job),))
    assert (second.event, second.finding.table, second.finding.key) == ("workers.offline", "workers", ("w1",))
    assert second.relation == ("public", "workers")
    assert second.finding.before["current_job"] == "1"
    assert second.finding.after is not None
    assert (second.finding.after["status"], second.finding.after["current_job"]) == ("offline", None)


def test_times_that_were_made_up_are_marked_as_such(queue: Ledgered) -> None:
    queue.mapping = replace(kit.MAPPING, timestamps=(("done", "finished_at"),))
    queue.limits = replace(kit.LIMITS, checks=("timestamps",))
    Rows(queue.database).job("done", "1 hour")
    queue.sweep()
    assert queue.database.rows("SELECT event, estimated FROM queuewarden.changes") == [
        ("timestamps.filled", ["finished_at"])
    ]


@pytest.mark.versions
def test_keys_of_several_columns_and_partitions(databases: Callable[..., Database]) -> None:
    database = databases(ledgers.SCHEMA)
    database.execute(
        """
        CREATE TABLE parts (shard int, id text, status text NOT NULL, started_at timestamptz,
            PRIMARY KEY (shard, id)) PARTITION BY LIST (shard);
        CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1);
        CREATE TABLE parts_2 PARTITION OF parts FOR VALUES IN (2) PARTITION BY HASH (id);
        CREATE TABLE parts_2a PARTITION OF parts_2 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
        CREATE TABLE parts_2b PARTITION OF parts_2 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
        INSERT INTO parts SELECT s, n::text || ',x', 'running', now() - interval '1 h'
          FROM generate_series(1, 2) AS s, generate_series(1, 6) AS n"""
    )
    mapping = replace(
        kit.jobs_mapping(
            kit.MAPPING,
            table=TableName("parts"),
            id=("shard", "id"),
            worker=None,
            enqueued_at=None,
            finished_at=None,
            attempts=None,
            max_attempts=None,
            error=None,
            label=(),
        ),
        workers=None,
    )
    queue = Ledgered(database, mapping, replace(STUCK, batch=5))
    before = ledgers.image(database, "parts", "shard, id")
    assert sum(one.mended for one in queue.sweep().values()) == 12
    changes = queue.changes()
    assert {one.finding.key for one in changes} == {
        (str(shard), f"{number},x") for shard in (1, 2) for number in range(1, 7)
    }
    assert {one.relation for one in changes} == {("public", "parts")}
    assert all(refused is None for refused in ledgers.refusals(queue.undo()).values())
    assert ledgers.image(database, "parts", "shard, id") == before
    assert queue.changes(job="1,3,x") == [], "a comma in a key is taken for the next value"


def test_where_there_is_no_ledger_repairs_go_on(databases: Callable[..., Database]) -> None:
    queue = Ledgered(databases(kit.SCHEMA), limits=STUCK)
    stuck(queue.database, 2)
    assert queue.sweep()["stuck"].mended == 2


def test_a_ledger_that_cannot_be_written_holds_its_repair(queue: Ledgered) -> None:
    stuck(queue.database, 2)
    queue.database.execute("ALTER TABLE queuewarden.changes ADD CHECK (actor <> 'anna')")
    outcome = queue.sweep()["stuck"]
    assert outcome.mended == 0
    assert set(Rows(queue.database).statuses().values()) == {"running"}


def test_the_ledger_says_when_by_the_databases_clock(queue: Ledgered) -> None:
    stuck(queue.database, 1)
    before = queue.database.value("SELECT clock_timestamp()")
    queue.sweep()
    after = queue.database.value("SELECT clock_timestamp()")
    (change,) = queue.changes()
    assert before < change.at < after < before + timedelta(minutes=1)
