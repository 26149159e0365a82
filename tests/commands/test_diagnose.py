from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from commands_kit import LANES, MESS, UNREACHABLE, as_role, versions_of_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import servers

TOPICS = {
    "ledger",
    "connection",
    "rights",
    "clock",
    "mapping",
    "indexes",
    "health",
    "brakes",
    "workers",
    "jobs",
    "anomalies",
}


def remarks(called: Any, topic: str) -> list[dict[str, Any]]:
    found = called.document["environments"]["prod"]["remarks"]
    return [one for one in found if one["topic"] == topic]


def advised(called: Any) -> list[str]:
    return [line for one in remarks(called, "indexes") for line in one["remedy"]]


def test_every_topic_is_looked_at_and_nothing_is_written(mail: Callable, database: servers.Database) -> None:
    assert mail("diagnose", QUEUEWARDEN_DEAD_AFTER="1s").code == 0
    database.execute(MESS)
    before = versions_of_rows(database)
    called = mail("diagnose", "--json", **LANES)
    assert called.code == 1
    assert [one["text"].partition(":")[0] for one in remarks(called, "anomalies")] == ["overbusy"]
    assert {one["topic"] for one in called.document["environments"]["prod"]["remarks"]} == TOPICS
    (jobs,) = remarks(called, "jobs")
    assert jobs["facts"]["running"] == 3
    (workers,) = remarks(called, "workers")
    assert workers["facts"] == {"live": 1, "silent": 1, "registered": 2}
    assert versions_of_rows(database) == before
    assert all(topic in mail("diagnose", **LANES).out for topic in TOPICS)


@pytest.mark.versions
def test_no_index_is_missing_once_the_statements_were_run(mail: Callable, database: servers.Database) -> None:
    two_running = {"QUEUEWARDEN_QUEUE__MAIL__STATES__RUNNING": "running, claimed"}
    stamps = {"QUEUEWARDEN_QUEUE__MAIL__TIMESTAMPS": "done=finished_at, cancelled=finished_at"}
    settings = LANES | two_running | stamps
    statements = advised(mail("diagnose", "--json", **settings))
    assert len(statements) == 7
    for statement in statements:
        assert statement.startswith("CREATE INDEX CONCURRENTLY ")
        database.execute(statement)
    called = mail("diagnose", "--json", **settings)
    assert advised(called) == []
    assert "all 7 recommended ones are there" in remarks(called, "indexes")[0]["text"]


def test_an_index_of_their_own_that_serves_as_well_is_enough(
    mail: Callable, database: servers.Database
) -> None:
    count = len(advised(mail("diagnose", "--json")))
    database.execute(
        "CREATE INDEX ON jobs (started_at) WHERE status IN ('running');"
        "CREATE INDEX ON jobs (status, enqueued_at, id);"
        "CREATE INDEX ON jobs (id, started_at)"
    )
    left = advised(mail("diagnose", "--json"))
    assert len(left) == count - 2
    assert not [statement for statement in left if "started_at" in statement or "enqueued_at" in statement]


def test_an_index_that_is_invalid_or_has_another_predicate_does_not_serve(
    mail: Callable, database: servers.Database
) -> None:
    before = advised(mail("diagnose", "--json", **LANES))
    database.execute(
        "CREATE INDEX ON jobs (started_at, id) WHERE status = 'done';"
        "CREATE INDEX ON jobs (lane) INCLUDE (position, priority, enqueued_at, id) WHERE status = 'waiting';"
        "CREATE INDEX broken ON jobs (started_at, id) WHERE status = 'running';"
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'broken'::regclass"
    )
    assert advised(mail("diagnose", "--json", **LANES)) == before


def test_a_partitioned_table_takes_its_indexes_partition_by_partition(
    mail: Callable, database: servers.Database
) -> None:
    database.execute(
        "DROP TABLE jobs; CREATE TABLE jobs (id bigint, status text, worker text, started_at timestamptz,"
        " enqueued_at timestamptz, finished_at timestamptz, attempts int, error text, label text, lane int,"
        " position int, priority int, PRIMARY KEY (id)) PARTITION BY RANGE (id);"
        'CREATE TABLE "jobs one" PARTITION OF jobs FOR VALUES FROM (0) TO (10);'
        "CREATE TABLE jobs_two PARTITION OF jobs FOR VALUES FROM (10) TO (20)"
    )
    statements = advised(mail("diagnose", "--json", **LANES))
    assert any('"jobs one"' in statement for statement in statements)
    for statement in statements:
        database.execute(statement)
    assert advised(mail("diagnose", "--json", **LANES)) == []


