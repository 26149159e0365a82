"""``prune``: which jobs are deleted, and above all which are not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import keeping
import kit
import pytest
from eventually import eventually
from pruned import left, old, pruned
from psycopg.conninfo import make_conninfo

from queuewarden.engine.upkeep.config import Upkeep
from queuewarden.engine.upkeep.tasks import prune
from queuewarden.queues.mapping import States, TableName

if TYPE_CHECKING:
    from collections.abc import Callable

    import servers

pytestmark = pytest.mark.slow

QUEUE = "mail: public.jobs"
SHORT = prune.SHORT


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is busy sets no job aside."""
    monkeypatch.setattr(prune, "SHORT", timedelta(seconds=20))


@pytest.fixture
def database(databases: Callable[..., servers.Database]) -> servers.Database:
    return databases(kit.SCHEMA)


@pytest.mark.versions
def test_what_ended_long_ago_is_deleted_and_nothing_else(database: servers.Database) -> None:
    old(database, 1200)
    old(database, 3, days=20)
    for status in ("failed", "cancelled", "waiting", "running", "elsewhere"):
        old(database, 1, status)
    database.execute("INSERT INTO jobs (status, finished_at) VALUES ('done', NULL), ('done', '-infinity')")
    (shown,) = pruned(database, dry_run=True)
    assert (shown.action, shown.amount) == ("would delete", 1200)
    assert left(database) == 1210
    (done,) = pruned(database)
    assert (done.subject, done.action, done.outcome, done.amount) == (QUEUE, "deleted", "done", 1200)
    assert left(database) == 10
    assert pruned(database)[0].amount == 0


def test_only_states_that_were_named(database: servers.Database) -> None:
    for status in ("done", "failed", "cancelled"):
        old(database, 1, status)
    pruned(database, upkeep=Upkeep(prune_states=("failed", "cancelled")))
    assert database.rows("SELECT status FROM jobs") == [("done",)]


def test_a_state_that_lives_is_never_deleted_whatever_it_is_called(database: servers.Database) -> None:
    """A status that the mapping names twice, as what ended and as what waits."""
    old(database, 2, "waiting")
    mapping = replace(kit.MAPPING, states=replace(kit.MAPPING.states, failed=("failed", "waiting")))
    pruned(database, mapping, upkeep=Upkeep(prune_states=("failed",)))
    assert left(database) == 2


def test_a_job_in_two_final_states_is_kept_unless_both_were_named(database: servers.Database) -> None:
    database.execute(
        "INSERT INTO jobs (finished_at, error) VALUES ('2020-01-01', 'failed'), ('2020-01-01', NULL)"
    )
    states = States(
        waiting=("started_at is null", "finished_at is null"),
        running=("started_at is not null", "finished_at is null"),
        done=("finished_at is not null",),
        failed=("error is not null",),
    )
    mapping = replace(kit.jobs_mapping(status=None), states=states)
    pruned(database, mapping)
    assert database.rows("SELECT error FROM jobs") == [("failed",)]
    pruned(database, mapping, upkeep=Upkeep(prune_states=("done", "failed")))
    assert left(database) == 0


def test_states_that_are_conditions(database: servers.Database) -> None:
    database.execute(
        "INSERT INTO jobs (finished_at, started_at) VALUES ('2020-01-01', '2020-01-01'), (NULL, NULL)"
    )
    states = States(
        waiting=("started_at is null", "finished_at is null"),
        running=("started_at is not null", "finished_at is null"),
        done=("finished_at is not null",),
    )
    mapping = replace(kit.jobs_mapping(status=None), states=states)
    pruned(database, mapping)
    assert database.rows("SELECT finished_at FROM jobs") == [(None,)]


def test_a_number_that_stands_for_no_time_is_no_end(database: servers.Database) -> None:
    database.execute(
        "ALTER TABLE jobs ALTER finished_at TYPE bigint USING NULL, ALTER started_at TYPE bigint USING NULL,"
        " ALTER enqueued_at DROP DEFAULT, ALTER enqueued_at TYPE bigint USING 0;"
        "INSERT INTO jobs (status, enqueued_at, finished_at) VALUES ('done', 1, 0), ('done', 1, 1577836800)"
    )
    assert pruned(database, kit.jobs_mapping(epoch="seconds"))[0].amount == 1
    assert database.value("SELECT finished_at FROM jobs") == 0


