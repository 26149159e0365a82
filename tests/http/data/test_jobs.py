from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
from commands_kit import UNREACHABLE, as_role

if TYPE_CHECKING:
    from collections.abc import Callable

    import servers
    from served import Served

KEYED = """
CREATE TYPE phase AS ENUM ('new', 'busy', 'over', 'broken');
CREATE TABLE "Odd %s ""t"" x" (
    "Part A" uuid NOT NULL, "part %(b)s" int NOT NULL, "The state" phase NOT NULL DEFAULT 'new',
    "who?" text, began timestamp, "came %" timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'Asia/Tokyo'),
    PRIMARY KEY ("Part A", "part %(b)s"));
"""
ODD = {
    "QUEUE__ODD__JOBS__TABLE": 'public."Odd %s ""t"" x"',
    "QUEUE__ODD__JOBS__ID": '"Part A","part %(b)s"',
    "QUEUE__ODD__JOBS__STATUS": '"The state"',
    "QUEUE__ODD__JOBS__STARTED_AT": "began",
    "QUEUE__ODD__JOBS__ENQUEUED_AT": '"came %"',
    "QUEUE__ODD__JOBS__TIME_ZONE": "Asia/Tokyo",
    "QUEUE__ODD__STATES__WAITING": "new",
    "QUEUE__ODD__STATES__RUNNING": "busy",
    "QUEUE__ODD__STATES__DONE": "over",
}


def pages(served: Served, limit: int, **query: Any) -> list[dict[str, Any]]:
    """All jobs, page by page."""
    found: list[dict[str, Any]] = []
    cursor = None
    while True:
        page = served.json("/api/jobs", limit=limit, cursor=cursor, **query)
        assert len(page["jobs"]) <= limit
        found += page["jobs"]
        cursor = page["cursor"]
        if cursor is None:
            return found
        assert len(page["jobs"]) == limit


def test_a_job_is_told_with_all_that_is_mapped(
    mail: Callable[..., Served], database: servers.Database
) -> None:
    database.execute(
        "INSERT INTO jobs (id, status, worker, started_at, enqueued_at, finished_at, attempts, error, label,"
        " lane, position) VALUES (7, 'failed', 'w1', '2031-01-02 03:04:05+01', '2031-01-02 00:00:00+00',"
        " '2031-01-02 03:04:06.5+00', 3, 'boom', 'Größe ☃', 4, 9)"
    )
    served = mail(lanes=True)
    (job,) = served.json("/api/jobs")["jobs"]
    assert job == {
        "environment": "prod",
        "queue": "mail",
        "id": "7",
        "label": "Größe ☃",
        "state": "failed",
        "status": "failed",
        "worker": "w1",
        "lane": "4",
        "position": 9,
        "enqueued_at": "2031-01-02T00:00:00.000000Z",
        "started_at": "2031-01-02T02:04:05.000000Z",
        "finished_at": "2031-01-02T03:04:06.500000Z",
        "heartbeat_at": None,
        "attempts": 3,
        "error": "boom",
    }


def test_nulls_infinite_times_and_unknown_states_are_null(
    mail: Callable[..., Served], database: servers.Database
) -> None:
    served = mail(MODE="observe")
    database.execute(
        "INSERT INTO jobs (status, started_at, finished_at) VALUES ('paused', 'infinity', '-infinity')"
    )
    (job,) = served.json("/api/jobs")["jobs"]
    assert (job["state"], job["status"]) == (None, "paused")
    assert [job[name] for name in ("label", "worker", "lane", "position", "error")] == [None] * 5
    assert [job[name] for name in ("started_at", "finished_at")] == [None, None]


def test_pages_are_complete_and_nothing_comes_twice_while_rows_are_inserted_and_deleted(
    mail: Callable[..., Served], database: servers.Database
) -> None:
    database.execute("INSERT INTO jobs (id) SELECT n * 10 FROM generate_series(1, 50) AS n")
    served = mail()
    first = served.json("/api/jobs", limit=20)
    database.execute("INSERT INTO jobs (id) VALUES (5), (15), (205)")
    database.execute("DELETE FROM jobs WHERE id IN (10, 200)")
    second = served.json("/api/jobs", limit=1000, cursor=first["cursor"])
    assert [int(job["id"]) for job in first["jobs"]] == [n * 10 for n in range(1, 21)]
    assert [int(job["id"]) for job in second["jobs"]] == [205, *(n * 10 for n in range(21, 51))]
    assert second["cursor"] is None


