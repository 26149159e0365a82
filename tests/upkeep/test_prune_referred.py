"""``prune``: jobs that others refer to, or need, are not deleted."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import kit
import pytest
from pruned import left, old, pruned

from queuewarden.engine.upkeep.tasks import prune
from queuewarden.queues.mapping import Reference, TableName

if TYPE_CHECKING:
    from collections.abc import Callable

    import servers

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is busy sets no job aside."""
    monkeypatch.setattr(prune, "SHORT", timedelta(seconds=20))


@pytest.fixture
def database(databases: Callable[..., servers.Database]) -> servers.Database:
    return databases(kit.SCHEMA)


def test_a_job_that_waits_for_another_queue_of_the_same_table_is_kept(database: servers.Database) -> None:
    old(database, 2)
    database.execute("UPDATE jobs SET status = 'sent' WHERE id = 2")
    first = replace(kit.MAPPING, states=replace(kit.MAPPING.states, done=("done", "sent")))
    states = replace(kit.MAPPING.states, waiting=("done", "later"), done=("sent",))
    second = replace(kit.MAPPING, name="second", states=states)
    pruned(database, first, second)
    assert database.rows("SELECT status FROM jobs") == [("done",)]


def test_while_a_queue_that_may_refer_to_its_jobs_cannot_be_read_nothing_is_deleted(
    database: servers.Database,
) -> None:
    old(database, 2)
    parent = Reference("parent", TableName("jobs"), "id")
    parts = replace(kit.jobs_mapping(table=TableName("parts")), name="parts", references=(parent,))
    (step,) = pruned(database, unread=(parts,))
    assert step.why.startswith("queue parts cannot be read")
    assert left(database) == 2
    pruned(database, unread=(replace(parts, references=()),))
    assert left(database) == 0


@pytest.mark.parametrize("action", ["RESTRICT", "NO ACTION", "CASCADE", "SET NULL"])
def test_what_a_foreign_key_points_at_is_left_though_it_would_cascade(
    database: servers.Database, action: str
) -> None:
    old(database, 4)
    database.execute(
        f"CREATE TABLE results (id int PRIMARY KEY, job bigint REFERENCES jobs ON DELETE {action});"
        "INSERT INTO results VALUES (1, 2), (2, 2)"
    )
    done, kept = pruned(database)
    assert (done.amount, kept.amount, kept.why) == (3, 1, "a row refers to them")
    assert database.rows("SELECT id, job FROM results ORDER BY 1") == [(1, 2), (2, 2)]


def test_what_a_foreign_key_on_the_whole_table_points_at_is_left_in_a_partition(
    databases: Callable[..., servers.Database],
) -> None:
    database = databases(kit.SCHEMA.replace("TABLE jobs", "TABLE whole").replace("bigserial", "bigint"))
    database.execute(
        "ALTER TABLE whole RENAME TO plain;"
        "CREATE TABLE whole (LIKE plain INCLUDING ALL) PARTITION BY RANGE (id);"
        "CREATE TABLE jobs PARTITION OF whole FOR VALUES FROM (1) TO (100);"
        "INSERT INTO whole (id, status, finished_at) SELECT n, 'done', '2020-01-01'"
        " FROM generate_series(1, 4) AS n;"
        "CREATE TABLE results (job bigint REFERENCES whole ON DELETE CASCADE); INSERT INTO results VALUES (2)"
    )
    done, kept = pruned(database)
    assert (done.amount, kept.amount) == (3, 1)
    assert database.rows("SELECT job FROM results") == [(2,)]
    database.execute("DROP TABLE results; INSERT INTO whole (id, parent) VALUES (50, 2)")
    parent = Reference("parent", TableName("whole"), "id")
    assert pruned(database, replace(kit.MAPPING, references=(parent,)))[0].amount == 0


def test_a_foreign_key_is_compared_as_it_compares_itself(database: servers.Database) -> None:
    """By an operator that is not found on our search_path, and holds of more than its values' text does."""
    if not database.rows("SELECT FROM pg_available_extensions WHERE name = 'citext'"):
        pytest.skip("no citext")
    database.execute(
        "CREATE EXTENSION citext; ALTER TABLE jobs ALTER id DROP DEFAULT, ALTER id TYPE citext;"
        "INSERT INTO jobs (id, status, finished_at) VALUES ('One', 'done', '2020-01-01');"
        "CREATE TABLE results (job citext REFERENCES jobs ON DELETE CASCADE);"
        "INSERT INTO results VALUES ('ONE')"
    )
    assert pruned(database)[0].amount == 0
    assert database.rows("SELECT job::text FROM results") == [("ONE",)]


def test_a_row_that_comes_to_refer_to_a_job_just_then_is_not_deleted_with_it(
    database: servers.Database,
) -> None:
    """It is added while the job is about to be locked, and committed before that is."""
    old(database, 50)
    database.execute("CREATE TABLE results (job bigint REFERENCES jobs ON DELETE CASCADE)")
    with database.connect(autocommit=False) as other:
        other.execute("INSERT INTO results VALUES (7)")
        done, kept = pruned(database)
        assert (done.amount, kept.amount, kept.why) == (49, 1, "locked, or changed meanwhile")
        other.commit()
    assert pruned(database)[1].why == "a row refers to them"
    assert database.rows("SELECT job FROM results") == [(7,)]


def test_a_row_that_comes_between_the_look_and_the_lock_is_seen(
    database: servers.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    old(database, 50)
    database.execute("CREATE TABLE results (job bigint REFERENCES jobs ON DELETE CASCADE)")
    real = prune.deletion

    def late(*args: Any) -> Any:
        database.execute("INSERT INTO results VALUES (7)")
        return real(*args)

    monkeypatch.setattr(prune, "deletion", late)
    done, kept = pruned(database)
    assert (done.amount, kept.amount, kept.why) == (49, 1, "a row refers to them")
    assert database.rows("SELECT job FROM results") == [(7,)]


def test_a_foreign_key_that_comes_meanwhile_ends_it(
    database: servers.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    old(database, 5)
    real = prune.deletion

    def late(*args: Any) -> Any:
        database.execute(
            "CREATE TABLE results (job bigint REFERENCES jobs ON DELETE CASCADE);"
            "INSERT INTO results VALUES (2)"
        )
        return real(*args)

    monkeypatch.setattr(prune, "deletion", late)
    (step,) = pruned(database)
    assert (step.outcome, step.why.partition(" have")[0]) == ("failed", "foreign keys on its jobs")
    assert (left(database), database.rows("SELECT job FROM results")) == (5, [(2,)])
    monkeypatch.undo()
    assert pruned(database)[0].amount == 4


def test_what_mappings_say_of_references_and_workers_binds_too(database: servers.Database) -> None:
    old(database, 4)
    database.execute(
        "INSERT INTO jobs (status, parent) VALUES ('waiting', 1); UPDATE jobs SET parent = 3 WHERE id = 3;"
        "INSERT INTO workers (id, current_job) VALUES ('w', 2)"
    )
    parent = Reference("parent", TableName("jobs"), "id")
    pruned(database, replace(kit.MAPPING, references=(parent,)))
    assert database.rows("SELECT id FROM jobs ORDER BY 1") == [(1,), (2,), (5,)], "3 refers to itself alone"
