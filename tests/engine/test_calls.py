"""A library's own function makes the change, or has a part in it: images, ledger, undo, plans, strangers."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import kit
import pytest
from click.testing import CliRunner
from conformance.libraries.pgqueuer import PgQueuer
from fresh_logging import restored_logging
from ledgers import Ledgered, image, refusals
from library_schemas import ddl

from queuewarden.application.cli import cli
from queuewarden.checks import lanes, stuck_jobs
from queuewarden.engine.ledger import schema
from queuewarden.engine.resolve import Resolution, resolve
from queuewarden.queues.mapping import Positions
from queuewarden.settings.load import load

if TYPE_CHECKING:
    from collections.abc import Callable

    from servers import Database

    from queuewarden.model import Limits
    from queuewarden.queues.mapping import Mapping

SILENT = """
INSERT INTO procrastinate_workers (id, last_heartbeat) OVERRIDING SYSTEM VALUE
VALUES (1, now() - interval '1 hour');
INSERT INTO procrastinate_jobs (id, queue_name, task_name, status, worker_id, attempts, queueing_lock)
SELECT n, 'mails', 'send', 'doing', 1, n % 3, n FROM generate_series(1, {}) AS n;
DELETE FROM procrastinate_events;
INSERT INTO procrastinate_events (job_id, type, at)
SELECT n, 'started', now() - interval '2 hours' FROM generate_series(1, {}) AS n"""


@pytest.fixture
def library(databases: Callable[..., Database]) -> Database:
    """Procrastinate's own schema, and a ledger."""
    return databases(ddl("procrastinate") + schema.script())


def mapped(dsn: str, preset: str = "procrastinate", **settings: str) -> tuple[Mapping, Limits]:
    given = {"PRESET": preset, "MODE": "repair"} | settings
    variables = {f"QUEUEWARDEN_QUEUE__JOBS__{name}": value for name, value in given.items()}
    nowhere = Path("none")
    loaded = load({"QUEUEWARDEN_DSN": dsn} | variables, default_file=nowhere, credentials=nowhere)
    (environment,) = loaded.environments
    (mapping,) = environment.queues
    return mapping, environment.queue_limits["jobs"]


def ledgered(database: Database, **settings: str) -> Ledgered:
    mapping, limits = mapped(database.dsn, **settings)
    return Ledgered(database, mapping, limits)


def look(database: Database, dsn: str | None = None, **given: Any) -> Resolution:
    async def resolved() -> Resolution:
        mapping, limits = mapped(dsn or database.dsn, **given)
        async with kit.session(dsn or database.dsn) as session:
            return await resolve(session, "test", mapping, limits)

    return asyncio.run(resolved())


@pytest.mark.versions
def test_the_ledger_has_what_the_function_made_of_each_row(library: Database) -> None:
    """Of 110 in two batches; three of them it refuses, leaves, or deletes."""
    library.execute(SILENT.format(110, 110))
    library.execute(
        "INSERT INTO procrastinate_jobs (id, queue_name, task_name, queueing_lock) VALUES (0, 'a', 'b', 70)"
    )
    library.execute(
        "ALTER FUNCTION procrastinate_retry_job_v2 RENAME TO theirs;"
        "CREATE FUNCTION procrastinate_retry_job_v2(job bigint, at timestamptz, p int, q varchar, l varchar)"
        " RETURNS void LANGUAGE plpgsql AS $$BEGIN"
        " IF job = 4 THEN RETURN; ELSIF job = 105 THEN DELETE FROM procrastinate_jobs WHERE id = job;"
        " ELSE PERFORM theirs(job, at, p, q, l); END IF; END$$"
    )
    before = dict(library.rows("SELECT id, j::text FROM procrastinate_jobs AS j"))
    queue = ledgered(library)
    queue.limits = replace(queue.limits, batch=100)
    done = queue.sweep()["silent"]
    assert (done.found, done.mended, done.set_aside, done.error) == (110, 107, 3, None)
    assert library.rows("SELECT id FROM procrastinate_jobs WHERE status = 'doing' ORDER BY 1") == [
        (4,), (70,), (105,)
    ]  # fmt: skip
    changes = queue.changes()
    assert [one.id for one in changes] == list(range(1, 108))
    assert library.value("SELECT last_id FROM queuewarden.counter") == 107
    booked = {
        one.finding.key: (one.finding.before["attempts"], one.finding.after)
        for one in changes
        if one.finding.after is not None
    }
    now = library.rows(
        "SELECT id::text, status::text, attempts, worker_id::text, scheduled_at::text"
        " FROM procrastinate_jobs WHERE status = 'todo' AND id > 0"
    )
    assert len(booked) == len(now) == 107
    for key, status, attempts, worker, scheduled in now:
        was, after = booked[key,]
        assert (was, after["attempts"]) == (str(attempts - 1), str(attempts))
        assert (after["status"], after["worker_id"], after["scheduled_at"]) == (status, worker, scheduled)
    assert set(refusals(queue.undo()).values()) == {None}
    assert dict(library.rows("SELECT id, j::text FROM procrastinate_jobs AS j")) == before
    assert queue.sweep() == {}, "what was put back is left alone"


