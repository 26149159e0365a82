"""``reindex``: what is rebuilt, what is left over, and who has to wait."""

from __future__ import annotations

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import keeping
import kit
import psycopg
import pytest
from eventually import eventually

from queuewarden.engine.upkeep.config import Upkeep
from queuewarden.engine.upkeep.tasks import reindex
from queuewarden.errors import QueuewardenError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import servers

pytestmark = pytest.mark.slow

INDEXES = {"jobs_pkey": True, "jobs_enqueued": True}
WAITING = "waiting for writers before build"


@pytest.fixture
def database(databases: Callable[..., servers.Database], monkeypatch: pytest.MonkeyPatch) -> servers.Database:
    monkeypatch.setattr(reindex, "SMALLEST", 16 * 8192)
    database = databases(kit.SCHEMA)
    keeping.bloated(database)
    return database


@pytest.fixture
def snapshot(database: servers.Database) -> Iterator[psycopg.Connection[Any]]:
    """A transaction with an old snapshot and no lock, for which a REINDEX CONCURRENTLY waits."""
    with database.connect(autocommit=False) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        connection.execute("SELECT 1")
        yield connection


def rebuilding(database: servers.Database) -> bool:
    return bool(database.rows("SELECT FROM pg_stat_progress_create_index WHERE phase LIKE 'waiting%'"))


def end_session(database: servers.Database) -> None:
    """End the server's session of the upkeep that is at work, as a crash of its process would."""
    database.rows(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'queuewarden/upkeep' AND query LIKE 'REINDEX%%'"
        " AND datname = current_database()"
    )
    # As long as it is there, the next upkeep takes it for one that is at work.
    eventually(
        lambda: (
            not database.rows(
                "SELECT FROM pg_stat_activity WHERE application_name = 'queuewarden/upkeep'"
                " AND query LIKE 'REINDEX%%' AND datname = current_database()"
            )
        ),
        what="the session ends",
    )


def cut_short(database: servers.Database) -> None:
    """Leave what a rebuilding that was cut short leaves."""
    with database.connect(autocommit=False) as old:
        old.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        old.execute("SELECT 1")
        with database.connect() as other, ThreadPoolExecutor() as aside:
            building = aside.submit(other.execute, "REINDEX INDEX CONCURRENTLY jobs_enqueued")
            eventually(lambda: rebuilding(database), what="the rebuilding waits")
            other.cancel_safe()
            with pytest.raises(psycopg.errors.QueryCanceled):
                building.result(20)
    assert keeping.indexes(database) == {**INDEXES, "jobs_enqueued_ccnew": False}


def end(slow: psycopg.Connection[Any], told: list[Any]) -> None:
    """End a transaction when a rebuilding has waited for it for so long that writers behind it would show."""
    try:
        eventually(lambda: any(one.phase == WAITING for one in list(told)), what="the rebuilding waits")
        time.sleep(1.5)
    finally:
        slow.commit()


@pytest.mark.versions
def test_h2_h4_indexes_are_rebuilt_one_by_one_while_eight_write(database: servers.Database) -> None:
    sizes = "SELECT pg_relation_size('jobs_pkey') + pg_relation_size('jobs_enqueued')"
    before = database.value(sizes)
    told: list[Any] = []
    with keeping.writers(database) as watched, database.connect(autocommit=False) as slow:
        slow.execute("INSERT INTO jobs DEFAULT VALUES")
        ending = threading.Thread(target=end, args=(slow, told))
        ending.start()
        did = keeping.run(reindex, database.dsn, told=told)
        ending.join()
        written = watched.written
    assert {(name, one.action, one.why) for name, one in did.items()} == {
        ("public.jobs_pkey", "rebuilt", ""),
        ("public.jobs_enqueued", "rebuilt", ""),
    }
    assert database.value(sizes) < before / 2
    assert keeping.indexes(database) == INDEXES
    assert watched.waited < keeping.LOCK_TIMEOUT.total_seconds() + 1
    assert written > 50
    assert not watched.failed
    assert watched.locks <= {"AccessShareLock", "ShareUpdateExclusiveLock"}
    assert WAITING in {one.phase for one in told}
    database.execute("ANALYZE jobs")  # so much may have been written that its statistics are old
    assert keeping.run(reindex, database.dsn) == {}, "nothing is waste any more"


def test_h5_whether_an_index_is_waste_is_estimated_without_reading_it(database: servers.Database) -> None:
    reads = "SELECT seq_scan + idx_scan FROM pg_stat_user_tables WHERE relname = 'jobs'"
    before = database.value(reads)
    did = keeping.run(reindex, database.dsn, dry_run=True)
    assert [one.action for one in did.values()] == ["would rebuild"] * 2
    assert database.value(reads) == before
    assert keeping.indexes(database) == INDEXES


def test_below_the_limit_nothing_is_rebuilt(database: servers.Database) -> None:
    assert keeping.run(reindex, database.dsn, upkeep=Upkeep(bloat=95)) == {}


def test_indexes_without_waste_are_estimated_as_such(database: servers.Database) -> None:
    """Of several widths, with NULLs, of an expression, partial, and in the order of a chance."""
    database.execute(
        "CREATE INDEX a ON jobs (label, enqueued_at DESC); CREATE INDEX b ON jobs (upper(status), id, label);"
        "CREATE INDEX c ON jobs (md5(id::text)); CREATE INDEX d ON jobs (id) WHERE id % 2 = 0;"
        "INSERT INTO jobs (label, enqueued_at) SELECT CASE WHEN n % 3 > 0 THEN repeat('x', n % 40) || n END,"
        " now() - n * interval '1 s' FROM generate_series(1, 20000) AS n;"
        "REINDEX TABLE jobs"
    )
    database.execute("VACUUM ANALYZE jobs")
    did = keeping.run(reindex, database.dsn, upkeep=Upkeep(bloat=15))
    assert did == {}
    database.execute("DELETE FROM jobs WHERE id % 25 <> 0")
    database.execute("VACUUM ANALYZE jobs")
    did = keeping.run(reindex, database.dsn, upkeep=Upkeep(bloat=60), dry_run=True)
    assert {"public.a", "public.b", "public.c"} <= set(did)


