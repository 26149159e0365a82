"""The schema: installed once however often, upgraded in place, used one version off, refused at two."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import threading
from typing import TYPE_CHECKING, Any

import kit
import psycopg
import pytest
from ledgers import Ledgered
from rows import Rows

from queuewarden.engine import observe
from queuewarden.engine.ledger import schema
from queuewarden.engine.ledger.schema import Schema, read_schema
from queuewarden.engine.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Callable

    from servers import Database

ROLE = "qw_test_schema"


@pytest.fixture
def database(databases: Callable[..., Database]) -> Database:
    return databases(kit.SCHEMA)


def install(database: Database, *, upto: int | None = None) -> None:
    """By the program's own session."""
    text = schema.script() if upto is None else older(upto)

    async def work() -> None:
        async with kit.session(database.dsn) as session:
            await session.script(text)

    asyncio.run(work())


def older(version: int) -> str:
    """The script of a program that knew only so many versions."""
    parts = schema.script().split("\n\nDO $version$")
    return "\n\nDO $version$".join(parts[: version + 1]) + "\n\nCOMMIT;"


def read(database: Database, dsn: str | None = None) -> Schema:
    async def work() -> Schema:
        async with kit.session(dsn or database.dsn) as session:
            return await read_schema(session)

    return asyncio.run(work())


def described(database: Database) -> list[Any]:
    """All that the schema is made of."""
    return database.rows(
        """
        SELECT 'column', c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
               pg_get_expr(d.adbin, d.adrelid)
          FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
          LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
         WHERE c.relnamespace = 'queuewarden'::regnamespace
        UNION ALL
        SELECT 'constraint', conname, pg_get_constraintdef(oid), '', false, '' FROM pg_constraint
         WHERE connamespace = 'queuewarden'::regnamespace
        UNION ALL
        SELECT 'index', indexname, indexdef, '', false, '' FROM pg_indexes WHERE schemaname = 'queuewarden'
        ORDER BY 1, 2, 3"""
    )


@pytest.mark.versions
def test_it_is_installed_once_however_often(database: Database) -> None:
    assert read(database) == Schema()
    install(database)
    seen = read(database)
    assert (seen.version, seen.faults, seen.usable) == (schema.VERSION, (), True)
    assert (seen.alerts, seen.upkeep) == (True, True)
    database.execute("UPDATE queuewarden.counter SET last_id = 7; UPDATE queuewarden.lease SET epoch = 3")
    whole = described(database)
    install(database)
    assert described(database) == whole
    assert read(database) == seen
    assert database.value("SELECT last_id FROM queuewarden.counter") == 7
    assert database.value("SELECT epoch FROM queuewarden.lease") == 3


@pytest.mark.versions
@pytest.mark.parametrize("begin", [0, 1])
def test_two_at_once(database: Database, begin: int) -> None:
    if begin:
        install(database, upto=begin)
    failed: list[BaseException] = []

    def work() -> None:
        try:
            install(database)
        except BaseException as error:  # noqa: BLE001 -- told below
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert read(database).usable
    assert database.value("SELECT count(*) FROM queuewarden.lease") == 1


@pytest.mark.versions
def test_an_upgrade_keeps_what_is_there(database: Database) -> None:
    install(database, upto=schema.VERSION - 1)
    queue = Ledgered(database)
    job = Rows(database).job("running", "1 hour")
    queue.sweep()
    queue.undo()
    before = database.rows("SELECT * FROM queuewarden.changes ORDER BY 1")
    assert len(before) == 2
    install(database)
    assert read(database).version == schema.VERSION
    assert database.rows("SELECT * FROM queuewarden.changes ORDER BY 1") == before
    assert queue.sweep() == {}, "what was put back is still left alone"
    assert Rows(database).of_job(job) == "running"


def test_an_upgrade_leads_to_the_same_as_an_installation(
    database: Database, databases: Callable[..., Database]
) -> None:
    install(database, upto=1)
    install(database)
    other = databases(kit.SCHEMA)
    install(other)
    assert described(database) == described(other)


@pytest.mark.versions
def test_a_schema_one_version_older_serves(database: Database) -> None:
    install(database, upto=schema.VERSION - 1)
    seen = read(database)
    assert (seen.version, seen.usable, seen.upkeep) == (schema.VERSION - 1, True, False)
    queue = Ledgered(database, actor="daemon")
    queue.take_lease()
    Rows(database).job("running", "1 hour")
    assert queue.sweep()["stuck"].mended == 1
    assert [one.refused for one in queue.undo()] == [None]
    assert queue.sweep(Policy(grace=False)) == {}


NEWER = """
ALTER TABLE queuewarden.changes ADD host text;
ALTER TABLE queuewarden.lease ADD host text;
CREATE TABLE queuewarden.novelty (id int);
UPDATE queuewarden.schema_version SET version = {}"""


@pytest.mark.versions
def test_a_schema_one_version_newer_serves(database: Database) -> None:
    install(database)
    database.execute(NEWER.format(schema.VERSION + 1))
    seen = read(database)
    assert (seen.version, seen.usable, seen.alerts) == (schema.VERSION + 1, True, True)
    queue = Ledgered(database, actor="daemon")
    queue.take_lease()
    Rows(database).job("running", "1 hour")
    assert queue.sweep()["stuck"].mended == 1
    assert [one.refused for one in queue.undo()] == [None]
    whole = described(database)
    install(database)
    assert described(database) == whole, "an older program takes nothing back"
    assert read(database).version == schema.VERSION + 1


