from __future__ import annotations

import importlib
import json
import threading
from typing import TYPE_CHECKING

import pytest
from commands_kit import LANES, MESS, UNREACHABLE, versions_of_rows

from queuewarden.adapters.db.begin import GUARD_LOCK
from queuewarden.application import by_hand

if TYPE_CHECKING:
    from collections.abc import Callable

    import servers


def test_it_repairs_and_says_exactly_what(mail: Callable, database: servers.Database) -> None:
    database.execute(MESS)
    called = mail("repair", "--no-grace", "--json")
    assert called.code == 0
    assert (called.document["found"], called.document["repaired"], called.document["left"]) == (4, 4, 0)
    assert called.rows() == {
        ("dead_workers", "jobs", "1"),
        ("dead_workers", "workers", "dead"),
        ("stuck_jobs", "jobs", "2"),
        ("timestamps", "jobs", "5"),
    }
    assert database.value("SELECT count(*) FROM jobs WHERE status = 'running'") == 1


def test_f12_a_second_repair_finds_nothing(mail: Callable, database: servers.Database) -> None:
    database.execute(MESS)
    mail("repair", "--no-grace", **LANES)
    called = mail("repair", "--no-grace", **LANES)
    assert called.code == 0
    assert "prod/mail: nothing to do" in called.out


@pytest.mark.versions
def test_a_dry_run_lists_what_the_repair_then_does(mail: Callable, database: servers.Database) -> None:
    database.execute(MESS)
    before = versions_of_rows(database)
    dry = mail("repair", "--no-grace", "--dry-run", "--json")
    assert dry.code == 1
    assert versions_of_rows(database) == before
    assert dry.document["dry_run"] is True
    wet = mail("repair", "--no-grace", "--json")
    assert dry.rows() == wet.rows()
    after = versions_of_rows(database)
    assert {(table, key) for _, table, key in dry.rows()} == {
        row for row in before if before[row] != after[row]
    }


def test_a_dry_run_of_positions_lists_what_changes(mail: Callable, database: servers.Database) -> None:
    database.execute(
        "INSERT INTO jobs (id, status, lane, position) SELECT n, 'waiting', n % 3, n / 3 * 2"
        " FROM generate_series(1, 30) AS n"
    )
    before = versions_of_rows(database)
    dry = mail("repair", "--no-grace", "--dry-run", "--json", **LANES).rows()
    assert mail("repair", "--no-grace", **LANES).code == 0
    after = versions_of_rows(database)
    assert {(table, key) for _, table, key in dry} == {row for row in before if before[row] != after[row]}


def test_a_dry_run_says_that_lanes_of_moved_jobs_are_renumbered(
    mail: Callable, database: servers.Database
) -> None:
    database.execute(MESS)
    assert "will be renumbered" in mail("repair", "--no-grace", "--dry-run", **LANES).out


def test_f2_one_lane_is_repaired_and_no_other(mail: Callable, database: servers.Database) -> None:
    database.execute(
        "INSERT INTO jobs (id, status, lane, position) VALUES (1, 'waiting', 1, 7), (2, 'waiting', 2, 7)"
    )
    assert mail("repair", "--no-grace", "--lane", "2", **LANES).code == 0
    assert database.rows("SELECT id, position FROM jobs ORDER BY id") == [(1, 7), (2, 1)]


def test_only_the_named_check_runs(mail: Callable, database: servers.Database) -> None:
    database.execute(MESS)
    called = mail("repair", "--no-grace", "--only", "timestamps", "--json")
    assert {check for check, _, _ in called.rows()} == {"timestamps"}
    assert mail("repair", "--only", "stuck").code == 2


def test_f11_what_is_locked_elsewhere_is_left_and_said(mail: Callable, database: servers.Database) -> None:
    database.execute(MESS)
    with database.connect(autocommit=False) as other:
        other.execute("SELECT FROM jobs WHERE id = 2 FOR UPDATE")
        called = mail("repair", "--no-grace", "--json")
    assert called.code == 1
    assert (called.document["repaired"], called.document["left"]) == (3, 1)


