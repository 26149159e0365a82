"""Indexes that are invalid, there twice, never used or missing: seen, and mended by what is printed."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import kit
import psycopg
import pytest
from eventually import eventually
from upkeep.health import looking
from upkeep.health.looking import bad, ended, look, only, pid, reading, run, signs

from queuewarden.engine.upkeep.health import indexes
from queuewarden.engine.upkeep.health.signs import Where

if TYPE_CHECKING:
    from collections.abc import Callable

    import servers

INVALID, DUPLICATE, UNUSED = "invalid_indexes", "duplicate_indexes", "unused_indexes"


@pytest.fixture
def database(databases: Callable[..., servers.Database]) -> servers.Database:
    return databases(kit.SCHEMA)


@pytest.mark.versions
def test_an_index_whose_building_failed_is_dropped_and_built_anew(database: servers.Database) -> None:
    database.execute("INSERT INTO jobs (label) VALUES ('twice'), ('twice')")
    with pytest.raises(psycopg.errors.UniqueViolation):
        database.execute("CREATE UNIQUE INDEX CONCURRENTLY \"jobs %s\" ON jobs (label) WHERE label <> ''")
    health = look(database.dsn)
    sign = only(health, INVALID)
    assert reading(health, INVALID) == 1
    assert bad(health, INVALID) == {sign.text: "warning"}
    assert sign.where.subject == "jobs %s"
    database.execute("UPDATE jobs SET label = id")
    run(database, sign)
    assert database.value("SELECT indisvalid FROM pg_index WHERE indexrelid = '\"jobs %s\"'::regclass")
    assert reading(look(database.dsn), INVALID) == 0


@pytest.mark.versions
@pytest.mark.parametrize(
    ("statement", "name"), [("UPDATE jobs SET lane = 1", "mine_ccnew"), ("SELECT FROM jobs", "mine_ccold")]
)
def test_p9_what_reindex_left_behind_is_named_once_nobody_is_at_it(
    database: servers.Database, statement: str, name: str
) -> None:
    database.execute("CREATE INDEX mine ON jobs (label)")
    with (
        ThreadPoolExecutor() as aside,
        database.connect(autocommit=False) as reader,
        database.connect() as rebuilder,
    ):
        reader.execute(statement.encode())
        rebuilding = aside.submit(rebuilder.execute, "REINDEX INDEX CONCURRENTLY mine")
        left = f"SELECT count(*) FROM pg_class WHERE relname = '{name}'"
        eventually(lambda: database.value(left) == 1, what="an index that is built")
        looking.waits(database, pid(rebuilder))
        building = signs(look(database.dsn), INVALID)
        rebuilder.cancel()
        with pytest.raises(psycopg.errors.QueryCanceled):
            rebuilding.result(10)
    assert building == [], "somebody was still at it"
    sign = only(look(database.dsn), INVALID)
    assert f'index "public"."{name}" was left behind by REINDEX CONCURRENTLY' in sign.text
    assert sign.remedy == (f'DROP INDEX CONCURRENTLY "public"."{name}";',)
    run(database, sign)
    assert database.value(left) == 0
    assert bad(look(database.dsn)) == {}


@pytest.mark.versions
def test_of_two_that_serve_the_same_the_one_that_nothing_needs_may_go(database: servers.Database) -> None:
    database.execute(
        "CREATE INDEX by_id ON jobs (id); CREATE UNIQUE INDEX also_by_id ON jobs (id);"
        "CREATE INDEX older ON jobs (label, lane); CREATE INDEX newer ON jobs (label, lane)"
        " WITH (fillfactor = 70);"
        "CREATE INDEX plain ON jobs (parent); CREATE UNIQUE INDEX only_one ON jobs (parent)"
    )
    health = look(database.dsn)
    found = {sign.where.subject: sign for sign in signs(health, DUPLICATE)}
    assert found.keys() == {"by_id", "also_by_id", "newer", "plain"}
    assert reading(health, DUPLICATE) == 4
    assert set(bad(health, DUPLICATE).values()) == {"info"}
    for sign in found.values():
        run(database, sign)
    assert reading(look(database.dsn), DUPLICATE) == 0


def test_those_that_differ_in_anything_stay(database: servers.Database) -> None:
    database.execute(
        "CREATE INDEX ON jobs (label); CREATE INDEX ON jobs (label DESC); CREATE INDEX ON jobs (label, id);"
        "CREATE INDEX ON jobs (label) INCLUDE (id); CREATE INDEX ON jobs (label text_pattern_ops);"
        'CREATE INDEX ON jobs (label COLLATE "C"); CREATE INDEX ON jobs USING hash (label);'
        "CREATE INDEX ON jobs (label) WHERE lane = 1; CREATE INDEX ON jobs (label) WHERE lane = 2;"
        "CREATE INDEX ON jobs (lower(label)); CREATE INDEX ON jobs (upper(label));"
        "CREATE UNIQUE INDEX ON jobs (label, lane);"
        "CREATE INDEX ON jobs USING brin (id);"
        "CREATE INDEX ON jobs USING brin (id) WITH (pages_per_range = 4)"
    )
    if database.value("SELECT current_setting('server_version_num')::int >= 150000"):
        database.execute("CREATE UNIQUE INDEX ON jobs (label, lane) NULLS NOT DISTINCT")
    assert bad(look(database.dsn)) == {}


def test_a_constraint_is_never_dropped(database: servers.Database) -> None:
    database.execute(
        "ALTER TABLE jobs ADD CONSTRAINT one UNIQUE (label), ADD CONSTRAINT two UNIQUE (label);"
        "CREATE UNIQUE INDEX three ON jobs (parent); CREATE TABLE kids (p bigint REFERENCES jobs (parent));"
        "CREATE UNIQUE INDEX four ON jobs (parent); ALTER TABLE jobs REPLICA IDENTITY USING INDEX jobs_pkey"
    )
    assert [sign.where.subject for sign in signs(look(database.dsn), DUPLICATE)] == ["four"]


@pytest.mark.versions
def test_a_part_of_a_partitioned_index_is_left_alone(database: servers.Database) -> None:
    database.execute(
        "DROP TABLE jobs; CREATE TABLE jobs (id bigint, status text, worker text, started_at timestamptz,"
        " enqueued_at timestamptz, finished_at timestamptz, attempts int, max_attempts int, error text,"
        " label text, PRIMARY KEY (id)) PARTITION BY RANGE (id);"
        "CREATE TABLE jobs_one PARTITION OF jobs FOR VALUES FROM (0) TO (10);"
        "CREATE INDEX ON jobs (label); CREATE INDEX ON jobs_one (label); CREATE INDEX ON jobs (id)"
    )
    health = look(database.dsn)
    (sign,) = signs(health, DUPLICATE)
    run(database, sign)
    assert reading(look(database.dsn), DUPLICATE) == 0


@pytest.mark.versions
def test_an_index_that_nothing_uses_may_go_after_a_week(
    database: servers.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.execute(
        "INSERT INTO jobs (label, lane, parent)"
        " SELECT repeat('x', 40) || n, n, n FROM generate_series(1, 30000) AS n;"
        "CREATE INDEX never ON jobs (label); CREATE INDEX used ON jobs (lane);"
        "CREATE UNIQUE INDEX ON jobs (parent)"
    )
    with database.connect() as connection:
        connection.execute("SET enable_seqscan = off")
        connection.execute("SELECT count(*) FROM jobs WHERE lane = 5")
    assert signs(look(database.dsn), UNUSED) == [], "the statistics are younger than a week"
    monkeypatch.setattr(indexes, "UNUSED_FOR", 0.0)
    used = "SELECT pg_stat_get_numscans('used'::regclass) > 0"
    eventually(lambda: database.value(used), what="statistics of the index")
    monkeypatch.setattr(indexes, "LEAST_BYTES", 600_000)
    health = look(database.dsn)
    sign = only(health, UNUSED)
    assert sign.where.subject == "never"
    assert bad(health, UNUSED) == {sign.text: "info"}
    run(database, sign)
    assert reading(look(database.dsn), UNUSED) == 0


def test_after_a_crash_nothing_is_called_unused(
    own_server: servers.OwnServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with own_server.database(kit.SCHEMA) as database:
        database.execute("CREATE INDEX never ON jobs (label)")
        for limit in ("LEAST_BYTES", "UNUSED_FOR"):
            monkeypatch.setattr(indexes, limit, 0.0)
        started = database.value("SELECT pg_postmaster_start_time()")
        # So much later the last look may come, and still be one at statistics younger than the server.
        eventually(
            lambda: database.value("SELECT clock_timestamp() - pg_postmaster_start_time() > '4 s'"),
            what="time",
        )
        with database.connect() as victim:
            os.kill(pid(victim), signal.SIGKILL)
            eventually(lambda: ended(victim), what="the end of all sessions")
        eventually(lambda: _answers(database), what="a server that has recovered")
        assert database.value("SELECT pg_postmaster_start_time()") == started
        up = database.value("SELECT extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())")
        monkeypatch.setattr(indexes, "UNUSED_FOR", float(up))
        assert signs(look(database.dsn), UNUSED) == []


def _answers(database: servers.Database) -> bool:
    try:
        return bool(database.value("SELECT true"))
    except psycopg.OperationalError:
        return False


def test_missing_indexes_are_named_where_the_table_is_large(database: servers.Database) -> None:
    small = look(database.dsn)
    assert reading(small, "missing_indexes") is None
    assert signs(small, "missing_indexes") == []
    database.execute(
        "INSERT INTO jobs (status, label) SELECT 'done', repeat('x', 200) FROM generate_series(1, 40000)"
    )
    health = look(database.dsn)
    missing = signs(health, "missing_indexes")
    assert len(missing) == reading(health, "missing_indexes") == 5
    for sign in missing:
        run(database, sign)
    assert reading(look(database.dsn), "missing_indexes") == 0


def test_where_tables_are_locked_it_is_not_known_what_is_missing(database: servers.Database) -> None:
    with database.connect(autocommit=False) as other:
        other.execute("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE")
        health = look(database.dsn)
    assert "missing_indexes" not in health.settled
    assert Where("missing_indexes", "mail") not in health.readings
    assert "tables: SQLSTATE 55P03" in health.unseen