def test_a_job_whose_deletion_fails_is_set_aside_and_the_others_go(database: servers.Database) -> None:
    old(database, 700)
    database.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF OLD.id = 333 THEN"
        " RAISE 'this one stays'; END IF; RETURN OLD; END $$;"
        "CREATE TRIGGER refuse BEFORE DELETE ON jobs FOR EACH ROW EXECUTE FUNCTION refuse()"
    )
    done, aside = pruned(database)
    assert (done.amount, aside.outcome, aside.amount, aside.why) == (699, "failed", 1, "this one stays")
    assert database.rows("SELECT id FROM jobs") == [(333,)]


def test_a_job_that_a_trigger_keeps_is_told_so(database: servers.Database) -> None:
    old(database, 3)
    database.execute(
        "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN IF OLD.id = 2 THEN RETURN NULL; END IF; RETURN OLD; END $$;"
        "CREATE TRIGGER keep BEFORE DELETE ON jobs FOR EACH ROW EXECUTE FUNCTION keep()"
    )
    done, kept = pruned(database)
    assert (done.amount, kept.amount, kept.why) == (2, 1, "a trigger keeps them")
    assert left(database) == 1


def test_triggers_find_what_they_need_on_the_path(database: servers.Database) -> None:
    old(database, 2)
    database.execute(
        "CREATE TABLE gone (id bigint);"
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN INSERT INTO gone VALUES (OLD.id); RETURN OLD; END $$;"
        "CREATE TRIGGER note AFTER DELETE ON jobs FOR EACH ROW EXECUTE FUNCTION note()"
    )
    assert [one.outcome for one in pruned(database)] == ["done"]
    assert database.value("SELECT count(*) FROM gone") == 2


def test_slow_triggers_make_smaller_batches(
    database: servers.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prune, "SHORT", SHORT)
    old(database, 40)
    database.execute(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_sleep(0.02); RETURN OLD; END $$;"
        "CREATE TRIGGER slow BEFORE DELETE ON jobs FOR EACH ROW EXECUTE FUNCTION slow()"
    )
    assert [(one.action, one.amount) for one in pruned(database)] == [("deleted", 40)]


def test_what_grants_prints_and_the_advice_suffice(database: servers.Database) -> None:
    old(database)
    role = f"qw_{database.name}"
    columns = database.value(
        "SELECT string_agg(attname, ', ') FROM pg_attribute WHERE attrelid = 'jobs'::regclass AND attnum > 0"
    )
    given = f"GRANT SELECT ({columns}, ctid, xmin), UPDATE ON jobs TO {role}"
    database.execute(f"CREATE ROLE {role} LOGIN; {given}; GRANT SELECT, UPDATE ON workers TO {role}")
    dsn = make_conninfo(database.dsn, user=role)
    try:
        database.execute(f"GRANT DELETE ON jobs TO {role}")
        (step,) = keeping.run(prune, dsn).values()
        advised = step.why.removeprefix("rights missing: ")
        assert advised.startswith("GRANT DELETE, SELECT (xmax)")
        database.execute(f"{advised} TO {role}")
        assert [one.amount for one in keeping.run(prune, dsn).values()] == [10]
    finally:
        database.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
    assert left(database) == 0


