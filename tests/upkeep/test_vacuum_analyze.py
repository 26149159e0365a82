"""``vacuum`` and ``analyze``: what is done, what is left alone and why, and who has to wait."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import keeping
import kit
import ledgers
import psycopg
import pytest
from eventually import eventually
from psycopg.conninfo import make_conninfo

from queuewarden.engine.upkeep.tasks import analyze, vacuum
from queuewarden.queues.mapping import TableName

if TYPE_CHECKING:
    from collections.abc import Callable

    import servers

    from queuewarden.engine.upkeep.task import Progress

pytestmark = pytest.mark.slow

ROWS = (
    "INSERT INTO jobs (status) SELECT 'waiting' FROM generate_series(1, 20000);"
    "DELETE FROM jobs WHERE id % 2 = 0"
)


@pytest.fixture
def database(databases: Callable[..., servers.Database]) -> servers.Database:
    database = databases(kit.SCHEMA)
    database.execute(ROWS)
    return database


def slow(database: servers.Database) -> None:
    """A vacuum then waits behind every page that it reads."""
    database.execute(f'ALTER DATABASE "{database.name}" SET vacuum_cost_limit = 1')


def vacuuming(database: servers.Database) -> bool:
    return bool(database.rows("SELECT FROM pg_stat_progress_vacuum"))


@pytest.mark.versions
def test_h1_h2_h4_tables_are_vacuumed_and_analysed_while_eight_write(database: servers.Database) -> None:
    told: list[Progress] = []
    database.execute(f"{ROWS}; DELETE FROM jobs")  # a vacuum that lasts until somebody has looked at it
    slow(database)
    with keeping.writers(database) as watched:
        vacuumed = keeping.run(vacuum, database.dsn, told=told)
        analysed = keeping.run(analyze, database.dsn)
    assert vacuumed["public.jobs"].action == "vacuumed"
    assert analysed["public.jobs"].action == "analysed"
    dead, ran, known = database.rows(
        "SELECT n_dead_tup < 9000, last_vacuum IS NOT NULL, last_analyze IS NOT NULL"
        " FROM pg_stat_user_tables WHERE relname = 'jobs'"
    )[0]
    assert (dead, ran, known) == (True, True, True)
    assert watched.waited < keeping.LOCK_TIMEOUT.total_seconds() + 1
    assert not watched.failed
    assert watched.locks <= {"AccessShareLock", "ShareUpdateExclusiveLock"}
    assert {one.subject for one in told} == {"public.jobs"}
    assert any(0 < one.done <= one.total for one in told)


def test_what_has_just_been_done_is_not_done_again(database: servers.Database) -> None:
    database.execute("VACUUM ANALYZE jobs")
    assert keeping.run(vacuum, database.dsn)["public.jobs"].why.startswith("vacuumed ")
    assert keeping.run(analyze, database.dsn)["public.jobs"].why == "nothing has changed since"


def test_what_is_vacuumed_right_now_is_left(database: servers.Database) -> None:
    slow(database)
    with database.connect(options="-c vacuum_cost_delay=10ms") as other:
        at_work = threading.Thread(target=_ignoring, args=(other, "VACUUM jobs"))
        at_work.start()
        eventually(lambda: vacuuming(database), what="a vacuum runs")
        did = keeping.run(vacuum, database.dsn)
        other.cancel_safe()
        at_work.join(10)
    assert did["public.jobs"].why == "a vacuum, an ANALYZE or the making of an index is at it"
    assert did["public.workers"].action == "vacuumed"


def _ignoring(connection: psycopg.Connection[Any], statement: str) -> None:
    try:
        connection.execute(statement)  # type: ignore[call-overload]
    except psycopg.errors.QueryCanceled:
        return


def test_a_table_that_is_locked_fails_in_time_and_the_others_are_done(database: servers.Database) -> None:
    with database.connect(autocommit=False) as other:
        other.execute("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE")
        begun = time.monotonic()
        did = keeping.run(vacuum, database.dsn)
        assert time.monotonic() - begun < 10
    assert (did["public.jobs"].outcome, did["public.jobs"].why) == (
        "failed",
        "canceling statement due to lock timeout",
    )
    assert did["public.workers"].action == "vacuumed"


def test_a_change_of_the_schema_need_not_wait(database: servers.Database) -> None:
    # A vacuum of a dozen seconds, if it gave no way.
    database.execute("INSERT INTO jobs (status) SELECT 'waiting' FROM generate_series(1, 200000)")
    database.execute("DELETE FROM jobs")
    slow(database)
    found: dict[str, Any] = {}
    with keeping.writers(database) as watched:
        at_work = threading.Thread(target=lambda: found.update(keeping.run(vacuum, database.dsn)))
        at_work.start()
        eventually(lambda: vacuuming(database), what="a vacuum runs")
        begun = time.monotonic()
        database.execute("ALTER TABLE jobs ADD COLUMN note text")
        took = time.monotonic() - begun
        at_work.join(20)
    assert took < 6
    assert watched.waited < 6
    assert found["public.jobs"].why.startswith("gave way to server process ")
    assert found["public.workers"].action == "vacuumed"


@pytest.mark.versions
def test_h3_what_the_server_would_only_warn_of_is_not_told_as_done(database: servers.Database) -> None:
    """A VACUUM without the right to it succeeds, and does nothing."""
    role = f"qw_{database.name}"
    database.execute(f"CREATE ROLE {role} LOGIN; GRANT SELECT, UPDATE ON jobs, workers TO {role}")
    try:
        for task in (vacuum, analyze):
            did = keeping.run(task, make_conninfo(database.dsn, user=role))
            assert {one.outcome for one in did.values()} == {"skipped"}
            assert did["public.jobs"].why.startswith("this role is not its owner: GRANT ")
        if database.value("SHOW server_version_num") >= "170000":
            database.execute(f"GRANT MAINTAIN ON jobs TO {role}")
            did = keeping.run(vacuum, make_conninfo(database.dsn, user=role))
            assert did["public.jobs"].action == "vacuumed"
    finally:
        database.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_partitions_by_themselves_and_the_ledger_last(databases: Callable[..., servers.Database]) -> None:
    database = databases(ledgers.SCHEMA)
    database.execute(
        "CREATE TABLE parts (LIKE jobs INCLUDING DEFAULTS, PRIMARY KEY (id, status))"
        " PARTITION BY LIST (status);"
        "CREATE TABLE parts_done PARTITION OF parts FOR VALUES IN ('done');"
        "CREATE TABLE parts_rest PARTITION OF parts DEFAULT;"
        "INSERT INTO parts (status) VALUES ('done'), ('waiting')"
    )
    mapping = kit.jobs_mapping(table=TableName("parts"), id=("id", "status"))
    vacuumed = list(keeping.run(vacuum, database.dsn, mapping, ledger=True).items())
    names = [name for name, _ in vacuumed]
    assert names[:3] == ["public.parts_done", "public.parts_rest", "public.workers"]
    assert "queuewarden.changes" in names[3:]
    assert {one.action for _, one in vacuumed} == {"vacuumed"}
    analysed = keeping.run(analyze, database.dsn, mapping)
    assert analysed["public.parts"].action == "analysed"
    assert "public.parts_done" not in analysed
    assert database.value("SELECT reltuples FROM pg_class WHERE relname = 'parts'") == 2


def test_a_table_of_two_queues_is_done_once(database: servers.Database) -> None:
    twice = replace(kit.MAPPING, name="post")
    assert list(keeping.run(vacuum, database.dsn, kit.MAPPING, twice)) == ["public.jobs", "public.workers"]


def test_a_dry_run_does_nothing(database: servers.Database) -> None:
    for task in (vacuum, analyze):
        did = keeping.run(task, database.dsn, dry_run=True)
        assert did["public.jobs"].action in {"would vacuum", "would analyse"}
    assert database.value("SELECT last_vacuum FROM pg_stat_user_tables WHERE relname = 'jobs'") is None