def test_composite_keys_enums_naive_times_and_odd_names(
    databases: Callable[..., servers.Database], serve: Callable[..., Served]
) -> None:
    database = databases(KEYED)
    database.execute(
        'INSERT INTO "Odd %s ""t"" x" ("Part A", "part %(b)s", "The state", began)'
        " SELECT ('00000000-0000-0000-0000-00000000000' || a)::uuid, b,"
        " (CASE WHEN b = 1 THEN 'busy' ELSE 'new' END)::phase,"
        " now() AT TIME ZONE 'Asia/Tokyo' - interval '2 hours'"
        " FROM generate_series(1, 3) AS a, generate_series(-2, 2) AS b"
    )
    served = serve({"ENV__PROD__DSN": database.dsn, "MODE": "observe"} | ODD)
    found = pages(served, 4)
    keys = [(job["id"].split(",")[0][-1], int(job["id"].split(",")[1])) for job in found]
    assert keys == [(str(a), b) for a in (1, 2, 3) for b in (-2, -1, 0, 1, 2)]
    assert len(served.json("/api/jobs", state="running")["jobs"]) == 3
    assert served.json("/api/jobs", state="cancelled")["jobs"] == []
    assert len(served.json("/api/jobs", since="3h")["jobs"]) == 15
    assert served.json("/api/jobs", since="1h")["jobs"] == []


def test_integers_as_states(databases: Callable[..., servers.Database], serve: Callable[..., Served]) -> None:
    database = databases("CREATE TABLE j (id int PRIMARY KEY, s smallint NOT NULL);")
    database.execute("INSERT INTO j VALUES (1, 0), (2, 1), (3, 1), (4, 9)")
    mapping = {"JOBS__TABLE": "j", "JOBS__ID": "id", "JOBS__STATUS": "s", "STATES__WAITING": "0"}
    mapping |= {"STATES__RUNNING": "1"}
    served = serve(
        {"ENV__PROD__DSN": database.dsn} | {f"QUEUE__N__{name}": value for name, value in mapping.items()}
    )
    assert [job["state"] for job in served.json("/api/jobs")["jobs"]] == [
        "waiting",
        "running",
        "running",
        None,
    ]
    assert [job["id"] for job in served.json("/api/jobs", state="running")["jobs"]] == ["2", "3"]
    document = served.json("/api/jobs", since="1h")
    assert document["jobs"] == []
    assert "maps no time" in document["notes"][0]


def test_environments_and_queues_follow_each_other_in_one_list(
    databases: Callable[..., servers.Database], serve: Callable[..., Served]
) -> None:
    schema = "CREATE TABLE a (id int PRIMARY KEY, s text); CREATE TABLE b (id int PRIMARY KEY, s text);"
    fill = "INSERT INTO a SELECT n, 'w' FROM generate_series(1, 7) AS n; INSERT INTO b SELECT * FROM a"
    settings: dict[str, str] = {}
    for environment in ("e1", "e2", "e3"):
        database = databases(schema)
        database.execute(fill)
        settings[f"ENV__{environment.upper()}__DSN"] = database.dsn
    for queue in ("a", "b"):
        mapping = {"JOBS__TABLE": queue, "JOBS__ID": "id", "JOBS__STATUS": "s", "STATES__WAITING": "w"}
        mapping |= {"STATES__RUNNING": "r"}
        settings |= {f"QUEUE__{queue.upper()}__{name}": value for name, value in mapping.items()}
    served = serve(settings)
    found = [(job["environment"], job["queue"], int(job["id"])) for job in pages(served, 5)]
    assert found == [(e, q, n) for e in ("e1", "e2", "e3") for q in ("a", "b") for n in range(1, 8)]
    assert len(pages(served, 5, env="e2")) == 14
    assert len(pages(served, 5, queue="b")) == 21
    assert len(pages(served, 5, env="e3", queue="a")) == 7


