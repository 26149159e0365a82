from __future__ import annotations

from typing import TYPE_CHECKING

import kit
import pytest
from commands_kit import LANES, MAIL, MESS, UNREACHABLE, as_role, versions_of_rows

from queuewarden.application.demo import schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import servers


@pytest.fixture
def reader(database: servers.Database) -> Iterator[str]:
    """A role that may only read."""
    role = f"reader_{database.name}"
    database.execute(f"CREATE ROLE {role}; GRANT SELECT ON jobs, workers TO {role}")
    yield role
    database.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_nothing_wrong(mail: Callable) -> None:
    called = mail("check")
    assert called.code == 0
    assert "prod/mail: clean" in called.out


def test_what_is_wrong_is_listed_by_check(mail: Callable, database: servers.Database) -> None:
    database.execute(MESS)
    called = mail("check", "--json")
    assert called.code == 1
    assert called.rows() == {
        ("dead_workers", "jobs", "1"),
        ("dead_workers", "workers", "dead"),
        ("stuck_jobs", "jobs", "1"),
        ("stuck_jobs", "jobs", "2"),
        ("timestamps", "jobs", "5"),
    }
    assert (called.document["found"], called.document["repaired"], called.document["left"]) == (5, 0, 5)


def test_people_see_the_same(mail: Callable, database: servers.Database) -> None:
    database.execute(MESS)
    out = mail("check").out
    assert "prod/mail: stuck_jobs: 2 jobs found (stuck)" in out
    assert "of the dead" in out
    assert "\x1b" not in out, "colours belong on a terminal only"
    assert out.rstrip().endswith("5 found")


@pytest.mark.versions
def test_f1_a_check_needs_no_right_to_write_and_writes_nothing(
    mail: Callable, database: servers.Database, reader: str
) -> None:
    database.execute(MESS)
    before = versions_of_rows(database)
    dsn = as_role(database, reader)
    called = mail("check", "--json", QUEUEWARDEN_ENV__PROD__DSN=dsn, QUEUEWARDEN_MODE="observe", **LANES)
    assert called.code == 1
    assert ("stuck_jobs", "jobs", "2") in called.rows()
    assert versions_of_rows(database) == before


def test_a_right_that_is_missing_for_repair_is_told(
    mail: Callable, database: servers.Database, reader: str
) -> None:
    called = mail("check", QUEUEWARDEN_ENV__PROD__DSN=as_role(database, reader))
    assert called.code == 1
    assert "GRANT UPDATE" in called.out


def test_a_mapping_that_does_not_fit_is_told_with_its_remedy(mail: Callable) -> None:
    called = mail("check", "--json", QUEUEWARDEN_QUEUE__MAIL__JOBS__HEARTBEAT="beat")
    assert called.code == 1
    (fault,) = called.document["environments"]["prod"]["queues"]["mail"]["faults"]
    assert "has no column beat" in fault


def test_anomalies_are_shown_and_do_not_count(mail: Callable, database: servers.Database) -> None:
    database.execute("INSERT INTO jobs (status, enqueued_at) VALUES ('waiting', now() - interval '2 hours')")
    called = mail("check", "--json")
    assert called.code == 0
    kinds = {one["kind"] for one in called.document["environments"]["prod"]["anomalies"]}
    assert "oldest_waiting" in kinds
    assert "anomaly oldest_waiting" in mail("check").out


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("--env", "prd"), "unknown environment prd; did you mean prod?"),
        (("--queue", "mial"), "unknown queue mial; did you mean mail?"),
        (("--lane", "22"), "unknown lane 22; did you mean 2?"),
        (("--lane", "x"), "unknown lane x; there is 1, 2, 3"),
    ],
)
def test_unknown_names_are_usage_errors_that_name_the_nearest(
    mail: Callable, database: servers.Database, arguments: tuple[str, str], hint: str
) -> None:
    database.execute(MESS)
    called = mail("check", *arguments, **LANES)
    assert called.code == 2
    assert hint in called.err


def test_a_lane_where_none_is_mapped(mail: Callable) -> None:
    called = mail("check", "--lane", "1")
    assert called.code == 2
    assert "POSITIONS__LANE" in called.err


def test_only_one_lane_is_looked_at_by_all_checks(mail: Callable, database: servers.Database) -> None:
    database.execute(MESS)
    called = mail("check", "--lane", "1", "--json", **LANES)
    assert {key for _, _, key in called.rows()} == {"1"}


def test_a_lane_without_active_jobs_is_known(mail: Callable, database: servers.Database) -> None:
    database.execute("INSERT INTO jobs (status, lane, finished_at) VALUES ('done', 9, now())")
    assert mail("check", "--lane", "9", **LANES).code == 0


