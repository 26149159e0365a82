"""Drift of a library's tables: each kind is planted and told in one line, with which nothing is written."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import kit
import pytest
from library_schemas import ddl

from queuewarden.engine.drift import MOST
from queuewarden.engine.resolve import resolve
from queuewarden.queues.mapping import TableName
from queuewarden.queues.presets import presets
from queuewarden.settings.load import load
from queuewarden.settings.mappings import preset_mapping

if TYPE_CHECKING:
    from collections.abc import Callable

    import servers

    from queuewarden.engine.resolve import Resolution
    from queuewarden.queues.mapping import Mapping

LIMITS = replace(kit.LIMITS, checks=("dead_workers", "stuck_jobs"))


def mapped(name: str, schema: str | None = None) -> Mapping:
    return preset_mapping(presets()["oban" if name == "oban_python" else name], schema)


def look(dsn: str, mapping: Mapping, **limits: Any) -> Resolution:
    async def resolved() -> Resolution:
        async with kit.session(dsn) as session:
            return await resolve(session, "test", mapping, replace(LIMITS, **limits))

    return asyncio.run(resolved())


@pytest.mark.versions
@pytest.mark.parametrize(
    "name",
    ["procrastinate", "river", "oban", "oban_python", "good_job", "oca_queue_job", "que", "graphile_worker"],
)
def test_an_unchanged_schema_fits_and_there_is_nothing_to_note(
    databases: Callable[..., servers.Database], name: str
) -> None:
    resolution = look(databases(ddl(name)).dsn, mapped(name))
    assert resolution.faults == ()
    assert resolution.notes == ()
    versions = {"oban": "14", "que": "7", "graphile_worker": "20"}
    assert resolution.fit.version == versions.get(name)


PLANTED = [
    ("river", "ALTER TYPE river_job_state ADD VALUE 'interrupted'",
     "state has an unknown label 'interrupted'"),
    ("river", "ALTER TYPE river_job_state ADD VALUE 'a'; ALTER TYPE river_job_state ADD VALUE 'b'",
     "state has unknown labels 'a', 'b'"),
    ("river", "ALTER TYPE river_job_state RENAME VALUE 'pending' TO 'held'",
     "state has an unknown label 'held'; state has no label 'pending'"),
    ("river", "ALTER TYPE river_job_state RENAME VALUE 'running' TO 'executing'",
     "state has an unknown label 'executing'; state has no label 'running'"),
    ("river", "ALTER TABLE river_job DROP CONSTRAINT finalized_or_finalized_at_null",
     "constraint finalized_or_finalized_at_null is missing"),
    ("river", "ALTER TABLE river_job DROP errors", "column errors is missing"),
    ("river", "ALTER TABLE river_job DROP attempted_at", "column attempted_at is missing"),
    ("river", "ALTER TABLE river_job ALTER attempt TYPE text", "column attempt is text, not smallint"),
    ("river", "ALTER TABLE river_job ALTER errors TYPE text",
     "column errors is text, not jsonb[]"),
    ("river", "DROP INDEX river_job_unique_idx", "unique index river_job_unique_idx is missing"),
    ("river", "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'river_job_unique_idx'::regclass",
     "unique index river_job_unique_idx is invalid"),
    ("river", "ALTER TABLE river_job DROP CONSTRAINT kind_length; DROP INDEX river_job_unique_idx",
     "constraint kind_length is missing; unique index river_job_unique_idx is missing"),
    ("procrastinate", "DROP TRIGGER procrastinate_trigger_status_events_update_v1 ON procrastinate_jobs",
     "trigger procrastinate_trigger_status_events_update_v1 is missing"),
    ("procrastinate",
     "ALTER TABLE procrastinate_jobs DISABLE TRIGGER procrastinate_trigger_status_events_update_v1",
     "trigger procrastinate_trigger_status_events_update_v1 is disabled"),
    ("procrastinate", "DROP FUNCTION procrastinate_retry_job_v2",
     "function procrastinate_retry_job_v2 is missing"),
    ("procrastinate", "ALTER TABLE procrastinate_workers ALTER last_heartbeat TYPE timestamp",
     ("column procrastinate_workers.last_heartbeat is timestamp without time zone, not timestamp with time"
      " zone")),
    ("procrastinate", "ALTER TABLE procrastinate_events RENAME at TO happened_at",
     "column procrastinate_events.at is missing"),
    ("oban", "COMMENT ON TABLE oban_jobs IS '16'", "its version is 16, none of 14, 15"),
    ("graphile_worker", "INSERT INTO graphile_worker.migrations VALUES (21)",
     "its version is 21, none of 18, 19, 20"),
    ("graphile_worker", "DELETE FROM graphile_worker.migrations WHERE id > 9",
     "its version is 9, none of 18, 19, 20"),
    ("graphile_worker", "DROP TABLE graphile_worker._private_job_queues",
     ("table graphile_worker._private_job_queues is missing; unique index job_queues_queue_name_key is"
      " missing")),
    ("oca_queue_job",
     ("DROP TRIGGER queue_job_notify ON queue_job; CREATE TRIGGER queue_job_notify AFTER INSERT ON queue_job"
      " FOR EACH ROW EXECUTE FUNCTION queue_job_notify()"),
     "trigger queue_job_notify does not fire on updates"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "statement", "expected"), PLANTED, ids=[one[2][:40] for one in PLANTED])
def test_each_drift_is_told_in_one_line_and_holds_all_writes(
    databases: Callable[..., servers.Database], name: str, statement: str, expected: str
) -> None:
    database = databases(ddl(name))
    database.execute(statement)
    mapping = mapped(name)
    resolution = look(database.dsn, mapping)
    library = presets()[name].library
    assert library is not None
    (fault,) = resolution.faults
    _, _, table = str(mapping.jobs.table).rpartition(".")
    schema = "graphile_worker" if name == "graphile_worker" else "public"
    assert fault == (
        f"preset {name} does not fit {schema}.{table}: {expected} (read against versions"
        f" {library.versions}): only observed"
    )
    assert resolution.target is not None
    assert resolution.target.hold == fault


def test_without_the_status_nothing_is_read(databases: Callable[..., servers.Database]) -> None:
    database = databases(ddl("river"))
    database.execute("ALTER TABLE river_job RENAME state TO status")
    resolution = look(database.dsn, mapped("river"))
    assert resolution.target is None
    (fault,) = resolution.faults
    assert ": column state is missing (" in fault


@pytest.mark.versions
def test_drift_in_every_kind_is_one_line_that_stays_short(databases: Callable[..., servers.Database]) -> None:
    database = databases(ddl("procrastinate"))
    database.execute(
        "ALTER TYPE procrastinate_job_status ADD VALUE 'paused';"
        "ALTER TABLE procrastinate_jobs DROP CONSTRAINT check_not_todo_abort_requested, DROP args;"
        "DROP FUNCTION procrastinate_retry_job_v2, procrastinate_finish_job_v1;"
        "DROP INDEX procrastinate_jobs_lock_idx_v1;"
        "DROP TRIGGER procrastinate_trigger_scheduled_events_v1 ON procrastinate_jobs;"
        "DROP TRIGGER procrastinate_trigger_status_events_update_v1 ON procrastinate_jobs;"
        "DROP TRIGGER procrastinate_trigger_abort_requested_events_v1 ON procrastinate_jobs"
    )
    resolution = look(database.dsn, mapped("procrastinate"))
    assert len(resolution.fit.differences) == MOST + 1
    (fault,) = resolution.faults
    assert "; and 1 more (read against" in fault
    assert look(database.dsn, mapped("procrastinate"), mode="observe").faults == (fault,)


@pytest.mark.parametrize("name", ["procrastinate", "river", "graphile_worker"])
def test_in_another_schema(databases: Callable[..., servers.Database], name: str) -> None:
    database = databases()
    with database.connect() as connection:
        if name == "graphile_worker":
            connection.execute(ddl(name))
            connection.execute("ALTER SCHEMA graphile_worker RENAME TO app")
        else:
            connection.execute("CREATE SCHEMA app; SET search_path = app, pg_catalog")
            connection.execute(ddl(name))
    database.execute(f"ALTER DATABASE {database.name} SET search_path = app")
    mapping = preset_mapping(presets()[name])
    mapping = kit.jobs_mapping(mapping, table=TableName(mapping.jobs.table.name, "app"))
    resolution = look(database.dsn, mapping)
    assert resolution.faults == ()
    assert resolution.fit.version == ("20" if name == "graphile_worker" else None)
    table = f"app.{mapping.jobs.table.name}"
    column = {"procrastinate": "priority", "river": "kind", "graphile_worker": "payload"}[name]
    database.execute(f"ALTER TABLE {table} RENAME {column} TO other")
    (fault,) = look(database.dsn, mapping).faults
    assert f" does not fit {table}: column {column} is missing (" in fault


def test_what_a_user_adds_is_no_fault_and_noted_where_a_repair_meets_it(
    databases: Callable[..., servers.Database],
) -> None:
    database = databases(ddl("river"))
    database.execute("""
        ALTER TABLE river_job ADD tenant int, ADD CONSTRAINT ours CHECK (tenant > 0),
            ADD CONSTRAINT theirs CHECK (attempt < 1000 OR tenant = 1);
        CREATE INDEX ON river_job (tenant);
        CREATE UNIQUE INDEX once ON river_job (tenant, kind);
        CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
        CREATE TRIGGER born AFTER INSERT ON river_job FOR EACH ROW EXECUTE FUNCTION noted();
        CREATE TRIGGER audit AFTER UPDATE ON river_job FOR EACH ROW EXECUTE FUNCTION noted()""")
    resolution = look(database.dsn, mapped("river"))
    assert resolution.faults == ()
    other = "of public.river_job, which River does not bring,"
    assert sorted(resolution.notes) == [
        f"constraint theirs {other} may refuse a repair: it checks attempt",
        f"trigger audit {other} fires with each repair",
        f"unique index once {other} may refuse a repair",
    ]


def test_what_the_user_maps_otherwise_is_theirs(databases: Callable[..., servers.Database]) -> None:
    database = databases(ddl("river"))
    database.execute(
        "ALTER TABLE river_job RENAME attempted_at TO began;"
        "ALTER TYPE river_job_state ADD VALUE 'interrupted';"
        "ALTER TABLE river_job DROP errors"
    )
    queue = "QUEUEWARDEN_QUEUE__RIVER"
    given = {
        "QUEUEWARDEN_DSN": database.dsn,
        f"{queue}__PRESET": "river",
        f"{queue}__JOBS__STARTED_AT": "began",
        f"{queue}__REQUEUE": "scheduled_at = now, began = keep, attempted_by = keep",
        f"{queue}__STATES__WAITING": "retryable, available, scheduled, interrupted",
    }
    (environment,) = load(given, default_file=Path("none"), credentials=Path("none")).environments
    (fault,) = look(database.dsn, environment.queues[0]).faults
    assert "river_job: column errors is missing (read" in fault


def test_a_table_of_another_name_is_compared_with_nothing(databases: Callable[..., servers.Database]) -> None:
    database = databases(ddl("river"))
    database.execute("ALTER TABLE river_job RENAME TO work; ALTER TABLE work DROP errors")
    resolution = look(database.dsn, kit.jobs_mapping(mapped("river"), table=TableName("work")))
    assert resolution.faults == ()
    assert resolution.notes == ("public.work is not river_job: what is known of that is not compared",)


def test_but_not_where_the_library_itself_puts_jobs_back(databases: Callable[..., servers.Database]) -> None:
    """Its functions would write its own table, by numbers of another."""
    database = databases(ddl("procrastinate"))
    database.execute("CREATE TABLE work (LIKE procrastinate_jobs INCLUDING ALL)")
    mapping = kit.jobs_mapping(mapped("procrastinate"), table=TableName("work"))
    (fault,) = look(database.dsn, mapping).faults
    assert "by the library's own way, which knows only procrastinate_jobs" in fault


def test_the_mapping_s_own_faults_stand_beside(databases: Callable[..., servers.Database]) -> None:
    database = databases(ddl("river"))
    database.execute("ALTER TABLE river_job DROP errors, DROP attempted_at")
    drift, own = look(database.dsn, kit.jobs_mapping(mapped("river"), error="mistake")).faults
    assert "column attempted_at is missing; column errors is missing" in drift
    assert own.startswith("JOBS__ERROR: public.river_job has no column mistake")


def test_workers_that_are_gone_are_told_once_and_those_elsewhere_not_at_all(
    databases: Callable[..., servers.Database],
) -> None:
    database = databases(ddl("procrastinate"))
    database.execute("DROP TABLE procrastinate_workers CASCADE")
    mapping = mapped("procrastinate")
    (fault,) = look(database.dsn, mapping).faults
    assert fault.startswith("table procrastinate_workers does not exist")
    assert mapping.workers is not None
    elsewhere = replace(mapping, workers=replace(mapping.workers, registered_in="central"))
    assert look(database.dsn, elsewhere).faults == ()


def test_presets_of_ours_and_mappings_by_hand_are_not_compared(
    databases: Callable[..., servers.Database],
) -> None:
    fit = look(databases(kit.SCHEMA).dsn, kit.MAPPING).fit
    assert (fit.fault, fit.notes, fit.rights) == ("", (), ())


def test_it_takes_one_round_trip_and_one_more_for_a_version(
    databases: Callable[..., servers.Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    def trips(dsn: str, mapping: Mapping) -> int:
        async def counted() -> int:
            async with kit.session(dsn) as session:
                await resolve(session, "test", mapping, LIMITS)
                return session.round_trips

        return asyncio.run(counted())

    for name, expected in (("river", 1), ("oban", 1), ("procrastinate", 1), ("graphile_worker", 2)):
        dsn = databases(ddl(name)).dsn
        mapping = mapped(name)
        assert trips(dsn, mapping) - trips(dsn, replace(mapping, preset=None)) == expected, name