def test_since_goes_by_the_latest_time_that_is_known(
    mail: Callable[..., Served], database: servers.Database
) -> None:
    served = mail(MODE="observe")
    database.execute(
        "INSERT INTO jobs (id, status, enqueued_at, started_at, finished_at) VALUES"
        " (1, 'waiting', now() - interval '2 hours', NULL, NULL),"
        " (2, 'done', now(), now() - interval '3 hours', now() - interval '2 hours'),"
        " (3, 'running', now() - interval '9 hours', now() - interval '10 minutes', NULL),"
        " (4, 'waiting', now(), NULL, NULL)"
    )

    def ids(since: str) -> list[str]:
        return [job["id"] for job in served.json("/api/jobs", since=since)["jobs"]]

    assert ids("1h") == ["3", "4"]
    assert ids("150m") == ["1", "2", "3", "4"]
    moment = database.value(
        "SELECT to_char(now() AT TIME ZONE 'UTC' - interval '1 hour', 'YYYY-MM-DD HH24:MI')"
    )
    assert ids(moment.replace(" ", "T") + "Z") == ["3", "4"]
    assert ids(moment) == ["3", "4"]
    assert ids(moment.replace(" ", "T") + "+00:00") == ["3", "4"]
    # A plus that was not encoded arrives as a blank.
    answer = served.get(f"/api/jobs?since={moment.replace(' ', 'T')}+00:00")
    assert [job["id"] for job in answer.json["jobs"]] == ["3", "4"]
    assert ids("2999-01-01") == []


@pytest.mark.parametrize("since", ["yesterday", "0h", "-1h", "99999d", "2031-13-01", "1h; DROP TABLE", "\0"])
def test_a_wrong_since_is_refused(mail: Callable[..., Served], since: str) -> None:
    answer = mail().get("/api/jobs", since=since)
    assert answer.status == 422
    assert "since" in answer.json["error"]["message"]


def encoded(value: Any) -> str:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


WRONG = {
    "no base64": "a",
    "no JSON": encoded(b"{"),
    "no text": encoded(b"\xff\xfe"),
    "a list": encoded([1]),
    "numbers": encoded({"e": "prod", "q": "mail", "k": [1]}),
    "too short": encoded({"e": "prod", "q": "mail", "k": []}),
    "too long": encoded({"e": "prod", "q": "mail", "k": ["1", "2"]}),
    "no number": encoded({"e": "prod", "q": "mail", "k": ["x"]}),
    "too large": encoded({"e": "prod", "q": "mail", "k": ["9" * 30]}),
    "a zero byte": encoded({"e": "prod", "q": "mail", "k": ["1\0"]}),
    "half a pair": encoded(b'{"e": "prod", "q": "mail", "k": ["\\ud800"]}'),
    "deep": encoded(b"[" * 5000),
    "SQL": encoded({"e": "prod", "q": "mail", "k": ["1'); DROP TABLE jobs; --"]}),
    "signs": "%%%",
    "blank": " ",
}


def test_wrong_cursors_are_refused(mail: Callable[..., Served], database: servers.Database) -> None:
    database.execute("INSERT INTO jobs (id) SELECT generate_series(1, 9)")
    served = mail()
    statuses = {name: served.get("/api/jobs", cursor=cursor).status for name, cursor in WRONG.items()}
    assert statuses == dict.fromkeys(WRONG, 422)
    assert served.get("/api/jobs", cursor=encoded({"e": "prod", "q": "mail", "k": ["8"]})).json["jobs"]
    assert not served.get("/api/jobs", cursor=encoded({"e": "zzz", "q": "mail", "k": ["8"]})).json["jobs"]


def test_unknown_names_are_not_found_and_the_nearest_is_named(
    mail: Callable[..., Served], database: servers.Database
) -> None:
    database.execute("INSERT INTO jobs (lane, position) VALUES (41, 1)")
    served = mail(lanes=True)
    for query, nearest in (({"env": "prd"}, "prod"), ({"queue": "mial"}, "mail"), ({"lane": "4"}, "41")):
        answer = served.get("/api/jobs", **query)
        assert answer.status == 404
        assert nearest in answer.json["error"]["message"]
    assert served.get("/api/jobs", lane="x\0y").status == 404
    assert [job["lane"] for job in served.json("/api/jobs", lane="41")["jobs"]] == ["41"]


