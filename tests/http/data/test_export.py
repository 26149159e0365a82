from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import ledgers
import pytest
from commands_kit import MESS, UNREACHABLE
from eventually import eventually

from queuewarden.application.http.data.csv_text import cell, lines

if TYPE_CHECKING:
    from collections.abc import Callable

    import servers
    from served import Served


@pytest.fixture
def database(databases: Callable[..., servers.Database]) -> servers.Database:
    return databases(ledgers.SCHEMA)


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+1", "@SUM(A1)", "-1+cmd|' /C calc'!A0", "\t=1", "\r=1", "\n=1", "  =1", "\u00a0=1", "\ufeff=1",
     "\uff1d1", "\uff0d1", "-", "--1", "-1e", "-\u0661", "- 1"],
)  # fmt: skip
def test_no_cell_is_a_formula(text: str) -> None:
    assert cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["-1", "-1.5", "-2e10", "1", "a=1", "", "x@y", "'=1", "2031-01-01", "a-b"])
def test_what_is_none_stays_as_it_is(text: str) -> None:
    assert cell(text) == text


def test_values_as_cells() -> None:
    values = [None, True, False, -3, 1.5, {"a": None}, ["=x"], "a,b", 'say "x"', "two\nlines"]
    text = lines([values])
    assert text.endswith("\r\n")
    (row,) = csv.reader(io.StringIO(text, newline=""))
    expected = ["", "true", "false", "-3", "1.5", '{"a": null}', '["=x"]', "a,b", 'say "x"', "two\nlines"]
    assert row == expected


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


@pytest.mark.parametrize(
    ("what", "filter_"), [("workers", "since"), ("alerts", "state"), ("jobs", "check"), ("history", "lane")]
)
def test_a_filter_that_rows_have_not_is_refused(mail: Callable[..., Served], what: str, filter_: str) -> None:
    value = {"since": "1h", "state": "failed", "check": "lanes", "lane": "1"}[filter_]
    assert mail().get("/api/export", what=what, **{filter_: value}).status == 422


def test_findings_of_one_check(mail: Callable[..., Served], database: servers.Database) -> None:
    served = mail()
    database.execute(MESS)
    found = served.json("/api/export", what="findings", check="timestamps")
    assert {one["check"] for one in found} == {"timestamps"}


def test_findings_that_are_not_all_listed_are_not_taken_for_all(
    mail: Callable[..., Served], database: servers.Database
) -> None:
    served = mail()
    database.execute(
        "INSERT INTO jobs (status, started_at) SELECT 'done', now() FROM generate_series(1, 1001)"
    )
    answer = served.get("/api/export", what="findings", format="csv")
    assert b"# incomplete" in answer.body
    found = served.get("/api/export", what="findings", format="csv", check="orphans")
    assert b"# incomplete" not in found.body


def test_all_jobs_as_json_and_as_csv(mail: Callable[..., Served], database: servers.Database) -> None:
    database.execute(
        "INSERT INTO jobs (id, label, error)"
        " SELECT n, '=evil' || n, E'two\\nlines; \"x\", ☃' FROM generate_series(1, 1234) AS n"
    )
    served = mail()
    answer = served.get("/api/export")
    rows = answer.json
    assert [int(row["id"]) for row in rows] == list(range(1, 1235))
    assert rows[0]["label"] == "=evil1"
    assert answer.headers["content-type"].startswith("application/json")
    assert re.fullmatch(
        r'attachment; filename="queuewarden-jobs-\d{8}T\d{6}Z\.json"', answer.headers["content-disposition"]
    )
    answer = served.get("/api/export", format="csv")
    assert answer.headers["content-type"].startswith("text/csv")
    told = table(answer.body.decode())
    assert len(told) == 1234
    assert list(told[0]) == list(rows[0])
    assert told[7]["label"] == "'=evil8"
    assert told[7]["error"] == 'two\nlines; "x", ☃'
    assert len(served.json("/api/export", state="done")) == 0
    assert served.get("/api/export", queue="nonsense").status == 404
    assert served.get("/api/export", since="nonsense").status == 422
    assert served.get("/api/export", what="nonsense").status == 422


def test_an_empty_export_is_whole(mail: Callable[..., Served]) -> None:
    served = mail()
    for what in ("jobs", "alerts", "history", "findings", "workers"):
        assert served.json("/api/export", what=what) == []
        body = served.get("/api/export", what=what, format="csv").body.decode()
        assert body.startswith(("environment,", "id,"))
        assert table(body) == []


