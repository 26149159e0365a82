from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from commands_kit import MAIL, MESS, UNREACHABLE, versions_of_rows

from queuewarden.application import by_hand
from queuewarden.engine.ledger import schema

if TYPE_CHECKING:
    from collections.abc import Callable

    import servers
    from commands_kit import Called


@pytest.fixture
def swept(mail: Callable[..., Called], database: servers.Database) -> Callable[..., Called]:
    """A ledger with one sweep in it, which reset 1 and 2 and set a worker offline; calls commands there."""
    database.execute(schema.script())
    database.execute(MESS)
    mail("repair", "--no-grace", "--only", "dead_workers", "--only", "stuck_jobs")
    return mail


def statuses(database: servers.Database) -> dict[int, str]:
    return dict(database.rows("SELECT id, status FROM jobs WHERE id < 4 ORDER BY 1"))


def sweep_of(swept: Callable[..., Called]) -> str:
    return str(swept("history", "--json").document[0]["sweep"])


REPAIRED = {1: "waiting", 2: "waiting", 3: "running"}
AS_IT_WAS = {1: "running", 2: "running", 3: "running"}


@pytest.mark.versions
@pytest.mark.parametrize("how", ["sweep", "since", "ids"])
def test_a_sweep_is_taken_back(swept: Callable, database: servers.Database, how: str) -> None:
    assert statuses(database) == REPAIRED
    arguments = {
        "sweep": ("--sweep", sweep_of(swept)),
        "since": ("--since", "10m"),
        "ids": ("--id", "1", "--id", "2", "--id", "3"),
    }[how]
    called = swept("undo", "--env", "prod", *arguments)
    assert called.code == 0
    assert called.out.startswith("prod: 3 put back, 0 refused\n")
    assert "was status running→waiting" in called.out
    assert statuses(database) == AS_IT_WAS
    assert database.value("SELECT status FROM workers WHERE id = 'dead'") == "busy"
    assert swept("check", "--json").rows() == {("timestamps", "jobs", "5")}, "they are left alone"


def test_the_log_says_who_and_what(swept: Callable) -> None:
    called = swept("undo", "--env", "prod", "--id", "1", SUDO_USER="alice")
    (event,) = [json.loads(line) for line in called.err.splitlines() if line.startswith("{")]
    assert event["event"] == "changes.undone"
    assert (event["environment"], event["count"], event["refused"], event["changes"]) == ("prod", 1, 0, [1])
    assert event["by"] == f"{by_hand.caller()} (sudo by alice)"
    assert event["sweep"] == swept("history", "--json", "--limit", "1").document[0]["sweep"]


@pytest.mark.versions
def test_a_dry_run_tells_the_same_and_writes_nothing(swept: Callable, database: servers.Database) -> None:
    database.execute("UPDATE jobs SET label = 'moved on' WHERE id = 1")
    before = versions_of_rows(database)
    arguments = ("undo", "--env", "prod", "--since", "10m", "--json")
    dry = swept(*arguments, "--dry-run")
    assert dry.code == 1
    assert versions_of_rows(database) == before
    assert len(swept("history", "--json").document) == 3
    assert not [line for line in dry.err.splitlines() if line.startswith("{")], "nothing to log"
    real = swept(*arguments)
    assert real.code == 1
    assert dry.document == real.document | {"dry_run": True}
    told = {one["id"]: one["refused"] for one in real.document["environments"]["prod"]}
    assert sorted(told) == [1, 2, 3]
    assert [why for why in told.values() if why] == ["it has changed since: label"]


def test_what_is_refused_is_shown_with_its_reason(swept: Callable, database: servers.Database) -> None:
    database.execute("UPDATE jobs SET status = 'done' WHERE id = 1; DELETE FROM jobs WHERE id = 2")
    called = swept("undo", "--env", "prod", "--since", "10m")
    assert called.code == 1
    assert called.out.startswith("prod: 1 put back, 2 refused\n")
    assert "refused: it has changed since: status" in called.out
    assert "refused: the row is gone" in called.out


def test_an_undo_is_undone_by_its_id(swept: Callable, database: servers.Database) -> None:
    swept("undo", "--env", "prod", "--id", "1")
    assert statuses(database) == REPAIRED | {1: "running"}
    assert swept("undo", "--env", "prod", "--id", "4").code == 0
    assert statuses(database) == REPAIRED