def test_secrets_in_texts_are_masked_and_long_ones_cut(
    mail: Callable[..., Served], database: servers.Database
) -> None:
    database.execute(
        "INSERT INTO jobs (status, error, label) VALUES ('failed', %s, %s)",
        ("postgresql://app:geheim@db/x refused; " + "long " * 5000, "mail to anna@example.com"),
    )
    answer = mail().get("/api/jobs")
    (job,) = answer.json["jobs"]
    assert b"geheim" not in answer.body
    assert b"anna@" not in answer.body
    assert len(job["error"]) < 1100


def test_a_column_that_may_not_be_read_is_told_of(
    mail: Callable[..., Served], database: servers.Database
) -> None:
    database.execute(
        "CREATE ROLE half_blind; GRANT SELECT ON workers TO half_blind;"
        " GRANT SELECT (id, status) ON jobs TO half_blind"
    )
    try:
        served = mail(ENV__PROD__DSN=as_role(database, "half_blind"))
        document = served.json("/api/jobs")
        assert document["jobs"] == []
        ((trouble),) = document["errors"]
        assert trouble["queue"] == "mail"
        assert "no right to read" in trouble["message"]
    finally:
        database.execute("DROP OWNED BY half_blind; DROP ROLE half_blind")


def test_rights_that_are_taken_away_later_leave_the_other_queue_readable(
    databases: Callable[..., servers.Database], serve: Callable[..., Served]
) -> None:
    database = databases(
        "CREATE TABLE a (id int PRIMARY KEY, s text); CREATE TABLE b (id int PRIMARY KEY, s text);"
    )
    database.execute("INSERT INTO a VALUES (1, 'w'); INSERT INTO b VALUES (1, 'w')")
    database.execute("CREATE ROLE fading; GRANT SELECT, UPDATE ON a, b TO fading")
    settings = {"ENV__PROD__DSN": as_role(database, "fading")}
    for queue in ("a", "b"):
        mapping = {"JOBS__TABLE": queue, "JOBS__ID": "id", "JOBS__STATUS": "s", "STATES__WAITING": "w"}
        mapping |= {"STATES__RUNNING": "r"}
        settings |= {f"QUEUE__{queue.upper()}__{name}": value for name, value in mapping.items()}
    try:
        served = serve(settings)
        database.execute("REVOKE SELECT ON a FROM fading")
        document = served.json("/api/jobs")
        assert [job["queue"] for job in document["jobs"]] == ["b"]
        assert document["errors"] == [{"environment": "prod", "queue": "a", "message": "rights missing"}]
    finally:
        database.execute("DROP OWNED BY fading; DROP ROLE fading")


def test_a_database_that_is_down_is_named(mail: Callable[..., Served], database: servers.Database) -> None:
    database.execute("INSERT INTO jobs (id) VALUES (1)")
    served = mail(ENV__STAGING__DSN=UNREACHABLE)
    answer = served.get("/api/jobs", env="staging")
    assert answer.status == 503
    assert "connection refused" in answer.json["error"]["message"]
    assert "geheim" not in answer.json["error"]["message"]
    assert int(answer.headers["retry-after"]) > 0
    document = served.json("/api/jobs")
    assert [job["id"] for job in document["jobs"]] == ["1"]
    assert [(one["environment"], one["message"]) for one in document["errors"]] == [
        ("staging", "connection refused")
    ]


def test_reading_needs_a_token(mail: Callable[..., Served]) -> None:
    served = mail()
    for path in ("jobs", "workers", "errors", "history", "report", "consistency", "export"):
        assert served.get(f"/api/{path}", token=None).status == 401
        assert served.get(f"/api/{path}", token="x" * 20).status == 401
        assert served.get(f"/api/{path}").status == 200
    assert served.post("/api/consistency", token=None).status == 401
    assert served.get("/api/consistency", method="POST").status == 403


def test_a_lane_is_followed_from_page_to_page(
    mail: Callable[..., Served], database: servers.Database
) -> None:
    database.execute("INSERT INTO jobs (lane) SELECT n % 3 FROM generate_series(1, 30) AS n")
    served = mail(lanes=True, MODE="observe")
    assert [int(job["id"]) for job in pages(served, 3, lane="1")] == list(range(1, 31, 3))
    first = served.json("/api/jobs", lane="1", limit=9)
    # The lane may be gone by the time that the next page is asked for.
    database.execute("DELETE FROM jobs WHERE lane = 1")
    assert served.json("/api/jobs", lane="1", cursor=first["cursor"])["jobs"] == []
    assert served.get("/api/jobs", lane="1").status == 404