def test_an_undo_can_itself_be_undone(library: Database) -> None:
    library.execute(SILENT.format(2, 2))
    library.execute("UPDATE procrastinate_jobs SET abort_requested = true WHERE id = 2")
    queue = ledgered(library)
    before = image(library, "procrastinate_jobs")
    assert {code: one.mended for code, one in queue.sweep().items()} == {"silent": 1, "silent_spent": 1}
    after = image(library, "procrastinate_jobs")
    assert set(refusals(queue.undo()).values()) == {None}
    assert image(library, "procrastinate_jobs") == before
    undos = [one.id for one in queue.changes() if one.undoes]
    assert set(refusals(queue.undo(*undos)).values()) == {None}
    assert image(library, "procrastinate_jobs") == after


def test_by_hand_no_job_is_reset_that_its_library_would_end(library: Database) -> None:
    library.execute(SILENT.format(2, 2))
    library.execute("UPDATE procrastinate_jobs SET abort_requested = true WHERE id = 2")
    settings = {
        "QUEUEWARDEN_ENV__PROD__DSN": library.dsn,
        "QUEUEWARDEN_QUEUE__MAIL__PRESET": "procrastinate",
    }
    with restored_logging():
        CliRunner().invoke(cli, ["reset", "--env", "prod", "--job", "1", "--job", "2"], env=settings)
    assert library.rows("SELECT id, status::text FROM procrastinate_jobs WHERE id IN (1, 2) ORDER BY id") == [
        (1, "todo"),
        (2, "doing"),
    ]


def test_a_dry_run_writes_nothing_and_a_plan_is_refused(library: Database, tmp_path: Path) -> None:
    library.execute(SILENT.format(1, 1))
    before = image(library, "procrastinate_jobs"), image(library, "procrastinate_events")
    plan = str(tmp_path / "plan")

    def call(*arguments: str) -> str:
        variables = {"QUEUEWARDEN_DSN": library.dsn, "QUEUEWARDEN_QUEUE__JOBS__PRESET": "procrastinate"}
        with restored_logging():
            result = CliRunner().invoke(cli, arguments, env=variables)
        assert isinstance(result.exception, SystemExit | None), result.exception
        return result.stdout

    assert "dry run, nothing was written: 1 found" in call("repair", "--no-grace", "--dry-run", "--out", plan)
    assert "refused its library has a part" in call("repair", "--no-grace", "--plan", plan)
    assert (image(library, "procrastinate_jobs"), image(library, "procrastinate_events")) == before
    assert "1 reset, 0 left" in call("reset", "--env", "default", "--job", "1")
    assert library.value("SELECT status::text FROM procrastinate_jobs") == "todo"


@pytest.mark.versions
def test_a_stranger_whose_schema_comes_first_is_not_called(library: Database) -> None:
    """It has a function of the library's name, and an operator, before its own on the role's path."""
    library.execute(SILENT.format(1, 1))
    library.execute(
        "CREATE SCHEMA evil;"
        "CREATE FUNCTION evil.procrastinate_retry_job_v2(bigint, timestamptz, int, varchar, varchar)"
        " RETURNS void LANGUAGE plpgsql AS $$BEGIN RAISE 'a stranger'; END$$;"
        "CREATE FUNCTION evil.same(bigint, bigint) RETURNS bool LANGUAGE plpgsql AS $$BEGIN"
        " RAISE 'a stranger'; END$$;"
        "CREATE OPERATOR evil.= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = evil.same);"
        f'ALTER DATABASE "{library.name}" SET search_path = evil, public'
    )
    done = ledgered(library).sweep()["silent"]
    assert (done.mended, done.set_aside, done.error) == (1, 0, None)


