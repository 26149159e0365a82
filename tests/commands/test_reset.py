from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from commands_kit import MAIL, MESS, versions_of_rows

if TYPE_CHECKING:
    from collections.abc import Callable

    import servers


@pytest.fixture
def running(database: servers.Database) -> Callable[[], list[int]]:
    """A table in disorder; tells which jobs run."""
    database.execute(MESS)
    return lambda: database.value("SELECT array_agg(id ORDER BY id) FROM jobs WHERE status = 'running'")


def test_without_anything_it_goes_by_the_queues_own_limit(mail: Callable, running: Callable) -> None:
    assert mail("reset", "--env", "prod").code == 0
    assert running() == [3]


@pytest.mark.parametrize(
    ("arguments", "left"),
    [
        (("--older-than", "10m"), [2, 3]),
        (("--worker", "alive"), [1]),
        (("--worker", "alive", "--older-than", "1m"), [1, 3]),
        (("--job", "3"), [1, 2]),
        (("--job", "3", "--job", "01"), [2]),
        (("--worker", "nobody"), [1, 2, 3]),
    ],
)
def test_what_is_given_is_what_is_reset(
    mail: Callable, running: Callable, arguments: tuple[str, ...], left: list[int]
) -> None:
    assert mail("reset", "--env", "prod", *arguments).code == 0
    assert running() == left


def test_a_dry_run_lists_what_a_reset_then_does(
    mail: Callable, database: servers.Database, running: Callable
) -> None:
    before = versions_of_rows(database)
    dry = mail("reset", "--env", "prod", "--dry-run", "--json")
    assert dry.code == 1
    assert versions_of_rows(database) == before
    assert (
        mail("reset", "--env", "prod", "--json").rows()
        == dry.rows()
        == {
            ("by_hand", "jobs", "1"),
            ("by_hand", "jobs", "2"),
        }
    )


def test_r2_a_job_that_is_not_running_is_left_alone_and_named(
    mail: Callable, database: servers.Database, running: Callable
) -> None:
    before = versions_of_rows(database)
    called = mail("reset", "--env", "prod", "--job", "5", "--job", "99", "--job", "x")
    assert called.code == 1
    assert "job 5 is done, not running" in called.out
    assert "there is no job 99" in called.out
    assert "there is no job x" in called.out
    assert versions_of_rows(database) == before


def test_the_log_says_by_hand(mail: Callable, running: Callable) -> None:
    called = mail("reset", "--env", "prod", "--job", "3")
    (event,) = [json.loads(line) for line in called.err.splitlines() if line.startswith("{")]
    assert (event["event"], event["reason"], event["count"]) == ("jobs.reset", "by_hand", 1)
    assert event["by"]


def test_a_job_locked_elsewhere_is_left(
    mail: Callable, database: servers.Database, running: Callable
) -> None:
    with database.connect(autocommit=False) as other:
        other.execute("SELECT FROM jobs WHERE id = 3 FOR UPDATE")
        called = mail("reset", "--env", "prod", "--job", "3")
    assert called.code == 1
    assert "1 left" in called.out
    assert running() == [1, 2, 3]


def test_a_composite_key_is_given_with_commas(mail: Callable, database: servers.Database) -> None:
    database.execute(MESS)
    database.execute(
        "ALTER TABLE jobs DROP CONSTRAINT jobs_pkey; UPDATE jobs SET label = 'a,b' WHERE id = 1;"
        " ALTER TABLE jobs ALTER lane SET NOT NULL; ALTER TABLE jobs ADD PRIMARY KEY (lane, id)"
    )
    composite = {"QUEUEWARDEN_QUEUE__MAIL__JOBS__ID": "lane, id"}
    assert mail("reset", "--env", "prod", "--job", "2,2", **composite).code == 0
    assert database.value("SELECT status FROM jobs WHERE id = 2") == "waiting"
    called = mail("reset", "--env", "prod", "--job", "2", **composite)
    assert called.code == 2
    assert "--job does not fit the key" in called.err


def test_what_it_must_go_by_is_named_where_it_is_not_mapped(mail: Callable) -> None:
    names = ("JOBS__STARTED_AT", "JOBS__WORKER", "WORKERS__TABLE", "WORKERS__ID", "WORKERS__HEARTBEAT",
             "WORKERS__STATUS", "WORKERS__OFFLINE_VALUE")  # fmt: skip
    poor = {f"QUEUEWARDEN_QUEUE__MAIL__{name}": "" for name in names}
    by_age = mail("reset", "--env", "prod", "--older-than", "1m", **poor)
    assert by_age.code == 2
    assert "STARTED_AT" in by_age.err
    by_worker = mail("reset", "--env", "prod", "--worker", "w", **poor)
    assert by_worker.code == 2
    assert "JOBS__WORKER" in by_worker.err


