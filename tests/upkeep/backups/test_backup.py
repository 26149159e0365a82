"""`queuewarden backup`: taken in one snapshot, proven by a restore, restored into a new database."""

from __future__ import annotations

import json
import threading
import uuid
from typing import TYPE_CHECKING

import kit
import psycopg
import pytest
from eventually import eventually
from psycopg import sql
from servers import Database

from queuewarden.application.upkeep.backups.backup import DUMP, MANIFEST

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import servers

    from queuewarden.application.upkeep.backups.shelf import Shelf


@pytest.mark.versions
def test_taken_listed_proven_restored(
    backup: Callable,
    shelf: Shelf,
    database: Database,
    server: servers.TestServer,
    scratches: Callable,
) -> None:
    taken = backup("run", "--json")
    assert taken.code == 0, taken.err
    ((step,),) = [one["did"] for one in taken.document["environments"].values()]
    (found,), strays = shelf.look()
    assert not strays
    assert (step["subject"], step["action"]) == (found.name, "taken")
    assert step["amount"] == found.manifest.size == (found.folder / DUMP).stat().st_size
    assert {one.table: one.rows for one in found.manifest.tables} == {"jobs": 30, "workers": 0}
    assert found.manifest.database == database.name
    assert (found.folder.stat().st_mode & 0o777, shelf.folder.stat().st_mode & 0o777) == (0o700, 0o700)
    assert {place.stat().st_mode & 0o777 for place in found.folder.iterdir()} == {0o600}
    assert "not proven yet" in backup("list").out

    proven = backup("verify")
    assert (proven.code, scratches()) == (0, []), proven.err
    assert f"{found.name} proven in" in proven.out
    assert "30 rows" in proven.out
    ((listed,),) = [one["backups"] for one in backup("list", "--json").document["environments"].values()]
    assert listed["verified_at"] is not None
    assert listed["verification"]["ok"]
    assert listed["rows"] == 30
    assert "tables" not in listed

    new = f"{database.name}_new"
    restored = backup("restore", "--env", "prod", "--into", new)
    try:
        assert (restored.code, scratches()) == (0, []), restored.err
        there = Database(server.dsn(new), new)
        assert there.value("SELECT count(*) FROM jobs") == 30
        assert (
            database.value(
                "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s", [new]
            )
            is None
        )
        there.execute("DELETE FROM jobs")
        again = backup("restore", "--env", "prod", "--into", new)
        assert again.code == 69
        assert f"database {new} exists, and a restore never touches one" in again.err
        assert there.value("SELECT count(*) FROM jobs") == 0
    finally:
        server.drop(new)
    onto_itself = backup("restore", "--env", "prod", "--into", database.name)
    assert (onto_itself.code, scratches()) == (69, [])
    assert database.value("SELECT count(*) FROM jobs") == 30


def test_a_direct_way_that_leads_to_another_database_is_refused(
    backup: Callable, shelf: Shelf, databases: Callable[..., Database]
) -> None:
    taken = backup("run", QUEUEWARDEN_ENV__PROD__UPKEEP_DSN=databases("").dsn)
    assert (taken.code, shelf.look()) == (69, ([], []))
    assert "UPKEEP_DSN leads to another database, or server, than DSN" in taken.err


def test_rows_are_those_of_the_dump_though_others_write(
    backup: Callable, shelf: Shelf, database: Database
) -> None:
    database.execute("INSERT INTO jobs (label) SELECT repeat('x', 500) FROM generate_series(1, 20000)")
    over = threading.Event()

    def write() -> None:
        with database.connect() as connection:
            while not over.wait(0.001):
                connection.execute("INSERT INTO jobs (label) VALUES ('new')")
                connection.execute("INSERT INTO workers (id) SELECT gen_random_uuid()")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        count = "SELECT count(*) FROM jobs"
        eventually(lambda: database.value(count) > 20030, what="it writes")
        assert backup("run").code == 0
        then = database.value(count)
        eventually(lambda: database.value(count) > then, what="it still writes")
    finally:
        over.set()
        writer.join()
    (found,), _ = shelf.look()
    rows = {one.table: one.rows for one in found.manifest.tables}
    assert 20030 < rows["jobs"] < database.value(count)
    proven = backup("verify")
    assert proven.code == 0, proven.out


HOSTILE = """
CREATE SCHEMA "b ö;--";
CREATE TABLE "b ö;--"."t "" \\ %s {} ' $1" ("c "" x" int);
INSERT INTO "b ö;--"."t "" \\ %s {} ' $1" VALUES (1), (2);
CREATE TABLE parted (at date, id int) PARTITION BY RANGE (at);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
INSERT INTO parted VALUES ('2020-05-05', 1), ('2020-06-06', 2), ('2020-07-07', 3);
CREATE TABLE parent (id int); CREATE TABLE child () INHERITS (parent);
INSERT INTO parent VALUES (1); INSERT INTO child VALUES (2), (3);
CREATE MATERIALIZED VIEW seen AS SELECT count(*) FROM parent;
CREATE UNLOGGED TABLE unlogged (id int); INSERT INTO unlogged VALUES (1);
SELECT lo_from_bytea(0, 'large'), lo_from_bytea(0, 'larger');
"""