def test_refusals(database: servers.Database) -> None:
    old(database, 1)

    def why(*mappings: Any, **rest: Any) -> str:
        (step,) = pruned(database, *mappings, **rest)
        assert step.outcome == "skipped"
        return step.why

    library = replace(kit.MAPPING, preset="procrastinate")
    assert why(library) == "Procrastinate has a way of its own to delete jobs: set that up"
    observed = replace(kit.LIMITS, mode="observe")
    assert why(limits=observed) == "only observed: MODE is observe"
    assert why(kit.jobs_mapping(finished_at=None)) == "nothing tells when a job was done: map FINISHED_AT"
    unnamed = replace(kit.MAPPING, states=replace(kit.MAPPING.states, done=()))
    assert why(unnamed) == "no job has the state done, as the queue is mapped"
    role = f"qw_{database.name}"
    database.execute(f"CREATE ROLE {role} LOGIN; GRANT SELECT, UPDATE ON jobs, workers TO {role}")
    try:
        (step,) = keeping.run(prune, make_conninfo(database.dsn, user=role)).values()
        assert step.why == "rights missing: GRANT DELETE, SELECT (xmax) ON public.jobs"
        database.execute(f"GRANT DELETE ON jobs TO {role}; CREATE TABLE results (job bigint REFERENCES jobs)")
        (step,) = keeping.run(prune, make_conninfo(database.dsn, user=role)).values()
        assert step.why.endswith("GRANT SELECT ON what refers to its jobs: public.results (job)")
    finally:
        database.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
    assert left(database) == 1


def test_compound_keys(database: servers.Database) -> None:
    database.execute(
        "CREATE TABLE pairs (shard text, no int, status text, finished_at timestamp,"
        " PRIMARY KEY (shard, no));"
        "INSERT INTO pairs SELECT n % 7, n, 'done', '2020-01-01' FROM generate_series(1, 1500) AS n"
    )
    mapping = kit.jobs_mapping(
        replace(kit.MAPPING, workers=None),
        table=TableName("pairs"), id=("shard", "no"), worker=None, started_at=None, enqueued_at=None,
        attempts=None, max_attempts=None, error=None, label=(),
    )  # fmt: skip
    assert pruned(database, mapping)[0].amount == 1500


@pytest.mark.versions
def test_nobody_waits_while_eight_write(database: servers.Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prune, "SHORT", SHORT)
    old(database, 20_000)
    with keeping.writers(database) as watched:
        (done,) = pruned(database)
        written = watched.written
    assert done.amount == 20_000
    assert watched.waited < keeping.LOCK_TIMEOUT.total_seconds() + 1
    assert written > 20
    assert not watched.failed


def test_what_somebody_has_locked_is_not_waited_for(database: servers.Database) -> None:
    old(database, 600)
    with database.connect(autocommit=False) as other:
        other.execute("SELECT FROM jobs WHERE id BETWEEN 100 AND 149 FOR UPDATE")
        begun = time.monotonic()
        done, kept = pruned(database)
    assert time.monotonic() - begun < 10
    assert (done.amount, kept.amount) == (550, 50)


def test_a_process_that_is_killed_amid_it_leaves_whole_jobs_and_the_next_run_finishes(
    database: servers.Database,
) -> None:
    old(database, 6_000)
    old(database, 5, days=1)
    tests = os.path.dirname(keeping.__file__)  # noqa: PTH120
    program = (
        f"import sys; sys.path.insert(0, {tests!r})\nimport keeping\n"
        "from queuewarden.engine.upkeep.tasks import prune\n"
        "prune.BATCH, prune.BREATH = 50, 0.2\nkeeping.run(prune, sys.argv[1])"
    )
    process = subprocess.Popen([sys.executable, "-c", program, database.dsn])
    eventually(lambda: left(database) < 6_005, what="it deletes")
    process.send_signal(signal.SIGKILL)
    process.wait()
    eventually(
        lambda: not database.rows("SELECT FROM pg_stat_activity WHERE application_name LIKE '%/upkeep'"),
        what="the server notices",
    )
    assert 5 < left(database) < 6_005
    pruned(database)
    assert left(database) == 5


def test_a_table_that_somebody_has_locked_is_given_up(database: servers.Database) -> None:
    old(database, 20)
    with database.connect(autocommit=False) as other:
        other.execute("LOCK TABLE jobs IN SHARE MODE")
        begun = time.monotonic()
        (step,) = pruned(database)
    assert time.monotonic() - begun < 10
    assert (step.outcome, step.why) == ("failed", "canceling statement due to lock timeout")
    assert left(database) == 20