def test_twice_is_refused(swept: Callable) -> None:
    assert swept("undo", "--env", "prod", "--id", "1").code == 0
    again = swept("undo", "--env", "prod", "--id", "1")
    assert again.code == 1
    assert "already undone by 4" in again.out


def test_a_person_may_reset_what_was_put_back(swept: Callable, database: servers.Database) -> None:
    swept("undo", "--env", "prod", "--since", "10m")
    assert statuses(database) == AS_IT_WAS
    swept("repair", "--no-grace", "--only", "dead_workers", "--only", "stuck_jobs")
    assert statuses(database) == AS_IT_WAS
    assert swept("reset", "--env", "prod", "--job", "1").code == 0
    assert statuses(database) == AS_IT_WAS | {1: "waiting"}
    reset = swept("history", "--json", "--limit", "1").document[0]
    assert (reset["event"], reset["reason"], reset["check"]) == ("jobs.reset", "by_hand", "by_hand")
    assert reset["actor"] == by_hand.caller()


def test_a_retry_by_hand_is_booked_and_undone(swept: Callable, database: servers.Database) -> None:
    assert swept("retry", "--env", "prod", "--since", "1d").code == 0
    (change,) = swept("history", "--json", "--limit", "1").document
    assert (change["event"], change["key"], change["actor"]) == ("jobs.retried", ["6"], by_hand.caller())
    assert swept("undo", "--env", "prod", "--id", str(change["id"])).code == 0
    assert database.value("SELECT status FROM jobs WHERE id = 6") == "failed"


def test_only_the_environments_own_changes_are_taken_back(
    swept: Callable, database: servers.Database
) -> None:
    named = {"QUEUEWARDEN_ENV__LIVE__DSN": database.dsn}
    nothing = swept("undo", "--env", "live", "--since", "10m", **named)
    assert nothing.code == 1
    assert nothing.out == "live: 0 put back, 0 refused\n"
    assert statuses(database) == REPAIRED


def test_long_lists_are_cut(swept: Callable, database: servers.Database) -> None:
    database.execute(
        "INSERT INTO jobs (id, status, worker, started_at)"
        " SELECT 100 + n, 'running', 'w', now() - interval '1 h' FROM generate_series(1, 30) AS n"
    )
    swept("reset", "--env", "prod", "--worker", "w")
    called = swept("undo", "--env", "prod", "--since", "10m")
    assert called.out.startswith("prod: 33 put back, 0 refused\n")
    assert "    and 13 more\n" in called.out


@pytest.mark.parametrize(
    "arguments",
    [
        ("--env", "prod"),
        ("--env", "prod", "--id", "1", "--since", "1h"),
        ("--env", "prod", "--sweep", "x", "--since", "1h"),
        ("--id", "1"),
        ("--env", "prod", "--id", "one"),
        ("--env", "prod", "--env", "live", "--id", "1"),
    ],
)
def test_the_changes_must_be_named_in_one_way(
    swept: Callable, database: servers.Database, arguments: tuple[str, ...]
) -> None:
    assert swept("undo", *arguments, QUEUEWARDEN_ENV__LIVE__DSN=database.dsn).code == 2
    assert statuses(database) == REPAIRED


def test_exit_codes(swept: Callable, call: Callable, database: servers.Database) -> None:
    assert swept("undo", "--env", "prod", "--sweep", "nosuch").code == 1
    unknown = swept("undo", "--env", "prod", "--id", "99")
    assert unknown.code != 0
    assert "the ledger has no change 99" in unknown.err
    lost = call("undo", "--env", "prod", "--id", "1", **({"QUEUEWARDEN_ENV__PROD__DSN": UNREACHABLE} | MAIL))
    assert (lost.code, lost.out) == (69, "")
    database.execute("DROP SCHEMA queuewarden CASCADE")
    none = swept("undo", "--env", "prod", "--id", "1")
    assert none.code == 69
    assert "run `queuewarden install --env prod`" in none.err


def test_what_was_put_back_is_told_although_one_id_is_unknown(
    swept: Callable, database: servers.Database
) -> None:
    called = swept("undo", "--env", "prod", "--id", "1", "--id", "99")
    assert called.code != 0
    assert "the ledger has no change 99" in called.err
    assert statuses(database)[1] == "running"
    assert "1 put back" in called.out
