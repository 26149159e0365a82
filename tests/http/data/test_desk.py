"""What requests may take from databases, and that nothing is left behind."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import kit
import pytest
from commands_kit import MAIL
from eventually import eventually

from queuewarden.application.http.data import desk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import servers
    from served import Served

NAMED = {name.removeprefix("QUEUEWARDEN_"): value for name, value in MAIL.items()}


@pytest.fixture
def frozen(own_server: servers.OwnServer) -> Iterator[servers.Database]:
    with own_server.database(kit.SCHEMA) as database:
        yield database
        own_server.thaw()


def sessions(database: servers.Database) -> int:
    found = database.value(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'queuewarden/%%'"
        " AND datname = current_database() AND %s",
        (True,),
    )
    assert isinstance(found, int)
    return found


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_request_takes_a_connection_of_its_own_and_gives_it_back(
    mail: Callable[..., Served], database: servers.Database
) -> None:
    served = mail()
    before = sessions(database)
    for path in ("jobs", "workers", "errors", "history", "report", "consistency", "export"):
        assert served.get(f"/api/{path}").status == 200
    eventually(lambda: sessions(database) == before)


VIEW = (
    "ALTER TABLE jobs RENAME TO rows_of_jobs;"
    " CREATE FUNCTION peek() RETURNS text LANGUAGE sql VOLATILE AS $${}$$;"
    " CREATE VIEW jobs AS SELECT id, status, worker, started_at, heartbeat, enqueued_at, finished_at,"
    " attempts, peek() AS error, label, lane FROM rows_of_jobs;"
    " INSERT INTO rows_of_jobs (id) VALUES (1)"
)
"""A queue whose errors are what a function says."""
HELD = (
    "CREATE FUNCTION held() RETURNS text LANGUAGE plpgsql VOLATILE AS $$ BEGIN"
    " WHILE NOT pg_try_advisory_xact_lock_shared(1) LOOP PERFORM pg_sleep(0.02); END LOOP;"
    " RETURN ''; END $$;"
)
"""A function that takes as long as somebody holds a lock."""


def test_statements_of_requests_are_read_only_and_short(
    mail: Callable[..., Served], database: servers.Database
) -> None:
    settings = "current_setting('transaction_read_only') || ' ' || current_setting('statement_timeout')"
    database.execute(VIEW.format(f"SELECT {settings}"))
    served = mail(MODE="observe")
    (job,) = served.json("/api/jobs")["jobs"]
    assert job["error"] == "on 10s"


def test_two_at_once_and_the_third_waits_for_its_turn(
    mail: Callable[..., Served],
    database: servers.Database,
    desk_of: Callable[[Served], desk.Desk],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    database.execute(HELD + VIEW.format("SELECT public.held()"))
    served = mail(MODE="observe")
    before = sessions(database)
    turns = desk_of(served)._turns
    answers: list[Any] = []

    def ask(number: int) -> list[threading.Thread]:
        ones = [
            threading.Thread(target=lambda: answers.append(served.get("/api/jobs"))) for _ in range(number)
        ]
        for one in ones:
            one.start()
        return ones

    with database.connect() as holder:
        holder.execute("SELECT pg_advisory_lock(1)")
        monkeypatch.setattr(desk, "PATIENCE", 60.0)
        threads = ask(5)
        eventually(lambda: turns and len(turns["prod"]._waiters or ()) == 3, what="three that wait")
        eventually(lambda: sessions(database) == before + 2)
        monkeypatch.setattr(desk, "PATIENCE", 0.3)
        refused = served.get("/api/jobs")
        assert refused.status == 503
        assert "too many requests" in refused.json["error"]["message"]
        assert sessions(database) == before + 2
        holder.execute("SELECT pg_advisory_unlock(1)")
        for thread in threads:
            thread.join()
    assert [answer.status for answer in answers] == [200] * 5


def test_a_frozen_server_does_not_hold_an_answer_for_ever(
    serve: Callable[..., Served],
    database: servers.Database,
    frozen: servers.Database,
    own_server: servers.OwnServer,
) -> None:
    served = serve(
        {"ENV__PROD__DSN": database.dsn, "ENV__COLD__DSN": frozen.dsn, "STATEMENT_TIMEOUT": "1s"} | NAMED
    )
    database.execute("INSERT INTO jobs (id) VALUES (1)")
    assert served.get("/api/jobs", env="cold").status == 200
    own_server.freeze()
    begun = time.monotonic()
    document = served.json("/api/jobs")
    assert time.monotonic() - begun < 14
    assert [job["environment"] for job in document["jobs"]] == ["prod"]
    assert [one["environment"] for one in document["errors"]] == ["cold"]


@pytest.mark.parametrize("path", ["/api/jobs", "/api/export", "/api/consistency"])
def test_a_client_that_goes_away_from_a_frozen_server_leaves_nothing(
    serve: Callable[..., Served], frozen: servers.Database, own_server: servers.OwnServer, path: str
) -> None:
    served = serve({"ENV__COLD__DSN": frozen.dsn} | NAMED)
    with frozen.connect(autocommit=False) as holder:
        holder.execute("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE")
        before = descriptors()
        connection = served.connect()
        connection.request("GET", path, headers={"Authorization": "Bearer read-token-of-the-tests"})
        eventually(lambda: sessions(frozen) == 2)
        own_server.freeze()
        try:
            connection.close()
            # No timeout of the server's can strike: it sleeps.
            eventually(lambda: descriptors() <= before)
        finally:
            own_server.thaw()


@pytest.mark.parametrize("path", ["/api/jobs", "/api/export"])
def test_a_client_that_goes_away_while_a_connection_is_made_leaves_nothing(
    serve: Callable[..., Served], frozen: servers.Database, own_server: servers.OwnServer, path: str
) -> None:
    served = serve({"ENV__COLD__DSN": frozen.dsn, "CONNECT_TIMEOUT": "12s"} | NAMED)
    before = descriptors()
    own_server.freeze()
    try:
        connection = served.connect()
        connection.request("GET", path, headers={"Authorization": "Bearer read-token-of-the-tests"})
        eventually(lambda: descriptors() >= before + 3)
        connection.close()
        eventually(lambda: descriptors() <= before, seconds=5)
    finally:
        own_server.thaw()


def test_many_environments_at_once_are_all_answered(
    serve: Callable[..., Served], database: servers.Database
) -> None:
    database.execute("INSERT INTO jobs (id) VALUES (1)")
    names = [f"e{n:02}" for n in range(30)]
    served = serve({f"ENV__{name.upper()}__DSN": database.dsn for name in names} | NAMED)
    for path, list_ in (("jobs", "jobs"), ("errors", "errors"), ("report", "throughput")):
        document = served.json(f"/api/{path}")
        assert document["errors"] == []
        if list_ != "errors":
            assert [one["environment"] for one in document[list_]] == names
    assert len(served.json("/api/export")) == 30


def test_a_table_that_is_locked_is_told_of(mail: Callable[..., Served], database: servers.Database) -> None:
    served = mail(STATEMENT_TIMEOUT="1s", MODE="observe")
    database.execute("INSERT INTO jobs (id, label) VALUES (1, 'x')")
    with database.connect(autocommit=False) as holder:
        holder.execute("LOCK TABLE workers IN ACCESS EXCLUSIVE MODE")
        document = served.json("/api/workers")
    assert document["workers"] == []
    assert document["errors"][0]["message"] == "its table is locked just now: ask again"