def test_where_several_queues_have_lanes_one_is_named(mail: Callable, database: servers.Database) -> None:
    database.execute(MESS)
    database.execute("CREATE TABLE other (LIKE jobs INCLUDING ALL)")
    both = LANES | {
        name.replace("MAIL", "POST"): "other" if value == "jobs" else value
        for name, value in (MAIL | LANES).items()
    }
    called = mail("check", "--lane", "1", **both)
    assert called.code == 2
    assert "name one with --queue" in called.err
    assert mail("check", "--lane", "1", "--queue", "mail", **both).code == 1


def test_a_lane_that_one_environment_has_is_known(
    mail: Callable, database: servers.Database, databases: Callable[[str], servers.Database]
) -> None:
    database.execute(MESS)
    empty = databases(kit.SCHEMA)
    called = mail("check", "--lane", "1", "--json", QUEUEWARDEN_ENV__STAGING__DSN=empty.dsn, **LANES)
    assert called.code == 1
    assert list(called.document["environments"]) == ["prod"]


def test_lanes_of_several_columns_and_lanes_without_a_name(
    mail: Callable, database: servers.Database
) -> None:
    pairs = LANES | {"QUEUEWARDEN_QUEUE__MAIL__POSITIONS__LANE": "lane, label"}
    database.execute(
        "INSERT INTO jobs (id, status, lane, label) VALUES (1, 'waiting', NULL, 'a'), (2, 'waiting', 1, 'b')"
    )
    assert {key for *_, key in mail("check", "--lane", "NULL,a", "--json", **pairs).rows()} == {"1"}
    assert {key for *_, key in mail("check", "--lane", "1,b", "--json", **pairs).rows()} == {"2"}
    assert mail("check", "--lane", "1", **pairs).code == 2


def test_with_no_queue_configured_known_tables_are_recognised(
    call: Callable, databases: Callable[..., servers.Database]
) -> None:
    database = databases()
    with database.connect() as connection:
        schema.create(connection)
    called = call("check", "--json", QUEUEWARDEN_DSN=database.dsn)
    assert {"extraction", "interviews"} <= set(called.document["environments"]["default"]["queues"])
    one = call("check", "--queue", "interviews", "--json", QUEUEWARDEN_DSN=database.dsn)
    assert list(one.document["environments"]["default"]["queues"]) == ["interviews"]


def test_names_are_folded_and_may_be_repeated(mail: Callable, database: servers.Database) -> None:
    called = mail(
        "check", "--env", "PROD", "--env", "staging", "--queue", "Mail", "--json",
        QUEUEWARDEN_ENV__STAGING__DSN=database.dsn, QUEUEWARDEN_ENV__DEV__DSN=database.dsn,
    )  # fmt: skip
    assert called.code == 0
    assert list(called.document["environments"]) == ["prod", "staging"]


def test_a_database_that_is_down_wins_over_findings_and_hides_none_of_them(
    mail: Callable, database: servers.Database
) -> None:
    database.execute(MESS)
    called = mail("check", QUEUEWARDEN_ENV__STAGING__DSN=UNREACHABLE)
    assert called.code == 69
    assert "queuewarden: environment staging: connection refused" in called.err.splitlines()
    assert "stuck_jobs: 2 jobs found" in called.out
    document = mail("check", "--json", QUEUEWARDEN_ENV__STAGING__DSN=UNREACHABLE).document
    assert document["environments"]["staging"] == {"error": "connection refused"}


def test_secrets_are_never_printed(mail: Callable) -> None:
    for arguments in (("check",), ("check", "--json"), ("diagnose",), ("repair",), ("presets", "detect")):
        called = mail(*arguments, QUEUEWARDEN_ENV__STAGING__DSN=UNREACHABLE)
        assert called.code == 69
        assert "geheim" not in called.out + called.err


def test_labels_do_not_reach_the_terminal_as_they_are(mail: Callable, database: servers.Database) -> None:
    database.execute(MESS)
    label = "\x1b]0;owned\x07\nprod/mail: clean me@example.org"
    database.execute("UPDATE jobs SET label = %s WHERE id = 2", (label,))
    plain, document = mail("check").out, mail("check", "--json").out
    for out in (plain, document):
        assert "\x1b" not in out
        assert "\x07" not in out
        assert "me@example.org" not in out
    assert "\nprod/mail: clean" not in plain


def test_a_configuration_that_is_wrong(call: Callable) -> None:
    called = call("check", QUEUEWARDEN_ENV__PROD__DNS="x")
    assert called.code == 78


def test_r13_a_table_that_cannot_be_read_is_not_clean(mail: Callable, database: servers.Database) -> None:
    database.execute("ALTER TABLE jobs RENAME TO tasks")
    called = mail("check")
    assert called.code == 1
    assert "table jobs does not exist" in called.out
    assert "clean" not in called.out