def test_in_another_schema_its_functions_must_find_their_tables(databases: Callable[..., Database]) -> None:
    database = databases(
        f"CREATE SCHEMA lib; SET search_path = lib; {ddl('procrastinate')}; {schema.script()}"
    )
    database.execute("SET search_path = lib;" + SILENT.format(1, 1))
    tables = {
        f"{part}__TABLE": f"lib.procrastinate_{name}"
        for part, name in (("JOBS", "jobs"), ("WORKERS", "workers"), ("STARTS", "events"))
    }
    (fault,) = look(database, **tables).faults
    assert "SET search_path = lib" in fault
    assert ledgered(database, **tables).sweep()["silent"].held == "hold"
    database.execute(f'ALTER DATABASE "{database.name}" SET search_path = lib, public')
    assert ledgered(database, **tables).sweep()["silent"].mended == 1


DRIFTED = [
    ("procrastinate", "ALTER TABLE procrastinate_jobs DROP COLUMN abort_requested CASCADE", "repair"),
    ("procrastinate", "ALTER TABLE procrastinate_jobs DROP COLUMN attempts CASCADE", "observe"),
    ("graphile_worker", "ALTER TABLE graphile_worker._private_jobs DROP COLUMN job_queue_id", "repair"),
    ("pgqueuer", "DROP TABLE pgqueuer_log", "repair"),
]


@pytest.mark.parametrize(("preset", "statement", "mode"), DRIFTED, ids=[one[1][11:] for one in DRIFTED])
def test_without_what_the_library_goes_by_no_job_is_moved(
    databases: Callable[..., Database], preset: str, statement: str, mode: str
) -> None:
    database = databases("" if preset == "pgqueuer" else ddl(preset))
    if preset == "pgqueuer":
        pytest.importorskip("pgqueuer", reason="the package pgqueuer is not installed")
        PgQueuer().create(database.dsn)
    database.execute(statement)
    resolution = look(database, preset=preset, MODE=mode)
    assert resolution.faults
    assert resolution.target is not None
    rules = stuck_jobs.rules(resolution.target)
    assert rules
    assert all(rule.write is None for rule in rules)
    mapping, limits = mapped(database.dsn, preset, MODE=mode)
    report = asyncio.run(kit.sweep_async(database.dsn, mapping, limits))
    assert not report.queues[0].outcomes


REFUSING = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
    RETURN CASE WHEN NEW.id = 2 THEN NULL ELSE NEW END; END$$;
CREATE TRIGGER refuse BEFORE UPDATE ON graphile_worker._private_jobs FOR EACH ROW EXECUTE FUNCTION refuse();
INSERT INTO graphile_worker._private_job_queues (id, locked_at, locked_by)
VALUES (1, '2000-01-01', 'w'), (2, '2000-01-01', 'w');
INSERT INTO graphile_worker._private_jobs
    (id, job_queue_id, attempts, max_attempts, locked_at, locked_by, run_at)
VALUES (1, 1, 1, 25, '2000-01-01', 'w', now()), (2, 2, 1, 25, '2000-01-01', 'w', now())"""


def test_what_is_freed_beside_is_of_jobs_that_were_written(databases: Callable[..., Database]) -> None:
    database = databases(ddl("graphile_worker"))
    database.execute(REFUSING)
    mapping, limits = mapped(database.dsn, "graphile_worker")
    done = kit.sweep(database.dsn, mapping, limits)["stuck"]
    assert (done.found, done.mended) == (2, 1)
    assert database.rows("SELECT id, locked_by FROM graphile_worker._private_jobs ORDER BY id") == [
        (1, None), (2, "w")
    ]  # fmt: skip
    assert database.rows("SELECT id, locked_by FROM graphile_worker._private_job_queues ORDER BY id") == [
        (1, None), (2, "w")
    ]  # fmt: skip


def test_a_lane_is_not_thinned_out_past_the_library(library: Database) -> None:
    mapping, limits = mapped(library.dsn)
    crowded = replace(mapping, positions=Positions(lane=("lock",), max_running=1, demote=True))

    async def rules() -> list[bool]:
        async with kit.session(library.dsn) as session:
            target = (await resolve(session, "test", crowded, limits)).target
            assert target is not None
            return [rule.write is None for rule in lanes.rules(target)]

    assert asyncio.run(rules()) == [True]
