from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import ledgers
import pytest
from commands_kit import MESS, UNREACHABLE, versions_of_rows
from eventually import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    import servers
    from served import Served

    from queuewarden.application.http.data.desk import Desk


@pytest.fixture
def database(databases: Callable[..., servers.Database]) -> servers.Database:
    return databases(ledgers.SCHEMA)


def lanes_in_disorder(database: servers.Database) -> None:
    database.execute(
        "INSERT INTO jobs (lane, position, enqueued_at)"
        " SELECT lane, 1, now() + n * interval '1 second'"
        " FROM generate_series(1, 2) AS lane, generate_series(1, 3) AS n"
    )


def positions(database: servers.Database, lane: int) -> list[int]:
    return [one for (one,) in database.rows(f"SELECT position FROM jobs WHERE lane = {lane} ORDER BY id")]


def test_f1_the_check_finds_and_writes_nothing(
    mail: Callable[..., Served], database: servers.Database
) -> None:
    served = mail()
    database.execute(MESS)
    before = versions_of_rows(database)
    document = served.json("/api/consistency")
    assert versions_of_rows(database) == before
    assert (document["isValid"], document["fixed"], document["errors"]) == (False, 0, [])
    found = {(one["check"], one["id"]) for one in document["issues"]}
    assert {("dead_workers", "1"), ("stuck_jobs", "2"), ("timestamps", "5")} <= found
    assert document["found"] == document["left"] == len(document["issues"])
    assert database.value("SELECT count(*) FROM queuewarden.changes") == 0


def test_what_is_in_order_is_valid(mail: Callable[..., Served]) -> None:
    served = mail()
    expected = {"isValid": True, "issues": [], "fixed": 0, "found": 0, "left": 0, "errors": []}
    assert served.json("/api/consistency") == expected
    answer = served.post("/api/consistency")
    assert answer.json == expected | {"message": "nothing was written, 0 rows at fault"}


def test_f12_a_repair_that_repairs_everything_says_valid(
    mail: Callable[..., Served], database: servers.Database
) -> None:
    served = mail()
    database.execute(MESS)
    document = served.post("/api/consistency").json
    assert (document["isValid"], document["issues"], document["left"]) == (True, [], 0)
    assert document["fixed"] >= 4
    assert document["message"].startswith(f"{document['fixed']} rows repaired, 0 left")
    assert served.json("/api/consistency")["isValid"]
    changes = ledgers.changes(database)
    assert {one.actor for one in changes} == {"http (write token)"}
    assert len(changes) == document["fixed"]


def test_f2_the_repair_of_one_lane_repairs_it_and_leaves_the_other(
    mail: Callable[..., Served], database: servers.Database
) -> None:
    served = mail(lanes=True)
    lanes_in_disorder(database)
    document = served.json("/api/consistency", lane="2")
    assert {one["lane"] for one in document["issues"]} == {"2"}
    document = served.post("/api/consistency", lane="2").json
    assert (document["isValid"], positions(database, 2)) == (True, [1, 2, 3])
    answer = served.post("/api/consistency", lane="3")
    assert answer.status == 404
    assert "1" in answer.json["error"]["message"]


def test_f2_the_other_lane_stays_as_it_was(mail: Callable[..., Served], database: servers.Database) -> None:
    served = mail(lanes=True, MODE="observe")
    lanes_in_disorder(database)
    before = versions_of_rows(database)
    document = served.post("/api/consistency", lane="2").json
    assert versions_of_rows(database) == before
    assert (document["isValid"], document["fixed"]) == (False, 0)
    assert {one["lane"] for one in document["issues"]} == {"2"}


@pytest.mark.parametrize(
    ("settings", "pause", "why"),
    [
        ({"MODE": "observe"}, False, "prod/mail: its mode is observe"),
        ({}, True, "prod: pause: until we know more (by anna)"),
    ],
)
def test_where_nothing_may_be_written_the_answer_says_why(
    mail: Callable[..., Served],
    database: servers.Database,
    settings: dict[str, str],
    pause: bool,  # noqa: FBT001 -- a parameter of the test
    why: str,
) -> None:
    served = mail(**settings)
    if pause:
        database.execute(
            "INSERT INTO queuewarden.pauses (environment, reason, set_by, until)"
            " VALUES ('prod', 'until we know more', 'anna', now() + interval '1 hour')"
        )
    database.execute(MESS)
    before = versions_of_rows(database)
    document = served.post("/api/consistency").json
    assert versions_of_rows(database) == before
    assert (document["isValid"], document["fixed"]) == (False, 0)
    assert document["message"].startswith("nothing was written")
    assert why in document["message"]


def test_a_queue_that_does_not_fit_is_not_valid(
    mail: Callable[..., Served], database: servers.Database
) -> None:
    served = mail()
    database.execute("ALTER TABLE jobs RENAME COLUMN error TO mistake")
    document = served.json("/api/consistency")
    assert not document["isValid"]
    assert "no column error" in document["errors"][0]["message"]


def test_a_database_that_is_down_makes_it_invalid(
    mail: Callable[..., Served], database: servers.Database
) -> None:
    served = mail(ENV__STAGING__DSN=UNREACHABLE)
    document = served.json("/api/consistency")
    assert not document["isValid"]
    assert document["errors"] == [{"environment": "staging", "queue": None, "message": "connection refused"}]
    assert served.get("/api/consistency", env="staging").status == 503
    assert served.post("/api/consistency", env="staging").status == 503


def test_only_one_repair_at_a_time(
    mail: Callable[..., Served], database: servers.Database, desk_of: Callable[[Served], Desk]
) -> None:
    served = mail()
    database.execute(MESS)
    answers: list[Any] = []
    repairing = desk_of(served).repairing
    with database.connect(autocommit=False) as holder:
        # What another guard holds, the first repair waits for.
        holder.execute("SELECT pg_advisory_xact_lock(1903519604, 1)")
        first = threading.Thread(target=lambda: answers.append(served.post("/api/consistency")))
        first.start()
        eventually(lambda: repairing, what="the first repair")
        assert served.post("/api/consistency").status == 409
    first.join()
    assert answers[0].status == 200
    assert answers[0].json["isValid"]
    assert served.post("/api/consistency").status == 200


def test_a_repair_is_told_in_the_log_with_who_asked(
    mail: Callable[..., Served], database: servers.Database, capsys: pytest.CaptureFixture[str]
) -> None:
    from queuewarden.adapters import logging

    logging.configure("info", "json")
    served = mail()
    database.execute(MESS)
    served.post("/api/consistency", queue="mail")
    told = capsys.readouterr().err
    assert '"event":"http.acted"' in told.replace('": "', '":"')
    assert "http (write token)" in told
    assert "jobs.reset" in told