def test_old_statistics_are_not_gone_by(database: servers.Database) -> None:
    """Of an index that grew since, an estimate from before would call most of it waste."""
    database.execute("INSERT INTO jobs (status) SELECT 'waiting' FROM generate_series(1, 60000)")
    did = keeping.run(reindex, database.dsn, dry_run=True)
    assert {(one.action, one.why) for one in did.values()} == {
        ("not rebuilt", "its waste is not known: much has changed since its table was analysed")
    }


@pytest.mark.versions
def test_p9_what_was_left_over_is_named_first_and_dropped_with_consent_alone(
    database: servers.Database,
) -> None:
    cut_short(database)
    for _ in range(2):
        did = keeping.run_steps(reindex, database.dsn)
        assert (did[0].subject, did[0].action) == ("public.jobs_enqueued_ccnew", "not dropped")
        assert did[0].why.endswith('DROP INDEX CONCURRENTLY "public"."jobs_enqueued_ccnew"')
        rest = {one.subject: one for one in did[1:]}
        assert "public.jobs_enqueued_ccnew" in rest["public.jobs_enqueued"].why
        assert keeping.indexes(database) == {**INDEXES, "jobs_enqueued_ccnew": False}, "and no second one"
    assert "public.jobs_pkey" not in rest, "the others were rebuilt the first time"
    did = keeping.run_steps(reindex, database.dsn, consent=True)
    assert [(one.subject, one.action) for one in did] == [
        ("public.jobs_enqueued_ccnew", "dropped"),
        ("public.jobs_enqueued", "rebuilt"),
    ]
    assert keeping.indexes(database) == INDEXES


def test_an_invalid_index_that_is_a_copy_of_none_is_never_dropped(database: servers.Database) -> None:
    """One that others failed to make, whatever they called it."""
    database.execute(
        "CREATE INDEX alone_ccnew ON jobs (worker); CREATE INDEX jobs_enqueued_ccnew ON jobs (label);"
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid::regclass::text LIKE '%_ccnew'"
    )
    did = keeping.run(reindex, database.dsn, consent=True)
    for name in ("alone_ccnew", "jobs_enqueued_ccnew"):
        assert did[f"public.{name}"].why.startswith("not valid")
    assert keeping.indexes(database) == {**INDEXES, "alone_ccnew": False, "jobs_enqueued_ccnew": False}


def test_p9_an_index_that_somebody_builds_right_now_is_not_taken_for_left_over(
    database: servers.Database, snapshot: psycopg.Connection[Any]
) -> None:
    building = threading.Thread(target=database.execute, args=("REINDEX INDEX CONCURRENTLY jobs_enqueued",))
    building.start()
    eventually(lambda: rebuilding(database), what="the rebuilding waits")
    try:
        did = keeping.run_steps(reindex, database.dsn, consent=True, dry_run=True)
    finally:
        snapshot.rollback()
        building.join(20)
    assert did[0].why == "somebody is at work on its table, perhaps building it"
    assert keeping.indexes(database) == INDEXES


def test_a_change_of_the_schema_need_not_wait_and_nothing_is_left_over(
    database: servers.Database, snapshot: psycopg.Connection[Any]
) -> None:
    """Behind it, every writer would wait, too."""
    found: dict[str, Any] = {}
    with keeping.writers(database) as watched:
        at_work = threading.Thread(target=lambda: found.update(keeping.run(reindex, database.dsn)))
        at_work.start()
        eventually(lambda: rebuilding(database), what="the rebuilding waits")
        begun = time.monotonic()
        database.execute("ALTER TABLE jobs ADD COLUMN note text")
        took = time.monotonic() - begun
        snapshot.rollback()
        at_work.join(30)
    # The rebuilding, if it gave no way, would wait for the snapshot for half a minute.
    assert took < 10
    assert watched.waited < 10
    assert not watched.failed
    assert "gave way" in found["public.jobs_enqueued"].why
    assert found["public.jobs_enqueued"].outcome == "skipped"
    assert found["public.jobs_enqueued_ccnew"].action == "dropped"
    assert found["public.jobs_pkey"].action == "rebuilt", "it went on past the one that failed"
    assert keeping.indexes(database) == INDEXES


@pytest.mark.versions
def test_killed_at_any_point_the_schema_stays_valid_and_the_next_run_finishes(
    database: servers.Database,
) -> None:
    for wait in (0.0, 0.01, 0.03, 0.08):
        done = threading.Event()

        def work(done: threading.Event = done) -> None:
            # Where nothing at all was done, that is an error.
            with contextlib.suppress(psycopg.Error, QueuewardenError):
                keeping.run(reindex, database.dsn)
            done.set()

        at_work = threading.Thread(target=work)
        at_work.start()
        eventually(
            lambda done=done: (
                done.is_set()
                or bool(database.rows("SELECT FROM pg_stat_activity WHERE query LIKE 'REINDEX%%'"))
            ),
            what="it is at work",
        )
        time.sleep(wait)
        end_session(database)
        at_work.join(30)
        found = keeping.indexes(database)
        assert INDEXES.items() <= found.items()
    keeping.run(reindex, database.dsn, consent=True)
    assert keeping.indexes(database) == INDEXES
    assert keeping.run(reindex, database.dsn) == {}