def test_the_environment_must_be_named_and_durations_must_be_some(mail: Callable) -> None:
    assert mail("reset").code == 2
    called = mail("reset", "--env", "prod", "--older-than", "5")
    assert called.code == 2
    assert "not a duration" in called.err


def test_an_observed_queue_is_not_reset(mail: Callable, running: Callable) -> None:
    called = mail("reset", "--env", "prod", QUEUEWARDEN_MODE="observe")
    assert called.code == 1
    assert "QUEUEWARDEN_ENV__PROD__QUEUE__MAIL__MODE=repair" in called.out
    assert running() == [1, 2, 3]


def test_retry_puts_back_what_failed_lately(mail: Callable, database: servers.Database) -> None:
    database.execute(MESS)
    database.execute("UPDATE jobs SET attempts = 3 WHERE status = 'failed'")
    database.execute("INSERT INTO jobs (id, status, finished_at) VALUES (8, 'failed', 'infinity')")
    assert mail("retry", "--env", "prod").code == 0
    assert database.value("SELECT status FROM jobs WHERE id = 8") == "failed", "nobody knows when"
    assert database.rows("SELECT id, status, attempts FROM jobs WHERE id IN (6, 7) ORDER BY id") == [
        (6, "waiting", 0),
        (7, "failed", 3),
    ]
    assert mail("retry", "--env", "prod", "--since", "7d").code == 0
    assert database.value("SELECT status FROM jobs WHERE id = 7") == "waiting"


def test_retry_dry_run_writes_nothing(mail: Callable, database: servers.Database) -> None:
    database.execute(MESS)
    before = versions_of_rows(database)
    called = mail("retry", "--env", "prod", "--dry-run", "--json")
    assert called.code == 1
    assert called.rows() == {("by_hand", "jobs", "6")}
    assert versions_of_rows(database) == before


def test_retry_without_failed_jobs_in_the_mapping(mail: Callable) -> None:
    called = mail("retry", "--env", "prod", QUEUEWARDEN_QUEUE__MAIL__STATES__FAILED="")
    assert called.code == 2
    assert "STATES__FAILED" in called.err


def test_f11_what_was_reset_before_the_connection_was_lost_is_told(
    mail: Callable, database: servers.Database
) -> None:
    database.execute(MESS)
    database.execute(
        "CREATE TABLE other (LIKE jobs INCLUDING ALL);"
        "INSERT INTO other (status, started_at) VALUES ('running', now() - interval '1 hour');"
        "CREATE FUNCTION drop_dead() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END';"
        "CREATE TRIGGER t BEFORE UPDATE ON other FOR EACH ROW EXECUTE FUNCTION drop_dead()"
    )
    post = {
        name.replace("MAIL", "POST"): "other" if value == "jobs" else value for name, value in MAIL.items()
    }
    called = mail("reset", "--env", "prod", "--json", **post)
    assert called.code == 69
    assert "environment prod: connection" in called.err
    assert {key for *_, key in called.rows()} == {"1", "2"}
    assert '"event":"jobs.reset"' in called.err


def test_the_first_queue_that_fails_leaves_nothing_to_tell(
    mail: Callable, database: servers.Database
) -> None:
    database.execute(MESS)
    database.execute(
        "CREATE FUNCTION drop_dead() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END';"
        "CREATE TRIGGER t BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION drop_dead()"
    )
    called = mail("reset", "--env", "prod", "--json")
    assert called.code == 69
    assert list(called.document["environments"]["prod"]) == ["error"]


def test_where_start_and_finish_are_not_mapped_the_last_update_counts(
    mail: Callable, database: servers.Database
) -> None:
    database.execute(
        "INSERT INTO jobs (id, status, updated_at) VALUES (1, 'running', now() - interval '1 hour'),"
        " (2, 'running', now()), (3, 'failed', now()), (4, 'failed', now() - interval '2 days')"
    )
    names = ("JOBS__STARTED_AT", "JOBS__FINISHED_AT", "TIMESTAMPS")
    poor = {f"QUEUEWARDEN_QUEUE__MAIL__{name}": "" for name in names}
    poor["QUEUEWARDEN_QUEUE__MAIL__JOBS__UPDATED_AT"] = "updated_at"
    assert mail("reset", "--env", "prod", **poor).code == 0
    assert mail("retry", "--env", "prod", **poor).code == 0
    assert database.rows("SELECT id, status FROM jobs ORDER BY id") == [
        (1, "waiting"),
        (2, "running"),
        (3, "waiting"),
        (4, "failed"),
    ]
