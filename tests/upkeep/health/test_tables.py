"""Tables that nobody vacuums or analyzes, and that are mostly empty: seen, and mended by what is printed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import kit
import pytest
from commands_kit import as_role
from eventually import eventually
from upkeep.health import looking
from upkeep.health.looking import QUIET, bad, look, only, reading, run, signs

from queuewarden.engine.upkeep.health import transactions
from queuewarden.engine.upkeep.health.bloat import Column, pages_needed
from queuewarden.engine.upkeep.health.signs import Server, Ward, Where
from queuewarden.engine.upkeep.health.tables import LEAST_ROWS

if TYPE_CHECKING:
    from collections.abc import Callable

    import servers

DEAD, STALE, OFF, BLOAT, USE = "dead_rows", "stale_statistics", "autovacuum_off", "bloat", "index_use"
MIXED = (
    "INSERT INTO jobs (status, worker, started_at, attempts, label, error) SELECT 'done',"
    " CASE WHEN n % 3 = 0 THEN 'worker-' || n END, now(), n % 5, repeat('x', n % 90), NULL"
    " FROM generate_series(1, {}) AS n"
)


@pytest.fixture
def database(databases: Callable[..., servers.Database]) -> servers.Database:
    return databases(kit.SCHEMA)


@pytest.mark.versions
def test_nothing_is_found_in_a_database_that_is_well(database: servers.Database) -> None:
    database.execute(MIXED.format(100_000))
    database.execute("VACUUM (ANALYZE) jobs")
    for index in signs(look(database.dsn), "missing_indexes"):
        run(database, index)
    with database.connect(), database.connect(autocommit=False) as busy:
        busy.execute("INSERT INTO jobs (label) VALUES ('new')")
        health = look(database.dsn)
        assert bad(health) == {}
        assert health.unseen == ()
    assert reading(health, "missing_indexes") == 0
    assert (reading(health, BLOAT) or 0) < 0.1


def test_a_partition_that_is_foreign_has_no_age(database: servers.Database) -> None:
    database.execute(
        "ALTER TABLE jobs RENAME TO own; ALTER TABLE own DROP CONSTRAINT jobs_pkey;"
        "CREATE TABLE jobs (LIKE own) PARTITION BY RANGE (id);"
        "ALTER TABLE jobs ATTACH PARTITION own FOR VALUES FROM (0) TO (10);"
        "CREATE FOREIGN DATA WRAPPER away; CREATE SERVER away FOREIGN DATA WRAPPER away;"
        "CREATE FOREIGN TABLE old PARTITION OF jobs FOR VALUES FROM (10) TO (20) SERVER away"
    )
    assert look(database.dsn).figures["table_wraparound_ratio", "mail"] < 0.5


@pytest.mark.versions
def test_dead_rows_that_nothing_vacuums(database: servers.Database) -> None:
    database.execute(QUIET)
    database.execute(MIXED.format(3 * LEAST_ROWS))
    database.execute(f"DELETE FROM jobs WHERE id <= {2 * LEAST_ROWS}")
    eventually(lambda: signs(look(database.dsn), DEAD), what="statistics of the rows")
    health = look(database.dsn)
    dead, off = only(health, DEAD), next(iter(bad(health, OFF)))
    assert reading(health, DEAD) == dead.value == pytest.approx(2 / 3)
    assert f"{2 * LEAST_ROWS} rows of " in dead.text
    assert "never" in dead.text
    assert bad(health, DEAD) == {dead.text: "warning"}
    assert looking.loud(dead, 0.81) == "critical"
    assert dead.remedy == ('VACUUM (ANALYZE) "public"."jobs";',)
    run(database, dead)
    assert off == 'autovacuum is switched off for "public"."jobs"'
    run(database, next(sign for sign in signs(health, OFF) if sign.value))
    after = look(database.dsn)
    assert bad(after) == {}
    assert reading(after, DEAD) is None
    assert ("table_last_vacuum_timestamp_seconds", "mail") in after.figures


@pytest.mark.versions
def test_statistics_that_are_out_of_date(database: servers.Database) -> None:
    database.execute(QUIET)
    database.execute(MIXED.format(2 * LEAST_ROWS))
    eventually(lambda: signs(look(database.dsn), STALE), what="statistics of the rows")
    stale = only(look(database.dsn), STALE)
    assert stale.text.startswith(
        'the statistics of "public"."jobs", by which its queries are planned, were never'
    )
    assert stale.remedy == ('ANALYZE "public"."jobs";',)
    assert bad(look(database.dsn), STALE) == {stale.text: "warning"}
    run(database, stale)
    assert signs(look(database.dsn), STALE) == []


def test_a_busy_queue_that_was_vacuumed_and_analyzed_lately_is_well(database: servers.Database) -> None:
    database.execute(QUIET)
    database.execute(MIXED.format(2 * LEAST_ROWS))
    database.execute("VACUUM (ANALYZE) jobs")
    database.execute("UPDATE jobs SET attempts = 1")
    counted = "SELECT pg_stat_get_dead_tuples('jobs'::regclass)"
    eventually(lambda: database.value(counted) >= 2 * LEAST_ROWS, what="statistics of the rows")
    health = look(database.dsn)
    assert signs(health, DEAD) == signs(health, STALE) == []
    assert health.figures["table_dead_rows", "mail"] >= 2 * LEAST_ROWS


@pytest.mark.versions
def test_a_table_that_is_mostly_empty(database: servers.Database) -> None:
    database.execute(QUIET)
    database.execute(MIXED.format(200_000))
    database.execute("DELETE FROM jobs WHERE id % 10 <> 0")
    database.execute("VACUUM (ANALYZE) jobs")
    health = look(database.dsn)
    sign = only(health, BLOAT)
    assert sign.value == pytest.approx(0.9, abs=0.03)
    assert bad(health, BLOAT) == {sign.text: "warning"}
    assert health.figures["table_bloat_ratio", "mail"] == sign.value
    before = database.value("SELECT pg_relation_size('jobs')")
    assert sign.remedy == ('VACUUM (FULL, ANALYZE) "public"."jobs";',)
    run(database, sign)
    after = database.value("SELECT pg_relation_size('jobs')")
    # What it promised is what is given back.
    assert after / before == pytest.approx(1 - sign.value, abs=0.02)
    assert bad(look(database.dsn), BLOAT) == {}


def test_bloat_is_unknown_where_the_role_may_not_see_the_statistics(database: servers.Database) -> None:
    database.execute("ALTER TABLE jobs ADD payload text")
    database.execute(MIXED.format(100_000))
    database.execute(
        "DO $$ BEGIN CREATE ROLE qw_columns; EXCEPTION WHEN duplicate_object THEN END $$;"
        "GRANT SELECT (id, status, worker, started_at, enqueued_at, finished_at, attempts,"
        " max_attempts, error, label, xmin, ctid) ON jobs TO qw_columns;"
        "GRANT SELECT ON workers TO qw_columns; GRANT pg_read_all_stats TO qw_columns; ANALYZE jobs"
    )
    hidden = look(as_role(database, "qw_columns"))
    assert signs(hidden, BLOAT) == []
    assert BLOAT not in hidden.settled
    assert BLOAT not in {where.metric for where in hidden.readings}
    assert [one for one in hidden.unseen if one.startswith('bloat of "public"."jobs"')]
    assert hidden.figures["table_bytes", "mail"] > 8e6
    database.execute("GRANT SELECT ON jobs TO qw_columns")
    seen = look(as_role(database, "qw_columns"))
    assert reading(seen, BLOAT) == 0
    database.execute("DROP OWNED BY qw_columns; DROP ROLE qw_columns")


def test_a_large_table_that_is_read_whole(database: servers.Database) -> None:
    database.execute(MIXED.format(80_000))
    assert reading(look(database.dsn), USE) is None
    database.execute(
        "SET max_parallel_workers_per_gather = 0;"
        "DO $$ BEGIN FOR n IN 1..990 LOOP PERFORM id FROM jobs WHERE attempts >= 0 LIMIT 1; END LOOP;"
        " FOR n IN 1..20 LOOP PERFORM id FROM jobs WHERE id = n; END LOOP; END $$"
    )
    eventually(lambda: signs(look(database.dsn), USE), what="statistics of the reads")
    health = look(database.dsn)
    sign = only(health, USE)
    assert reading(health, USE) == health.figures["table_index_use_ratio", "mail"] == sign.value < 0.05
    assert bad(health, USE) == {sign.text: "info"}
    ((relation, *_),) = run(database, sign)[0]
    assert relation == "jobs"


def test_a_long_way_to_the_end_of_transaction_ids(database: servers.Database) -> None:
    health = look(database.dsn)
    sign = signs(health, "wraparound")[0]
    assert 0 < sign.value <= (reading(health, "wraparound", "") or 0) < 0.01
    assert [looking.loud(sign, share) for share in (0.4, 0.51, 0.76)] == [None, "warning", "critical"]
    run(database, sign)
    assert signs(look(database.dsn), "wraparound")[0].remedy != sign.remedy, "other tables are the oldest now"


def test_another_database_of_the_server_can_use_them_up() -> None:
    ward = Ward(Server(150000, "guard"), (), {})
    rows = [(2**30, None, "public", "jobs"), (2**30 + 2**29, "it's\nolder", None, None)]
    found = transactions.told(ward, rows)
    assert found.readings == {Where("wraparound"): 0.75}
    assert [sign.value for sign in found.signs] == [0.5, 0.75]
    assert "database 'it''s\nolder': connect" in found.signs[1].text
    assert found.signs[1].remedy == ("VACUUM (FREEZE);",)
    assert transactions.told(ward, [rows[0], (2**29, "younger", None, None)]).readings == {
        Where("wraparound"): 0.5
    }


def test_pages_are_counted_as_the_server_fills_them() -> None:
    eight = [Column(8, "d", 8, 0.0)]
    # 24 bytes of header, 8 of value, 4 of line pointer: 226 rows a page of 8192 with 24 of header.
    assert pages_needed(eight, 226, 8192, 100) == 1
    assert pages_needed(eight, 227, 8192, 100) == 2
    assert pages_needed(eight, 226, 8192, 50) == 2
    padded = [Column(1, "c", 1, 0.0), Column(8, "d", 8, 0.0)]
    assert pages_needed(padded, 8168 // 44, 8192, 100) == 1
    assert pages_needed(padded, 8168 // 44 + 1, 8192, 100) == 2
    assert pages_needed([Column(-1, "i", None, None)], 10, 8192, 100) is None
    assert pages_needed([Column(8, "d", None, None)], 226, 8192, 100) == 1