@pytest.mark.parametrize(
    ("version", "remedy"),
    [(schema.VERSION + 2, "upgrade queuewarden"), (schema.VERSION - 2, "run `queuewarden install`")],
)
def test_two_versions_off_nothing_is_repaired(database: Database, version: int, remedy: str) -> None:
    install(database)
    database.execute(f"UPDATE queuewarden.schema_version SET version = {version}")
    seen = read(database)
    assert not seen.usable
    known = f"{schema.VERSION - 1} to {schema.VERSION + 1}"
    assert seen.faults == (f"schema queuewarden has version {version}, this program knows {known}: {remedy}",)
    Rows(database).job("running", "1 hour")
    assert Ledgered(database).sweep()["stuck"].held == "ledger"


def test_a_schema_of_somebody_elses_making_is_none(database: Database) -> None:
    database.execute("CREATE SCHEMA queuewarden; CREATE TABLE queuewarden.notes (id int)")
    assert not read(database).usable
    assert read(database).faults == ()
    install(database)
    assert read(database).usable


@pytest.mark.parametrize(
    ("missing", "fault"),
    [
        ("USAGE ON SCHEMA queuewarden", "no right to look into schema queuewarden"),
        ("INSERT ON queuewarden.changes", "rights missing on changes in schema queuewarden"),
        ("UPDATE ON queuewarden.lease", "rights missing on lease in schema queuewarden"),
        ("SELECT ON queuewarden.schema_version", "rights missing on schema_version in schema queuewarden"),
        ("INSERT ON queuewarden.pauses", "rights missing on pauses in schema queuewarden"),
    ],
)
def test_missing_rights_are_named_with_their_remedy(database: Database, missing: str, fault: str) -> None:
    install(database)
    role = f"{ROLE}_{database.name}"
    database.execute(
        f"CREATE ROLE {role}; GRANT ALL ON ALL TABLES IN SCHEMA queuewarden TO {role};"
        f"GRANT USAGE ON SCHEMA queuewarden TO {role}; REVOKE {missing} FROM {role}"
    )
    try:
        seen = read(database, psycopg.conninfo.make_conninfo(database.dsn, options=f"-c role={role}"))
    finally:
        database.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
    assert not seen.usable
    assert seen.faults == (f"{fault}: see `queuewarden grants`, which prints what role {role} needs",)


def test_a_role_that_may_not_create_a_schema_is_refused_and_leaves_nothing(database: Database) -> None:
    role = f"{ROLE}_{database.name}"
    database.execute(f"CREATE ROLE {role}")

    async def work() -> None:
        dsn = psycopg.conninfo.make_conninfo(database.dsn, options=f"-c role={role}")
        async with kit.session(dsn) as session:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await session.script(schema.script())
            assert session.usable

    try:
        asyncio.run(work())
    finally:
        database.execute(f"DROP ROLE {role}")
    assert read(database) == Schema()


@pytest.mark.versions
def test_what_is_printed_can_be_applied_by_hand(
    database: Database, databases: Callable[..., Database]
) -> None:
    """By psql where there is one; else in one simple query, as other clients do it."""
    printed = databases(kit.SCHEMA)
    program = shutil.which("psql")
    if program is not None:
        subprocess.run(
            [program, "--no-psqlrc", "--set", "ON_ERROR_STOP=1", "--quiet", printed.dsn],
            input=schema.script(),
            text=True,
            check=True,
            capture_output=True,
        )
    else:
        printed.execute(schema.script())
    install(database)
    assert described(printed) == described(database)


def test_a_step_that_fails_leaves_nothing(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    first, *_ = schema.steps()
    monkeypatch.setattr(schema, "steps", lambda: (first, "SELECT 1/0;"))
    with pytest.raises(psycopg.errors.DivisionByZero):
        install(database)
    monkeypatch.undo()
    assert read(database) == Schema()


@pytest.mark.versions
def test_the_ids_of_its_tables_tell_when_it_changes(database: Database) -> None:
    async def seen() -> tuple[int, ...]:
        async with kit.session(database.dsn) as session:
            return observe.server_state((await session.rows(observe.SERVER))[0]).ledger

    for change in ("", schema.script(), NEWER.format(3), "DROP SCHEMA queuewarden CASCADE"):
        if change:
            database.execute(change)
        assert asyncio.run(seen()) == read(database).tables


def test_a_schema_that_vanishes_between_two_sweeps_holds_the_first_one(database: Database) -> None:
    install(database)
    queue = Ledgered(database)
    Rows(database).job("running", "1 hour")
    outcome = queue.sweep(meanwhile=lambda _: database.execute("DROP SCHEMA queuewarden CASCADE"))["stuck"]
    assert (outcome.held, outcome.mended) == ("ledger", 0)
    assert queue.sweep()["stuck"].mended == 1


def test_a_schema_that_appears_between_two_sweeps_holds_the_first_one(database: Database) -> None:
    queue = Ledgered(database)
    Rows(database).job("running", "1 hour")
    outcome = queue.sweep(meanwhile=lambda _: database.execute(schema.script()))["stuck"]
    assert (outcome.held, outcome.mended) == ("ledger", 0)
    assert queue.sweep()["stuck"].mended == 1
    assert len(queue.changes()) == 1


def test_a_table_that_somebody_dropped_is_told(database: Database) -> None:
    install(database)
    database.execute("DROP TABLE queuewarden.samples")
    found = read(database)
    assert (found.usable, found.alerts, found.upkeep) == (True, True, False)
    assert "lacks samples: restore" in (found.unscheduled or "")
    database.execute("DROP TABLE queuewarden.changes")
    found = read(database)
    assert not found.usable
    assert "schema queuewarden lacks changes: restore" in found.faults[0]
