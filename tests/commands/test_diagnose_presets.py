"""A diagnosis that knows the preset: its version, who rescues first, its indexes, its rights, its mode."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from library_schemas import ddl
from psycopg.conninfo import make_conninfo

if TYPE_CHECKING:
    from collections.abc import Callable

    import servers
    from commands_kit import Called


@pytest.fixture
def diagnosed(call: Callable[..., Called], databases: Callable[..., servers.Database]) -> Any:
    """What is said of a library's queue, topic by topic; statements are run first."""

    def look(
        name: str, statement: str = "", dsn: str = "", **settings: str
    ) -> dict[str, list[dict[str, Any]]]:
        database = databases(ddl(name))
        if statement:
            database.execute(statement)
        queue = f"QUEUEWARDEN_QUEUE__{name.upper()}"
        given = {f"{queue}__PRESET": name} | {f"{queue}__{key}": value for key, value in settings.items()}
        called = call("diagnose", "--json", QUEUEWARDEN_ENV__PROD__DSN=dsn or database.dsn, **given)
        found: dict[str, list[dict[str, Any]]] = {"code": called.code}  # type: ignore[dict-item]
        for remark in called.document["environments"]["prod"]["remarks"]:
            found.setdefault(remark["topic"], []).append(remark)
        return found

    return look


def texts(remarks: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(one["level"], one["text"]) for one in remarks]


def test_an_unchanged_library(diagnosed: Any) -> None:
    found = diagnosed("oban")
    assert found["code"] == 0
    version, rescue = texts(found["preset"])
    assert version == (
        "ok",
        "Oban, version 14: read against versions >=2.21, <3, by its documented schema alone",
    )
    assert rescue[0] == "ok"
    assert rescue[1].startswith(
        "Oban's own remedy acts after 1h, before ours, which finds what that left over"
    )
    (mode,) = (one for one in found["brakes"] if "MODE" in one["text"])
    assert mode["text"].startswith("MODE=observe, the preset's own (by its documented schema alone)")
    assert mode["remedy"] == ["to have it repaired, set QUEUEWARDEN_ENV__PROD__QUEUE__OBAN__MODE=repair"]


def test_drift_is_wrong_and_told_once(diagnosed: Any) -> None:
    found = diagnosed("river", "ALTER TYPE river_job_state ADD VALUE 'interrupted'", MODE="repair")
    assert found["code"] == 1
    (wrong,) = (one for one in found["mapping"] if one["level"] == "wrong")
    assert wrong["text"].startswith(
        "preset river does not fit public.river_job: state has an unknown label 'interrupted' (read against"
    )
    assert "until it fits, the queue is only observed" in wrong["remedy"][0]
    assert texts(found["indexes"]) == [("info", "looked at once mapping and rights fit")]


def test_a_limit_that_comes_before_the_library_s_own_where_nothing_tells_of_life(diagnosed: Any) -> None:
    (_, early) = diagnosed("river", STUCK_AFTER="10m")["preset"]
    assert early["level"] == "advice"
    assert early["text"].startswith("STUCK_AFTER=10m comes first (River's own remedy acts after 1h)")
    assert early["remedy"] == [
        "set QUEUEWARDEN_ENV__PROD__QUEUE__RIVER__STUCK_AFTER above your longest job, or above 1h"
    ]


def test_where_something_does_it_is_only_told(diagnosed: Any) -> None:
    (_, early) = diagnosed("good_job", DEAD_AFTER="2m")["preset"]
    assert (early["level"], early["text"]) == (
        "info",
        "DEAD_AFTER=2m comes first: GoodJob's own remedy acts after 5m",
    )


def test_an_application_that_rescues_by_itself(diagnosed: Any) -> None:
    quiet = "INSERT INTO procrastinate_jobs (queue_name, task_name) VALUES ('q', 'send_mail')"
    assert len(diagnosed("procrastinate", quiet)["preset"]) == 2
    found = diagnosed(
        "procrastinate",
        "INSERT INTO procrastinate_periodic_defers (task_name, defer_timestamp)"
        " VALUES ('app.retry_stalled_jobs', 1), ('app.clean', 1);"
        "INSERT INTO procrastinate_jobs (queue_name, task_name) VALUES ('q', 'requeue_stalled'), ('q', 'x')",
    )
    both = found["preset"][-1]
    assert both["facts"] == {"tasks": ["app.retry_stalled_jobs", "requeue_stalled"]}
    assert both["text"].startswith(
        "the application runs app.retry_stalled_jobs, requeue_stalled, by its name"
    )


def test_indexes_on_a_library_s_table(diagnosed: Any) -> None:
    missing, there = diagnosed("procrastinate")["indexes"]
    assert missing["level"] == "advice"
    assert missing["text"] == (
        "none serves counting failures: it would be an index of yours on the table of Procrastinate"
    )
    assert there["text"].startswith("already there: ")
    assert "idx_procrastinate_jobs_worker_not_null" in there["text"]
    assert texts(diagnosed("que")["indexes"]) == [("ok", "none is needed")]


def test_what_a_repair_does_and_what_nothing_repairs(diagnosed: Any) -> None:
    texts_ = [one["text"] for one in diagnosed("procrastinate", MODE="repair")["brakes"]]
    assert any(
        one.startswith("MODE=repair: calls procrastinate_retry_job_v2") and "; side effects: " in one
        for one in texts_
    )
    (never,) = (one for one in diagnosed("solid_queue")["brakes"] if "MODE" in one["text"])
    assert never["text"] == "nothing is repaired, whatever MODE says; it reports it"
    assert never["remedy"] == []


def test_rights_and_the_search_path_come_with_their_statements(
    call: Callable[..., Called], databases: Callable[..., servers.Database]
) -> None:
    """Line by line as printed, they suffice."""
    database = databases()
    with database.connect() as connection:
        connection.execute("CREATE SCHEMA app; SET search_path = app")
        connection.execute(ddl("procrastinate"))
    role = f"{database.name}_role"
    database.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'role'")
    queue = "QUEUEWARDEN_QUEUE__PROCRASTINATE"
    settings = {
        "QUEUEWARDEN_ENV__PROD__DSN": make_conninfo(database.dsn, user=role, password="role"),
        f"{queue}__PRESET": "procrastinate",
        f"{queue}__JOBS__TABLE": "app.procrastinate_jobs",
        f"{queue}__WORKERS__TABLE": "app.procrastinate_workers",
        f"{queue}__STARTS__TABLE": "app.procrastinate_events",
    }
    try:
        asked = []
        for _ in range(4):
            remarks = call("diagnose", "--json", **settings).document["environments"]["prod"]["remarks"]
            asked = [line for one in remarks if one["level"] == "wrong" for line in one["remedy"]]
            if not asked:
                break
            for line in asked:
                assert line.startswith(("GRANT ", "ALTER ROLE "))
                database.execute(line)
        assert asked == []
        assert call("check", **settings).code == 0
    finally:
        database.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