def test_statuses_that_are_numbers_or_enums(mail: Callable, database: servers.Database) -> None:
    words = {"WAITING": "1", "RUNNING": "2", "DONE": "3", "FAILED": "4", "CANCELLED": "-5"}
    numbers = {f"QUEUEWARDEN_QUEUE__MAIL__STATES__{name}": value for name, value in words.items()}
    numbers |= {"QUEUEWARDEN_QUEUE__MAIL__TIMESTAMPS": "3=finished_at"}
    database.execute("ALTER TABLE jobs ALTER status DROP DEFAULT, ALTER status TYPE smallint USING 1")
    for statement in advised(mail("diagnose", "--json", **numbers)):
        database.execute(statement)
    assert advised(mail("diagnose", "--json", **numbers)) == []
    database.execute(
        "DROP TABLE jobs;"
        """CREATE TYPE "State" AS ENUM ('waiting', 'running', 'done', 'failed', 'cancelled');"""
        'CREATE TABLE jobs (id int PRIMARY KEY, status "State", worker text, started_at timestamp,'
        " enqueued_at timestamp, finished_at timestamp, attempts int, error text, label text)"
    )
    for statement in advised(mail("diagnose", "--json")):
        database.execute(statement)
    assert advised(mail("diagnose", "--json")) == []


def test_a_right_that_is_missing_comes_with_its_grant(mail: Callable, database: servers.Database) -> None:
    role = f"poor_{database.name}"
    database.execute(f"CREATE ROLE {role}; GRANT SELECT ON jobs, workers TO {role}")
    try:
        dsn = as_role(database, role)
        called = mail("diagnose", "--json", QUEUEWARDEN_ENV__PROD__DSN=dsn)
        assert called.code == 1
        grants = [line for one in remarks(called, "rights") for line in one["remedy"]]
        assert any(line.startswith("GRANT UPDATE (") for line in grants)
        for grant in grants:
            database.execute(grant)
        called = mail("diagnose", "--json", QUEUEWARDEN_ENV__PROD__DSN=dsn)
        assert [one["level"] for one in remarks(called, "rights")] == ["ok"]
    finally:
        database.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


@pytest.fixture
def poor(database: servers.Database) -> Iterator[str]:
    """The DSN of a role that may do nothing."""
    role = f"poor_{database.name}"
    database.execute(f"CREATE ROLE {role}")
    yield as_role(database, role)
    database.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_a_ledger_that_was_upgraded_without_its_new_rights_is_told(
    mail: Callable, database: servers.Database, poor: str
) -> None:
    assert mail("install", "--env", "prod").code == 0
    role = f"poor_{database.name}"
    database.execute(
        f"GRANT SELECT, UPDATE ON jobs, workers TO {role}; GRANT USAGE ON SCHEMA queuewarden TO {role};"
        f" GRANT ALL ON ALL TABLES IN SCHEMA queuewarden TO {role};"
        f" REVOKE ALL ON queuewarden.upkeep_runs FROM {role}"
    )
    (ledger,) = remarks(mail("diagnose", "--json", QUEUEWARDEN_ENV__PROD__DSN=poor), "ledger")
    assert ledger["level"] == "advice"
    assert ledger["text"].startswith("rights missing on upkeep_runs in schema queuewarden")
    assert ledger["remedy"] == ["queuewarden grants --env prod"]


def test_where_rights_are_missing_nothing_else_is_claimed(mail: Callable, poor: str) -> None:
    called = mail("diagnose", "--json", QUEUEWARDEN_ENV__PROD__DSN=poor)
    assert called.code == 1
    assert {one["level"] for one in remarks(called, "rights")} == {"wrong"}
    assert [one for topic in ("indexes", "jobs", "mapping") for one in remarks(called, topic)] == []
    assert "run times" not in called.out