def test_just_after_the_start_of_the_server_nobody_is_judged(
    mail: Callable, database: servers.Database
) -> None:
    database.execute(MESS)
    longest = {"QUEUEWARDEN_DEAD_AFTER": "3650d"}
    database.execute("UPDATE workers SET heartbeat = heartbeat - interval '11 years' WHERE id = 'dead'")
    called = mail("repair", "--json", **longest)
    assert called.code == 1
    held = {
        one["check"]: one["held"]
        for one in called.document["environments"]["prod"]["queues"]["mail"]["checks"]
    }
    assert held["dead_workers"] == held["stuck_jobs"] == "grace"
    assert held["timestamps"] is None
    assert database.value("SELECT count(*) FROM jobs WHERE status = 'running'") == 3
    overridden = mail("repair", "--no-grace", **longest)
    assert overridden.code == 0
    assert "grace was overridden" in overridden.out


def test_observe_mode_refuses_with_a_hint_and_repair_mode_for_the_call_repairs(
    mail: Callable, database: servers.Database
) -> None:
    database.execute(MESS)
    before = versions_of_rows(database)
    observing = {"QUEUEWARDEN_ENV__PROD__MODE": "observe"}
    called = mail("repair", "--no-grace", **observing)
    assert called.code == 1
    assert "set QUEUEWARDEN_ENV__PROD__QUEUE__MAIL__MODE=repair" in called.out
    assert versions_of_rows(database) == before
    told = {"QUEUEWARDEN_ENV__PROD__QUEUE__MAIL__MODE": "repair"}
    assert mail("repair", "--no-grace", **observing, **told).code == 0


def test_mass_brakes_warn_and_do_not_hold(mail: Callable, database: servers.Database) -> None:
    database.execute(
        "INSERT INTO workers (id, heartbeat) SELECT 'w' || n, now() - interval '1 hour'"
        " FROM generate_series(1, 6) AS n"
    )
    called = mail("repair", "--no-grace")
    assert called.code == 0
    assert "brake mass_death" in called.out
    assert "by hand it goes on" in called.out
    assert database.value("SELECT count(*) FROM workers WHERE status = 'offline'") == 6


def test_r16_another_guard_at_work_is_waited_for(mail: Callable, database: servers.Database) -> None:
    database.execute(MESS)
    other = database.connect(autocommit=False)
    other.execute("SELECT pg_advisory_xact_lock(%s, %s)", GUARD_LOCK)
    timer = threading.Timer(0.5, other.close)
    timer.start()
    called = mail("repair", "--no-grace")
    timer.join()
    assert called.code == 0, called.out


