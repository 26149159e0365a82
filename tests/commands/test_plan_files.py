"""`repair --dry-run --out` and `--plan`: exactly what was planned, to rows that have not changed since."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from commands_kit import LANES, MESS, versions_of_rows

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import servers

NO_GRACE = "--no-grace"
LANE = """
INSERT INTO jobs (id, status, lane, position) VALUES
    (21, 'waiting', 7, 5), (22, 'waiting', 7, 5), (31, 'waiting', 8, 1), (32, 'waiting', 8, 1);
"""


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    return tmp_path / "plan.json"


@pytest.fixture
def made(mail: Callable, database: servers.Database, plan: Path) -> Path:
    """A plan of all that is wrong."""
    mail("install")
    database.execute(MESS + LANE)
    before = versions_of_rows(database)
    called = mail("repair", NO_GRACE, "--dry-run", "--out", str(plan), **LANES)
    assert called.code == 1
    assert versions_of_rows(database) == before
    return plan


def rows(database: servers.Database) -> list[Any]:
    return database.rows("SELECT id, status, worker, position, finished_at FROM jobs ORDER BY id")


def planned(plan: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(plan.read_text())["environments"]["prod"]["findings"]
    return found


def test_a_plan_is_for_its_owner_alone_and_says_before_and_after(made: Path) -> None:
    assert made.stat().st_mode & 0o777 == 0o600
    one = next(row for row in planned(made) if row["key"] == ["1"])
    assert (one["check"], one["before"]["status"], one["after"]["status"]) == (
        "dead_workers", "running", "waiting",
    )  # fmt: skip
    assert one["after"]["worker"] is None


@pytest.mark.versions
def test_a_plan_applied_makes_of_each_row_what_it_says(
    mail: Callable, database: servers.Database, made: Path
) -> None:
    called = mail("repair", NO_GRACE, "--plan", str(made), **LANES)
    assert called.code == 0, called.out + called.err
    for row in planned(made):
        columns = ", ".join(f"{name}::text" for name in row["after"])
        (now,) = database.rows(f"SELECT {columns} FROM {row['table']} WHERE id::text = %s", row["key"])
        assert dict(zip(row["after"], now, strict=True)) == row["after"]
    booked = database.value("SELECT sum(last_id - first_id + 1) FROM queuewarden.changes")
    assert booked == len(planned(made))


def test_rows_that_have_changed_since_are_refused_and_named(
    mail: Callable, database: servers.Database, made: Path
) -> None:
    database.execute("UPDATE jobs SET label = 'touched' WHERE id = 2")
    called = mail("repair", NO_GRACE, "--plan", str(made), **LANES)
    assert called.code == 1
    assert database.value("SELECT status FROM jobs WHERE id = 2") == "running"
    assert database.value("SELECT status FROM jobs WHERE id = 1") == "waiting"
    assert "has changed since: label" in called.out


def test_a_worker_that_has_beaten_since_keeps_its_jobs_though_their_rows_are_the_same(
    mail: Callable, database: servers.Database, made: Path
) -> None:
    database.execute("UPDATE workers SET heartbeat = now() WHERE id = 'dead'")
    mail("repair", NO_GRACE, "--plan", str(made), **LANES)
    assert database.value("SELECT status FROM jobs WHERE id = 1") == "running"
    assert database.value("SELECT status FROM workers WHERE id = 'dead'") == "busy"


def test_a_job_that_is_locked_is_refused_and_its_worker_is_not_marked(
    mail: Callable, database: servers.Database, made: Path
) -> None:
    with database.connect(autocommit=False) as holder:
        holder.execute("SELECT FROM jobs WHERE id = 1 FOR UPDATE")
        called = mail("repair", NO_GRACE, "--plan", str(made), **LANES)
    assert called.code == 1
    assert database.value("SELECT status FROM jobs WHERE id = 1") == "running"
    assert database.value("SELECT status FROM workers WHERE id = 'dead'") == "busy"


def test_a_lane_that_has_gained_a_job_is_left_as_a_whole(
    mail: Callable, database: servers.Database, made: Path
) -> None:
    database.execute("INSERT INTO jobs (id, status, lane, position) VALUES (23, 'waiting', 7, 1)")
    called = mail("repair", NO_GRACE, "--plan", str(made), **LANES)
    assert "its lane has changed" in called.out
    positions = dict(database.rows("SELECT id, position FROM jobs WHERE id > 20"))
    assert positions == {21: 5, 22: 5, 23: 1, 31: 1, 32: 2}


def test_a_plan_applied_twice_does_nothing_the_second_time(
    mail: Callable, database: servers.Database, made: Path
) -> None:
    mail("repair", NO_GRACE, "--plan", str(made), **LANES)
    after = versions_of_rows(database)
    called = mail("repair", NO_GRACE, "--plan", str(made), "--json", **LANES)
    assert called.code == 1
    assert called.document["repaired"] == 0
    assert versions_of_rows(database) == after


def test_grace_and_observe_bind_a_plan_as_they_bind_a_repair(
    mail: Callable, database: servers.Database, made: Path
) -> None:
    before = versions_of_rows(database)
    called = mail("repair", NO_GRACE, "--plan", str(made), QUEUEWARDEN_MODE="observe", **LANES)
    assert called.code == 1
    assert versions_of_rows(database) == before
    mail("repair", "--plan", str(made), QUEUEWARDEN_DEAD_AFTER="1d", **LANES)
    assert database.value("SELECT status FROM jobs WHERE id = 1") == "running"


def test_a_plan_of_another_database_is_refused(mail: Callable, databases: Callable, made: Path) -> None:
    other = databases()
    called = mail("repair", NO_GRACE, "--plan", str(made), QUEUEWARDEN_ENV__PROD__DSN=other.dsn)
    assert called.code == 69
    assert "another database" in called.err


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"format": "queuewarden plan 2"}', '{"format": "queuewarden plan 1"}',
             '{"format": "queuewarden plan 1", "environments": {"prod": {"findings": 7}}}', "\0", "[" * 9999],
)  # fmt: skip
def test_what_is_no_plan_is_refused_in_one_line(mail: Callable, plan: Path, text: str) -> None:
    plan.write_text(text)
    called = mail("repair", "--plan", str(plan))
    assert called.code == 2
    assert "Traceback" not in called.err
    assert str(plan) in called.err.replace("\n", "")


def test_a_damaged_row_is_refused_before_anything_is_written(
    mail: Callable, database: servers.Database, made: Path
) -> None:
    document = json.loads(made.read_text())
    document["environments"]["prod"]["findings"][0]["after"]["status"] = 5
    made.write_text(json.dumps(document))
    before = versions_of_rows(database)
    assert mail("repair", NO_GRACE, "--plan", str(made), **LANES).code == 2
    assert versions_of_rows(database) == before


@pytest.mark.parametrize(
    "arguments", [("--out", "x"), ("--plan", "{plan}", "--dry-run"), ("--plan", "{plan}", "--only", "lanes")]
)
def test_options_that_do_not_go_together(mail: Callable, made: Path, arguments: tuple[str, ...]) -> None:
    assert mail("repair", *(one.format(plan=made) for one in arguments)).code == 2


def test_an_undo_takes_a_plan_back(mail: Callable, database: servers.Database, made: Path) -> None:
    before = rows(database)
    mail("repair", NO_GRACE, "--plan", str(made), **LANES)
    assert rows(database) != before
    assert mail("undo", "--env", "prod", "--since", "1h").code == 0
    assert rows(database) == before