def test_indexes_and_counts_come_after_rights_and_mapping(
    mail: Callable, database: servers.Database, poor: str
) -> None:
    database.execute(f"GRANT SELECT ON jobs TO poor_{database.name}")
    called = mail("diagnose", "--json", QUEUEWARDEN_ENV__PROD__DSN=poor)
    (one,) = remarks(called, "indexes")
    assert (one["level"], one["text"]) == ("info", "looked at once mapping and rights fit")
    broken = "CREATE FUNCTION broken() RETURNS text LANGUAGE plpgsql AS $$BEGIN RAISE 'no'; END$$;"
    database.execute(
        f"{broken} ALTER TABLE jobs RENAME TO real; CREATE VIEW jobs AS SELECT * FROM real"
        " WHERE broken() = status; INSERT INTO real (status) VALUES ('waiting')"
    )
    called = mail("diagnose", "--json")
    (jobs,) = remarks(called, "jobs")
    assert jobs["remedy"] == ["what mapping and rights say comes first"]
    assert "run times" not in called.out


@pytest.mark.parametrize("command", [("retry",), ("reset",), ("reset", "--job", "1")])
def test_acting_by_hand_without_the_right_to_read_names_the_grant(
    mail: Callable, poor: str, command: tuple[str, ...]
) -> None:
    called = mail(*command, "--env", "prod", QUEUEWARDEN_ENV__PROD__DSN=poor)
    assert called.code == 1
    assert "GRANT SELECT (" in called.out
    assert "there is no job" not in called.out


def test_row_level_security_comes_with_the_statement_for_this_role(
    mail: Callable, database: servers.Database, poor: str
) -> None:
    database.execute(
        f"GRANT SELECT, UPDATE ON jobs, workers TO poor_{database.name};"
        "ALTER TABLE jobs ENABLE ROW LEVEL SECURITY"
    )
    called = mail("diagnose", "--json", QUEUEWARDEN_ENV__PROD__DSN=poor)
    (one,) = remarks(called, "rights")
    assert one["remedy"] == [f"ALTER ROLE poor_{database.name} BYPASSRLS;"]
    database.execute(one["remedy"][0])
    called = mail("diagnose", "--json", QUEUEWARDEN_ENV__PROD__DSN=poor)
    assert [one["level"] for one in remarks(called, "rights")] == ["ok"]


def test_a_column_that_is_not_there_is_told_once_with_the_one_that_is_like_it(mail: Callable) -> None:
    called = mail(
        "diagnose",
        "--json",
        QUEUEWARDEN_QUEUE__MAIL__JOBS__FINISHED_AT="finishd_at",
        QUEUEWARDEN_QUEUE__MAIL__TIMESTAMPS="done=finishd_at",
    )
    (one,) = remarks(called, "mapping")
    assert one["text"] == "JOBS__FINISHED_AT: public.jobs has no column finishd_at; did you mean finished_at?"
    assert one["remedy"] == ["until it fits, the queue is only observed"]


def test_an_error_column_too_narrow_for_a_reason_is_said(mail: Callable, database: servers.Database) -> None:
    database.execute("ALTER TABLE jobs ALTER error TYPE varchar(20)")
    called = mail("diagnose", "--json", QUEUEWARDEN_DEAD_AFTER="1s")
    assert called.code == 0
    (told,) = [one for one in remarks(called, "mapping") if one["level"] == "info"]
    assert "public.jobs.error holds 20 characters" in told["text"]


def test_anomalies_are_wrong_and_come_with_a_hint(mail: Callable, database: servers.Database) -> None:
    database.execute("INSERT INTO jobs (status) VALUES ('waiting')")
    called = mail("diagnose", "--json")
    assert called.code == 1
    (one,) = remarks(called, "anomalies")
    assert one["text"].startswith("no_live_worker")
    assert one["remedy"]


def test_observe_mode_is_said_with_the_variable_to_set(mail: Callable) -> None:
    out = mail("diagnose", QUEUEWARDEN_MODE="observe").out
    assert "QUEUEWARDEN_ENV__PROD__QUEUE__MAIL__MODE=repair" in out


def test_a_table_that_is_not_there(mail: Callable, database: servers.Database) -> None:
    database.execute("DROP TABLE jobs")
    called = mail("diagnose", "--json")
    assert called.code == 1
    (one,) = remarks(called, "mapping")
    assert "table jobs does not exist" in one["text"]
    assert one["remedy"] == [
        "until it fits, nothing of this queue is read",
        "if prod has no such queue: set QUEUEWARDEN_ENV__PROD__QUEUES to those that it has",
    ]