def test_r16_another_guard_that_does_not_finish_is_named(
    mail: Callable, database: servers.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(by_hand, "PATIENCE", 0.1)
    database.execute(MESS)
    with database.connect(autocommit=False) as other:
        other.execute("SELECT pg_advisory_xact_lock(%s, %s)", GUARD_LOCK)
        called = mail("repair", "--no-grace")
    assert called.code == 1
    assert "another guard is repairing this database" in called.out
    assert database.value("SELECT count(*) FROM jobs WHERE status = 'running'") == 3


def test_what_was_written_is_logged_with_who_called(mail: Callable, database: servers.Database) -> None:
    database.execute(MESS)
    called = mail("repair", "--no-grace", SUDO_USER="alice")
    events = [json.loads(line) for line in called.err.splitlines() if line.startswith("{")]
    (reset,) = [one for one in events if one["event"] == "jobs.reset" and one["reason"] == "stuck"]
    assert reset["by"] == f"{by_hand.caller()} (sudo by alice)"
    assert (reset["environment"], reset["queue"], reset["count"]) == ("prod", "mail", 1)


def test_a_dry_run_logs_nothing(mail: Callable, database: servers.Database) -> None:
    database.execute(MESS)
    called = mail("repair", "--no-grace", "--dry-run")
    assert not [line for line in called.err.splitlines() if line.startswith("{")]


def test_one_environment_that_is_down_does_not_keep_the_others_from_being_repaired(
    mail: Callable, database: servers.Database
) -> None:
    database.execute(MESS)
    assert mail("repair", "--no-grace", QUEUEWARDEN_ENV__STAGING__DSN=UNREACHABLE).code == 69
    assert database.value("SELECT count(*) FROM jobs WHERE status = 'running'") == 1


def test_what_only_can_be_reported_counts_as_left(mail: Callable, database: servers.Database) -> None:
    database.execute("INSERT INTO jobs (status, worker) VALUES ('waiting', 'alive')")
    called = mail("repair", "--no-grace")
    assert called.code == 1
    assert "only reported" in called.out


def test_f11_what_was_done_before_the_connection_was_lost_is_told(
    mail: Callable, database: servers.Database
) -> None:
    database.execute(MESS)
    database.execute(
        "CREATE FUNCTION drop_dead() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END';"
        "CREATE TRIGGER t BEFORE UPDATE OF finished_at ON jobs FOR EACH ROW"
        " WHEN (OLD.status = 'done') EXECUTE FUNCTION drop_dead()"
    )
    called = mail("repair", "--no-grace", "--json")
    assert called.code == 69
    assert "environment prod: connection" in called.err
    assert called.document["environments"]["prod"]["error"].startswith("connection")
    assert ("stuck_jobs", "jobs", "2") in called.rows()
    assert called.document["repaired"] == 3
    assert '"event":"jobs.reset"' in called.err


def test_r12_workers_that_register_in_another_environment_are_looked_up_there(
    mail: Callable, database: servers.Database, databases: Callable[[str], servers.Database]
) -> None:
    fleet = databases("CREATE TABLE workers (id text PRIMARY KEY, status text, heartbeat timestamptz)")
    fleet.execute(
        "INSERT INTO workers (id, heartbeat) VALUES"
        " ('dead', now() - interval '1 hour'), ('alive', now() + interval '1 minute')"
    )
    database.execute("DROP TABLE workers")
    database.execute(
        "INSERT INTO jobs (id, status, worker, started_at) VALUES"
        " (1, 'running', 'dead', now()), (2, 'running', 'alive', now())"
    )
    elsewhere = {
        "QUEUEWARDEN_QUEUE__MAIL__WORKERS__REGISTERED_IN": "fleet",
        "QUEUEWARDEN_ENV__FLEET__DSN": fleet.dsn,
        "QUEUEWARDEN_DEAD_AFTER": "1s",
    }
    called = mail("repair", "--env", "prod", "--no-grace", "--json", **elsewhere)
    assert called.code == 0
    assert called.rows() == {("dead_workers", "jobs", "1")}


def test_r13_where_nobody_knows_who_is_alive_nothing_is_called_clean(
    mail: Callable, database: servers.Database
) -> None:
    database.execute("DROP TABLE workers")
    database.execute("INSERT INTO jobs (id, status, worker, started_at) VALUES (1, 'running', 'dead', now())")
    elsewhere = {
        "QUEUEWARDEN_QUEUE__MAIL__WORKERS__REGISTERED_IN": "fleet",
        "QUEUEWARDEN_ENV__FLEET__DSN": UNREACHABLE,
    }
    for command in ("check", "repair"):
        called = mail(command, "--env", "prod", **elsewhere)
        assert called.code == 1
        assert "running jobs were not judged" in called.out
        assert "clean" not in called.out
        assert "nothing to do" not in called.out
    assert database.value("SELECT status FROM jobs") == "running"


def test_a_dry_run_with_a_database_that_is_down(mail: Callable, database: servers.Database) -> None:
    database.execute(MESS)
    called = mail("repair", "--no-grace", "--dry-run", QUEUEWARDEN_ENV__STAGING__DSN=UNREACHABLE)
    assert called.code == 69
    assert "would be repaired" in called.out


def test_a_dry_run_that_cannot_list_everything_says_so(
    mail: Callable, database: servers.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.execute(MESS)
    module = importlib.import_module("queuewarden.application.commands.repair")
    monkeypatch.setattr(module, "LISTED", 1)
    assert "may be counted by two checks" in mail("repair", "--no-grace", "--dry-run").out


def test_p2_a_row_that_the_database_refuses_is_told_and_counts_as_left(
    mail: Callable, database: servers.Database
) -> None:
    database.execute(MESS)
    database.execute("ALTER TABLE jobs ADD CHECK (status <> 'waiting' OR id <> 2) NOT VALID")
    called = mail("repair", "--no-grace", "--only", "stuck_jobs")
    assert called.code == 1
    assert "1 of them refused by the database" in called.out
    assert database.value("SELECT array_agg(id ORDER BY id) FROM jobs WHERE status = 'running'") == [2, 3]


def test_a_check_that_fails_is_named_with_its_sqlstate(mail: Callable, database: servers.Database) -> None:
    database.execute(MESS)
    database.execute(
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN RAISE 'disk' USING ERRCODE = '58030'; END$$;"
        "CREATE TRIGGER t BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION fail()"
    )
    called = mail("repair", "--no-grace", "--only", "stuck_jobs")
    assert called.code == 1
    assert "SQLSTATE 58030" in called.out