@pytest.mark.versions
def test_hostile_names_partitions_and_large_objects(
    backup: Callable, shelf: Shelf, server: servers.TestServer, scratches: Callable
) -> None:
    name = "qw ö\"'\\ $(x);--=&?" + uuid.uuid4().hex[:8]
    database = sql.Identifier(name)
    server._maintain(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(database))
    there = {"QUEUEWARDEN_ENV__PROD__DSN": server.dsn(name), "QUEUEWARDEN_ENV__PROD__CHECKS": "lanes"}
    try:
        Database(server.dsn(name), name).execute(kit.SCHEMA + HOSTILE)
        taken = backup("run", **there)
        assert taken.code == 0, taken.err
        (found,), _ = shelf.look()
        rows = {(one.schema, one.table): one.rows for one in found.manifest.tables}
        assert rows["b ö;--", "t \" \\ %s {} ' $1"] == 2
        assert (rows["public", "parted_1"], rows["public", "parent"], rows["public", "child"]) == (3, 1, 2)
        assert ("public", "parted") not in rows
        assert found.manifest.large_objects == 2
        assert backup("list").out.count("\n") == 1
        proven = backup("verify", **there)
        assert proven.code == 0, proven.out + proven.err
        new = f"{name[:20]} new"
        assert backup("restore", "--env", "prod", "--into", new, **there).code == 0
        server.drop(new)
    finally:
        server.drop(name)


@pytest.mark.versions
def test_it_is_restored_with_the_locale_that_it_had(
    backup: Callable, server: servers.TestServer, shelf: Shelf
) -> None:
    name = f"qw_{uuid.uuid4().hex[:8]}"
    provider = "icu ICU_LOCALE 'de'" if server.major < 17 else "builtin BUILTIN_LOCALE 'C.UTF-8'"
    options = f"ENCODING 'UTF8' LOCALE_PROVIDER {provider}" if server.major >= 15 else "ENCODING 'UTF8'"
    try:
        Database(server.dsn(), "postgres").execute(f"CREATE DATABASE {name} TEMPLATE template0 {options}")
    except psycopg.errors.FeatureNotSupported as error:
        pytest.skip(f"{server.source}: {error}")
    there = {"QUEUEWARDEN_ENV__PROD__DSN": server.dsn(name)}
    try:
        Database(server.dsn(name), name).execute(kit.SCHEMA)
        assert backup("run", **there).code == 0
        assert backup("verify", **there).code == 0
        assert backup("restore", "--env", "prod", "--into", f"{name}_new", **there).code == 0
        maintenance = Database(server.dsn(), "postgres")
        kept = [
            maintenance.rows(
                "SELECT to_jsonb(d) - '{oid,datname,datacl,dattablespace,datfrozenxid,datminmxid}'::text[]"
                " FROM pg_database d WHERE datname = %s",
                [one],
            )
            for one in (name, f"{name}_new")
        ]
        assert kept[0] == kept[1]
        assert server.major < 15 or kept[0][0][0]["datlocprovider"] in "ib"
    finally:
        server.drop(f"{name}_new")
        server.drop(name)


def test_another_server_for_the_trial(
    backup: Callable, own_server: servers.OwnServer, database: Database, scratches: Callable
) -> None:
    assert backup("run").code == 0
    other = Database(own_server.dsn(), "postgres")
    other.execute("ALTER SYSTEM SET log_statement = ddl")
    other.execute("SELECT pg_reload_conf()")
    elsewhere = {"QUEUEWARDEN_ENV__PROD__SCRATCH_DSN": own_server.dsn()}
    assert backup("verify", **elsewhere).code == 0
    log = (own_server.server.directory / "server.log").read_text()
    assert 'CREATE DATABASE "queuewarden_scratch_' in log
    assert 'DROP DATABASE IF EXISTS "queuewarden_scratch_' in log
    own_server.halt()
    refused = backup("verify", **elsewhere)
    assert refused.code == 69
    assert "SCRATCH_DSN: no server on that socket" in refused.err
    # It says nothing about the backup, which stays proven.
    assert "proven 2" in backup("list").out


def test_a_manifest_tells_all(backup: Callable, shelf: Shelf) -> None:
    assert backup("run").code == 0
    (found,), _ = shelf.look()
    document = json.loads((found.folder / MANIFEST).read_text())
    assert document.keys() >= {
        "environment", "database", "server_version", "tool_version", "taken_at", "seconds", "size", "sha256",
        "database_size", "tables", "large_objects", "verified_at", "verification",
    }  # fmt: skip
    assert document["environment"] == "prod"


def test_without_a_place(backup: Callable, folder: Path) -> None:
    for command in ("run", "list", "verify"):
        gone = backup(command, QUEUEWARDEN_BACKUP_DIR=str(folder / "not_mounted"))
        assert gone.code == 69
        assert "not_mounted is no folder: create it, or mount what belongs there" in gone.err
    assert not (folder / "not_mounted").exists()