def test_a_database_that_is_down(mail: Callable) -> None:
    called = mail("diagnose", "--json", QUEUEWARDEN_ENV__STAGING__DSN=UNREACHABLE)
    assert called.code == 69
    assert called.document["environments"]["staging"] == {"error": "connection refused", "remarks": []}
    assert "environment staging: connection refused" in called.err


def test_detect_names_the_presets_whose_tables_are_there(mail: Callable, database: servers.Database) -> None:
    assert "no table of a known queue was found" in mail("presets", "detect").out
    from queuewarden.application.demo import schema

    with database.connect() as connection:
        schema.create(connection)
    called = mail("presets", "detect", "--json")
    assert called.code == 0
    found = {one["preset"] for one in called.document["environments"]["prod"]["queues"]}
    assert {"extraction", "interviews"} <= found
    out = mail("presets", "detect").out
    assert "prod: public." in out
    assert "QUEUEWARDEN_QUEUE__EXTRACTION__PRESET=extraction" in out


def test_a_limit_too_close_to_real_run_times_is_told_with_the_one_that_would_do(
    mail: Callable, database: servers.Database
) -> None:
    database.execute(
        "INSERT INTO jobs (status, started_at, finished_at)"
        " SELECT 'done', now() - interval '10 minutes', now() FROM generate_series(1, 30)"
    )
    called = mail("diagnose", "--json")
    assert called.code == 1
    (one,) = remarks(called, "anomalies")
    assert one["text"].startswith("threshold")
    assert "STUCK_AFTER to 20m" in one["remedy"][0]


def test_a_threshold_that_is_too_close_spares_live_workers_by_hand_as_well(
    mail: Callable, database: servers.Database
) -> None:
    database.execute(MESS)
    database.execute(
        "INSERT INTO jobs (id, status, started_at, finished_at)"
        " SELECT 100 + n, 'done', now() - interval '10 minutes', now() FROM generate_series(1, 30) AS n"
    )
    mail("repair", "--no-grace")
    assert database.value("SELECT array_agg(id ORDER BY id) FROM jobs WHERE status = 'running'") == [2, 3]


def test_counts_that_fail_are_wrong_and_no_zeroes(mail: Callable, database: servers.Database) -> None:
    database.execute(
        "CREATE FUNCTION broken() RETURNS text LANGUAGE plpgsql AS $$BEGIN RAISE 'no'; END$$;"
        "ALTER TABLE jobs RENAME TO real;"
        "CREATE VIEW jobs AS SELECT * FROM real WHERE broken() = status"
    )
    database.execute("INSERT INTO real (status) VALUES ('waiting')")
    called = mail("diagnose", "--json")
    assert called.code == 1
    assert "failed with SQLSTATE P0001" in mail("check").out
    (jobs,) = remarks(called, "jobs")
    assert jobs["level"] == "wrong"
    assert jobs["facts"] == {}


def test_a_view_gets_no_indexes(mail: Callable, database: servers.Database) -> None:
    database.execute("ALTER TABLE jobs RENAME TO real; CREATE VIEW jobs AS SELECT * FROM real")
    called = mail("diagnose", "--json")
    assert remarks(called, "indexes") == []
    assert "a view" in remarks(called, "mapping")[0]["text"]


def test_the_barest_mapping_gets_an_index_for_each_state(call: Callable, database: servers.Database) -> None:
    bare = {
        "QUEUEWARDEN_ENV__PROD__DSN": database.dsn,
        "QUEUEWARDEN_QUEUE__MAIL__JOBS__TABLE": "jobs",
        "QUEUEWARDEN_QUEUE__MAIL__JOBS__ID": "id",
        "QUEUEWARDEN_QUEUE__MAIL__JOBS__STATUS": "status",
        "QUEUEWARDEN_QUEUE__MAIL__STATES__WAITING": "waiting",
        "QUEUEWARDEN_QUEUE__MAIL__STATES__RUNNING": "running",
    }
    statements = advised(call("diagnose", "--json", **bare))
    assert [statement.partition("jobs")[2] for statement in statements] == [
        '" ("id") WHERE "status" = \'running\';',
        '" ("id") WHERE "status" = \'waiting\';',
    ]
    for statement in statements:
        database.execute(statement)
    assert advised(call("diagnose", "--json", **bare)) == []
