"""A mapping held against the catalog: what does not fit is said, with its remedy, and nothing is written."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import kit
import pytest
from psycopg.conninfo import make_conninfo
from rows import Rows

from queuewarden.checks import CHECKS
from queuewarden.engine.resolve import resolve
from queuewarden.engine.sweep import Sweeper
from queuewarden.queues.mapping import OrderTerm, Positions, Reference, TableName
from queuewarden.queues.target import Fleet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from servers import Database

    from queuewarden.engine.resolve import Resolution
    from queuewarden.queues.mapping import Mapping
    from queuewarden.queues.target import Target

LIMITS = replace(kit.LIMITS, checks=("dead_workers", "stuck_jobs"))


@pytest.fixture
def rows(databases: Callable[..., Database]) -> Rows:
    return Rows(databases(kit.SCHEMA))


def look(dsn: str, mapping: Mapping = kit.MAPPING, **limits: Any) -> Resolution:
    async def resolved() -> Resolution:
        async with kit.session(dsn) as session:
            return await resolve(session, "test", mapping, replace(LIMITS, **limits))

    return asyncio.run(resolved())


def fault(rows: Rows, mapping: Mapping = kit.MAPPING) -> str:
    """The one fault of a mapping; with it, nothing may be written."""
    resolution = look(rows.dsn, mapping)
    assert len(resolution.faults) == 1, resolution.faults
    assert resolution.target is None or resolution.target.hold == resolution.faults[0]
    return resolution.faults[0]


@contextlib.contextmanager
def role(database: Database, *grants: str) -> Iterator[str]:
    """A role with some rights; the connection string of it."""
    name = f"{database.name}_role"
    database.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'role'")
    try:
        for grant in grants:
            database.execute(f"GRANT {grant} TO {name}")
        yield make_conninfo(database.dsn, user=name, password="role")
    finally:
        database.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")


@pytest.mark.versions
def test_a_mapping_that_fits_has_no_fault(rows: Rows) -> None:
    resolution = look(rows.dsn)
    assert resolution.faults == ()
    assert resolution.target is not None
    assert resolution.target.hold is None


def workers(**changes: Any) -> Mapping:
    assert kit.MAPPING.workers is not None
    return replace(kit.MAPPING, workers=replace(kit.MAPPING.workers, **changes))


def states(**changes: Any) -> Mapping:
    return replace(kit.MAPPING, states=replace(kit.MAPPING.states, **changes))


@pytest.mark.parametrize(
    ("mapping", "expected"),
    [
        (kit.jobs_mapping(table=TableName("jobz")), "table jobz does not exist"),
        (kit.jobs_mapping(table=TableName("jobs", "elsewhere")), "table elsewhere.jobs does not exist"),
        (kit.jobs_mapping(table=TableName("JOBS")), "table JOBS does not exist"),
        (kit.jobs_mapping(id=("key",)), "JOBS__ID: public.jobs has no column key"),
        (kit.jobs_mapping(status="state"), "JOBS__STATUS: public.jobs has no column state"),
        (kit.jobs_mapping(worker="owner"), "JOBS__WORKER: public.jobs has no column owner"),
        (kit.jobs_mapping(clear=("lease",)), "JOBS__CLEAR: public.jobs has no column lease"),
        (kit.jobs_mapping(label=("name",)), "JOBS__LABEL: public.jobs has no column name"),
        (kit.jobs_mapping(started_at="label"),
         "JOBS__STARTED_AT: public.jobs.label is of type text, not a timestamp"),
        (kit.jobs_mapping(attempts="label"),
         "JOBS__ATTEMPTS: public.jobs.label is of type text, not a number"),
        (kit.jobs_mapping(max_attempts="error"), "JOBS__MAX_ATTEMPTS: public.jobs.error is of type text"),
        (kit.jobs_mapping(id=("priority",)), "no unique index over non-null columns priority of public.jobs"),
        (workers(heartbeat="beat"), "WORKERS__HEARTBEAT: public.workers has no column beat"),
        (workers(heartbeat="status"), "WORKERS__HEARTBEAT: public.workers.status is of type text, not a"),
        (workers(status="state"), "WORKERS__STATUS: public.workers has no column state"),
        (workers(table=TableName("fleet")), "table fleet does not exist"),
        (
            replace(kit.MAPPING, references=(Reference("parent", TableName("jobs"), "uid"),)),
            "REFERENCES: public.jobs has no column uid",
        ),
        (
            replace(kit.MAPPING, references=(Reference("parent", TableName("parents"), "id"),)),
            "table parents does not exist",
        ),
        (
            replace(kit.MAPPING, positions=Positions("place", (OrderTerm("priority"),))),
            "POSITIONS__COLUMN: public.jobs has no column place",
        ),
        (replace(kit.MAPPING, timestamps=(("done", "ended"),)),
         "TIMESTAMPS: public.jobs has no column ended"),
    ],
)  # fmt: skip
def test_what_the_catalog_does_not_have(rows: Rows, mapping: Mapping, expected: str) -> None:
    job = rows.job(started="1 day", worker="w1")
    assert fault(rows, mapping).startswith(expected)
    if look(rows.dsn, mapping).target is not None:
        done = kit.sweep(rows.dsn, mapping, LIMITS)
        assert {outcome.held for outcome in done.values()} <= {"hold"}
    assert rows.of_job(job) == "running"


ENUM = """
CREATE TYPE state AS ENUM ('waiting', 'running', 'done', 'failed');
ALTER TABLE jobs ALTER status DROP DEFAULT;
ALTER TABLE jobs ALTER status TYPE state USING status::state"""
LOOKUP = """
CREATE TABLE words (word text PRIMARY KEY);
INSERT INTO words VALUES ('waiting'), ('running'), ('done'), ('failed');
ALTER TABLE jobs ADD CONSTRAINT known FOREIGN KEY (status) REFERENCES words"""


@pytest.mark.versions
@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("ALTER TABLE jobs ADD CONSTRAINT words CHECK (status IN ('waiting', 'running', 'done', 'failed'))",
         "STATES__CANCELLED: constraint words of public.jobs forbids 'cancelled' in status"),
        ("ALTER TABLE jobs ALTER status TYPE varchar(7)",
         "STATES__CANCELLED: 'cancelled' is longer than public.jobs.status (7)"),
        (ENUM,
         ("STATES__CANCELLED: public.jobs.status, of type state, cannot hold 'cancelled':"
          " it knows waiting, running, done, failed")),
        ("CREATE DOMAIN state AS text CHECK (VALUE <> 'cancelled'); ALTER TABLE jobs ALTER status TYPE state",
         "STATES__CANCELLED: public.jobs.status, of type state, cannot hold 'cancelled'"),
        ("CREATE DOMAIN state AS varchar(7); ALTER TABLE jobs ALTER status TYPE state",
         "STATES__CANCELLED: public.jobs.status, of type state, cannot hold 'cancelled'"),
        (LOOKUP,
         "STATES__CANCELLED: constraint known of public.jobs forbids 'cancelled' in status"),
        ("ALTER TABLE workers ADD CONSTRAINT words CHECK (status IN ('idle', 'busy') AND status <> '%s')",
         "WORKERS__OFFLINE_VALUE: constraint words of public.workers forbids 'offline' in status"),
    ],
    ids=["check", "varchar", "enum", "domain", "short domain", "lookup", "workers"],
)  # fmt: skip
def test_r15_a_status_word_that_the_table_forbids(rows: Rows, statement: str, expected: str) -> None:
    rows.database.execute(statement)
    assert fault(rows) == expected


@pytest.mark.parametrize("word", ["7", "x", ""])
def test_r15_numbers_of_a_lookup_table(rows: Rows, word: str) -> None:
    rows.database.execute(
        "CREATE TABLE states (id int PRIMARY KEY); INSERT INTO states SELECT generate_series(1, 5);"
        "ALTER TABLE jobs ALTER status DROP DEFAULT; ALTER TABLE jobs ALTER status TYPE int USING 1;"
        "ALTER TABLE jobs ADD CONSTRAINT known FOREIGN KEY (status) REFERENCES states"
    )
    good = states(waiting=("1",), running=("2",), done=("3",), failed=("4",), cancelled=("5",))
    assert look(rows.dsn, good).faults == ()
    bad = replace(good, states=replace(good.states, waiting=(word,)))
    assert fault(rows, bad).startswith("STATES__WAITING: ")
    assert f"'{word}'" in fault(rows, bad)


def test_a_lookup_table_that_we_may_not_read_proves_nothing(rows: Rows) -> None:
    rows.database.execute(
        "CREATE TABLE words (word text PRIMARY KEY);"
        "INSERT INTO words VALUES ('waiting'), ('running'), ('done'), ('failed'), ('cancelled');"
        "ALTER TABLE jobs ADD FOREIGN KEY (status) REFERENCES words"
    )
    with role(rows.database, "SELECT, UPDATE ON jobs, workers") as dsn:
        assert look(dsn).faults == ()


@pytest.mark.parametrize("kind", ["VIEW", "MATERIALIZED VIEW"])
def test_a_view_is_only_observed(rows: Rows, kind: str) -> None:
    rows.database.execute(f"CREATE {kind} seen AS SELECT * FROM jobs")
    job = rows.job(started="1 hour")
    rows.database.execute("REFRESH MATERIALIZED VIEW seen" if kind != "VIEW" else "SELECT")
    mapping = kit.jobs_mapping(table=TableName("seen"))
    assert "view: map the table behind it" in fault(rows, mapping)
    done = kit.sweep(rows.dsn, mapping, LIMITS, sweeper=Sweeper("test"))
    assert (done["stuck"].found, done["stuck"].mended, done["stuck"].held) == (1, 0, "hold")
    assert rows.of_job(job) == "running"


@pytest.mark.parametrize(
    "statement",
    [
        "",
        "CREATE UNIQUE INDEX ON jobs (id) WHERE status <> 'done'",
        "ALTER TABLE jobs ALTER id DROP NOT NULL, ADD UNIQUE (id);",
        "CREATE UNIQUE INDEX ON jobs ((id + 1))",
        "CREATE UNIQUE INDEX ON jobs (priority) INCLUDE (id)",
        "ALTER TABLE jobs ADD PRIMARY KEY (id, priority)",
    ],
)
def test_a_key_that_two_rows_may_share_is_no_key(rows: Rows, statement: str) -> None:
    rows.database.execute(f"ALTER TABLE jobs DROP CONSTRAINT jobs_pkey; {statement}")
    assert fault(rows).startswith("no unique index over non-null columns id of public.jobs")


def test_a_key_that_holds_more_than_a_unique_one_will_do(rows: Rows) -> None:
    assert look(rows.dsn, kit.jobs_mapping(id=("priority", "id"))).faults == ()


def test_inheriting_tables_may_repeat_a_key(rows: Rows) -> None:
    """By key alone, a repair of the one row would also write the other, which is done."""
    rows.database.execute("CREATE TABLE archive () INHERITS (jobs)")
    rows.database.execute(
        "INSERT INTO jobs (id, status, started_at) VALUES (7, 'running', now() - interval '1 day')"
    )
    rows.database.execute("INSERT INTO archive (id, status) VALUES (7, 'done')")
    assert "inheriting tables" in fault(rows)
    kit.sweep(rows.dsn, limits=LIMITS)
    assert sorted(rows.database.rows("SELECT status FROM jobs")) == [("done",), ("running",)]


@pytest.mark.versions
def test_missing_rights_are_named_with_their_grant(rows: Rows) -> None:
    mine = f"{rows.database.name}_role"
    with role(rows.database, "SELECT ON workers") as dsn:
        assert look(dsn).faults[0].startswith("no right to read public.jobs: GRANT SELECT (")
    with role(rows.database, "SELECT ON jobs, workers", "UPDATE ON workers") as dsn:
        (told,) = look(dsn).faults
        assert told.startswith("no right to repair public.jobs: GRANT UPDATE (")
        assert told.endswith(f" ON public.jobs TO {mine}")
        assert all(column in told for column in ("status", "worker", "started_at", "error"))
    with role(
        rows.database, "SELECT ON jobs, workers", "UPDATE ON jobs", "UPDATE (heartbeat) ON workers"
    ) as dsn:
        (told,) = look(dsn).faults
        grant = "GRANT UPDATE (current_job, status) ON public.workers"
        assert told == f"no right to repair public.workers: {grant} TO {mine}"


def test_the_schemas_right_is_named(rows: Rows) -> None:
    rows.database.execute("CREATE SCHEMA shut; ALTER TABLE jobs SET SCHEMA shut")
    with role(rows.database, "SELECT, UPDATE ON shut.jobs, workers") as dsn:
        told = look(dsn, kit.jobs_mapping(table=TableName("jobs", "shut"))).faults
    assert told == (
        f"no right to look into schema shut: GRANT USAGE ON SCHEMA shut TO {rows.database.name}_role",
    )


def test_rows_that_may_not_be_locked_cannot_be_guarded(rows: Rows) -> None:
    """Without a status column no column of a worker is written, but its row is locked all the same."""
    with role(rows.database, "SELECT, UPDATE ON jobs", "SELECT ON workers") as dsn:
        (told,) = look(dsn, workers(status=None, offline_value=None, current_job=None)).faults
    assert told.startswith("no right to lock rows of public.workers")
    assert "GRANT UPDATE (heartbeat) ON public.workers" in told


def test_with_the_rights_that_it_asks_for_it_repairs(rows: Rows) -> None:
    with role(
        rows.database,
        "SELECT ON jobs, workers",
        "UPDATE (status, worker, started_at, finished_at, attempts, error) ON jobs",
        "UPDATE (status, current_job) ON workers",
    ) as dsn:
        rows.worker("w1", "3 minutes")
        job = rows.job(started="1 minute", worker="w1")
        done = kit.sweep(dsn, limits=LIMITS)
        assert {code: outcome.mended for code, outcome in done.items()} == {"silent": 1, "offline": 1}
    assert rows.of_job(job) == "waiting"


def test_rights_to_single_columns_suffice_or_are_asked_for(rows: Rows) -> None:
    """xmin tells whether a row has changed: a role that reads by column may not see it."""
    columns = "id, status, worker, started_at, enqueued_at, finished_at, attempts, max_attempts, error, label"
    with role(
        rows.database, f"SELECT ({columns}) ON jobs", "SELECT ON workers", "UPDATE ON jobs, workers"
    ) as dsn:
        job = rows.job(started="1 hour")
        (told,) = look(dsn).faults
        assert told.startswith("no right to read public.jobs: GRANT SELECT (ctid, xmin)")
        rows.database.execute(f"GRANT SELECT (xmin, ctid) ON jobs TO {rows.database.name}_role")
        assert look(dsn).faults == ()
        assert kit.sweep(dsn, limits=LIMITS)["stuck"].mended == 1
    assert rows.of_job(job) == "waiting"


@pytest.mark.versions
@pytest.mark.parametrize("table", ["jobs", "workers"])
def test_row_level_security_is_an_error_and_never_a_lie(rows: Rows, table: str) -> None:
    rows.database.execute(
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY; CREATE POLICY none ON {table} USING (false)"
    )
    with role(rows.database, "SELECT, UPDATE ON jobs, workers") as dsn:
        job = rows.job(started="1 hour", worker="w1")
        (told,) = look(dsn).faults
        assert told.startswith(
            f"row-level security hides rows of public.{table} from role {rows.database.name}_role"
        )
        if table == "workers":
            done = kit.sweep(dsn, limits=LIMITS)
            assert {outcome.mended for outcome in done.values()} == {0}
    assert rows.of_job(job) == "running"


def test_row_level_security_of_a_parent_is_told_too(rows: Rows) -> None:
    rows.database.execute(
        "CREATE TABLE parents (id bigint PRIMARY KEY); ALTER TABLE parents ENABLE ROW LEVEL SECURITY;"
        "INSERT INTO parents VALUES (1)"
    )
    mapping = replace(kit.MAPPING, references=(Reference("parent", TableName("parents"), "id"),))
    with role(rows.database, "SELECT, UPDATE ON jobs, workers", "SELECT ON parents") as dsn:
        job = rows.job("waiting", enqueued_at="1 hour", parent=1)
        assert any(
            "row-level security hides rows of public.parents" in one for one in look(dsn, mapping).faults
        )
        kit.sweep(dsn, mapping, kit.LIMITS)
    assert rows.of_job(job) == "waiting"


def test_the_search_path_of_the_role_decides_without_a_schema(rows: Rows) -> None:
    rows.database.execute("CREATE SCHEMA app; ALTER TABLE jobs SET SCHEMA app")
    assert "not on the search_path" in fault(rows)
    rows.database.execute(f'ALTER DATABASE "{rows.database.name}" SET search_path = app, public')
    resolution = look(rows.dsn)
    assert resolution.target is not None
    assert str(resolution.target.jobs) == "app.jobs"


def test_r12_workers_that_register_elsewhere(rows: Rows) -> None:
    """Resolved without their table; released by what the other database says; unknown means untouched."""
    rows.database.execute("DROP TABLE workers")
    mapping = workers(registered_in="prod")
    resolution = look(rows.dsn, mapping)
    assert resolution.faults == ()
    target = resolution.target
    assert target is not None
    assert target.workers is None
    names = ("dead", "live", "hung", "absent")
    jobs = dict(zip(names, (rows.job(started=age, worker=name) for name, age in zip(
        names, ("1 minute", "1 minute", "4 minutes", "150 seconds"), strict=True)), strict=True))  # fmt: skip
    asked: list[set[str]] = []

    async def confirm(_: Target, workers: Any) -> bool:
        asked.append(set(workers))
        return not set(workers) & {"live", "hung"}

    async def sweep(fleet: Fleet | None) -> dict[str, int]:
        async with kit.session(rows.dsn) as session:
            report = await Sweeper("test").sweep(
                session, [target], policy=kit.BY_HAND, confirm=confirm, fleets={"mail": fleet}
            )
        return {one.code: one.mended for one in report.queues[0].outcomes}

    assert set(asyncio.run(sweep(None)).values()) <= {0}
    assert set(rows.statuses().values()) == {"running"}
    fleet = Fleet(live=("live", "hung"), dead=("dead",), absent=("absent",), beating=2)
    assert asyncio.run(sweep(fleet)) == {"silent": 1, "no_worker_row": 1, "stuck": 1}
    assert {name: rows.of_job(job) for name, job in jobs.items()} == {
        "dead": "waiting", "live": "running", "hung": "waiting", "absent": "waiting",
    }  # fmt: skip
    assert asked == [{"dead"}, {"absent"}, set()]


def test_r12_with_a_limit_of_their_own_live_workers_elsewhere_are_spared(rows: Rows) -> None:
    rows.database.execute("DROP TABLE workers")
    mapping = workers(registered_in="prod")
    target = look(rows.dsn, mapping, stuck_after_alive=None).target
    assert target is not None
    assert [CHECKS[name].rules(target) for name in ("dead_workers", "stuck_jobs")] == [(), ()]
    live, silent = (rows.job(started="1 hour", worker=name) for name in ("live", "mute"))

    async def sweep() -> None:
        async with kit.session(rows.dsn) as session:
            fleets = {"mail": Fleet(live=("live",), beating=1)}
            await Sweeper("test").sweep(session, [target], policy=kit.BY_HAND, fleets=fleets)

    asyncio.run(sweep())
    assert (rows.of_job(live), rows.of_job(silent)) == ("running", "waiting")


def test_the_rights_to_write_are_asked_for_where_workers_register_elsewhere(rows: Rows) -> None:
    with role(rows.database, "SELECT ON jobs") as dsn:
        (told,) = look(dsn, workers(registered_in="prod"), checks=("dead_workers",)).faults
    assert told.startswith("no right to repair public.jobs: GRANT UPDATE (")


def test_where_it_only_observes_no_right_to_write_is_needed(rows: Rows) -> None:
    with role(rows.database, "SELECT ON jobs, workers") as dsn:
        assert look(dsn, mode="observe").faults == ()