def test_g8_alerts_history_findings_and_workers(
    mail: Callable[..., Served], database: servers.Database
) -> None:
    served = mail(
        lanes=True, RULE__MANY__METRIC="waiting_jobs", RULE__MANY__THRESHOLD="0", ENV__GONE__DSN=UNREACHABLE
    )
    database.execute(MESS)
    findings = served.json("/api/export", what="findings", env="prod")
    assert {("dead_workers", "1"), ("stuck_jobs", "2")} <= {(one["check"], one["id"]) for one in findings}
    assert served.post("/api/consistency", env="prod").json["fixed"] > 0
    history = served.json("/api/export", what="history", env="prod")
    assert len(history) == database.value("SELECT sum(last_id - first_id + 1) FROM queuewarden.changes")
    workers = served.json("/api/export", what="workers", env="prod")
    assert {one["id"] for one in workers} == {"alive", "dead"}
    served.sweep()

    def alerts() -> list[dict[str, str]]:
        # Others may fire meanwhile, of the environment that is down.
        found: list[dict[str, str]] = served.json("/api/export", what="alerts", env="prod")
        return found

    eventually(lambda: "many" in {one["rule"] for one in alerts()})
    text = served.get("/api/export", what="alerts", format="csv", env="prod").body.decode()
    assert "many" in {one["rule"] for one in table(text)}
    assert len(table(text)) == len(alerts())
    assert len(
        table(served.get("/api/export", what="history", format="csv", env="prod").body.decode())
    ) == len(history)


def test_an_environment_that_is_down_at_first_is_an_error(mail: Callable[..., Served]) -> None:
    served = mail(ENV__AWAY__DSN=UNREACHABLE)
    answer = served.get("/api/export")
    assert answer.status == 503
    assert "connection refused" in answer.json["error"]["message"]


def fill(database: servers.Database, count: int) -> None:
    database.execute(
        "INSERT INTO jobs (id, label, error) SELECT n, repeat('x', 100), repeat('y', 300)"
        f" FROM generate_series(1, {count}) AS n"
    )


@pytest.mark.parametrize("format_", ["json", "csv"])
def test_an_export_that_breaks_off_cannot_be_taken_for_whole(
    mail: Callable[..., Served], database: servers.Database, format_: str
) -> None:
    # By name the second one comes behind, and is down by then.
    database.execute("INSERT INTO jobs (id) SELECT generate_series(1, 700)")
    served = mail(ENV__STAGING__DSN=UNREACHABLE)
    answer = served.get("/api/export", format=format_)
    text = answer.body.decode()
    assert answer.status == 200
    if format_ == "json":
        with pytest.raises(json.JSONDecodeError):
            json.loads(text)
        assert json.loads(text.strip().splitlines()[-1])["error"]["status"] == 503
    else:
        last = text.strip().splitlines()[-1]
        assert last.startswith("# incomplete")
        assert "connection refused" in last
    assert text.count("prod") == 700


def test_a_table_that_changes_amid_an_export_breaks_it_off(
    mail: Callable[..., Served], database: servers.Database
) -> None:
    fill(database, 30_000)
    served = mail()
    connection = served.connect()
    connection.request("GET", "/api/export", headers={"Authorization": "Bearer read-token-of-the-tests"})
    response = connection.getresponse()
    assert response.read(1000)
    database.execute("ALTER TABLE jobs RENAME COLUMN label TO title")
    rest = response.read()
    connection.close()
    assert b"database error 42703" in rest[-400:]
    assert not rest.rstrip().endswith(b"]")


def sessions(database: servers.Database, role: str = "queuewarden/prod") -> int:
    found = database.value(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s AND datname = current_database()",
        (role,),
    )
    assert isinstance(found, int)
    return found


def test_whoever_goes_away_leaves_no_connection_behind(
    mail: Callable[..., Served], database: servers.Database
) -> None:
    fill(database, 100_000)
    served = mail()
    before = sessions(database)
    connection = served.connect()
    connection.request("GET", "/api/export", headers={"Authorization": "Bearer read-token-of-the-tests"})
    response = connection.getresponse()
    assert response.read(1000)
    assert sessions(database) == before + 1
    answer = served.get("/api/export")
    assert answer.status == 503
    assert "under way" in answer.json["error"]["message"]
    assert served.get("/api/jobs").status == 200
    response.close()
    connection.close()
    eventually(lambda: sessions(database) == before)
    assert served.get("/api/export", state="done").status == 200


def resident() -> int:
    """Bytes of this process's memory."""
    (line,) = [one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith("VmRSS")]
    return int(line.split()[1]) * 1024


def test_memory_stays_flat_over_100_000_rows(mail: Callable[..., Served], database: servers.Database) -> None:
    fill(database, 100_000)
    served = mail()
    connection = served.connect()
    connection.request("GET", "/api/export", headers={"Authorization": "Bearer read-token-of-the-tests"})
    response = connection.getresponse()
    rows, most = response.read(2_000_000).count(b'"environment"'), 0
    early = resident()
    while part := response.read(262_144):
        rows += part.count(b'"environment"')
        most = max(most, resident())
    connection.close()
    assert rows > 99_000
    assert most - early < 12_000_000
