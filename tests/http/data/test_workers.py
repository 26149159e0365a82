from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import servers
    from served import Served


def test_workers_with_what_they_run(mail: Callable[..., Served], database: servers.Database) -> None:
    database.execute(
        "INSERT INTO workers (id, status, heartbeat, started_at) VALUES"
        " ('busy', 'busy', clock_timestamp() + interval '1 hour', now()),"
        " ('late', 'idle', now() - interval '90 seconds', NULL), ('never', 'idle', NULL, NULL),"
        " ('odd', 'idle', '-infinity', NULL)"
    )
    database.execute(
        "INSERT INTO jobs (status, worker, started_at) VALUES ('running', 'busy', now()),"
        " ('running', 'busy', now()), ('waiting', 'late', NULL), ('running', 'gone', now())"
    )
    document = mail(MODE="observe", DEAD_AFTER="1m").json("/api/workers")
    workers = {one["id"]: one for one in document["workers"]}
    assert list(workers) == ["busy", "late", "never", "odd"]
    assert [one["alive"] for one in workers.values()] == [True, False, False, False]
    assert [one["running_jobs"] for one in workers.values()] == [2, 0, 0, 0]
    assert 85 < workers["late"]["silent_seconds"] < 300
    assert [workers[name]["silent_seconds"] for name in ("never", "odd")] == [None, None]
    assert [workers[name]["heartbeat_at"] for name in ("never", "odd")] == [None, None]
    assert (document["more"], document["errors"], document["notes"]) == (False, [], [])


def test_the_limit_holds_and_says_that_there_are_more(
    mail: Callable[..., Served], database: servers.Database
) -> None:
    database.execute(
        "INSERT INTO workers (id, heartbeat) SELECT 'w' || n, now() FROM generate_series(1, 9) AS n"
    )
    served = mail()
    document = served.json("/api/workers", limit=8)
    assert (len(document["workers"]), document["more"]) == (8, True)
    document = served.json("/api/workers", limit=9)
    assert (len(document["workers"]), document["more"]) == (9, False)
    assert served.get("/api/workers", limit=0).status == 422
    assert served.get("/api/workers", limit=1001).status == 422


def test_a_queue_without_workers_is_noted(
    databases: Callable[..., servers.Database], serve: Callable[..., Served]
) -> None:
    database = databases("CREATE TABLE j (id int PRIMARY KEY, s text);")
    mapping = {"JOBS__TABLE": "j", "JOBS__ID": "id", "JOBS__STATUS": "s", "STATES__WAITING": "w"}
    mapping |= {"STATES__RUNNING": "r"}
    served = serve(
        {"ENV__PROD__DSN": database.dsn} | {f"QUEUE__Q__{name}": value for name, value in mapping.items()}
    )
    document = served.json("/api/workers")
    assert (document["workers"], document["notes"]) == ([], ["prod/q maps no workers"])


def test_workers_that_register_elsewhere_are_looked_for_there(
    mail: Callable[..., Served], database: servers.Database, databases: Callable[..., servers.Database]
) -> None:
    elsewhere = databases(
        "CREATE TABLE jobs (id bigserial PRIMARY KEY, status text, worker text, started_at timestamptz,"
        " enqueued_at timestamptz, finished_at timestamptz, attempts int, error text, label text);"
    )
    database.execute("INSERT INTO workers (id, heartbeat) VALUES ('w', now())")
    served = mail(ENV__STAGING__DSN=elsewhere.dsn, QUEUE__MAIL__WORKERS__REGISTERED_IN="prod")
    document = served.json("/api/workers")
    assert [(one["environment"], one["id"]) for one in document["workers"]] == [("prod", "w")]
    assert document["notes"] == ["the workers of staging/mail register in prod"]


def test_workers_ids_may_be_of_another_type_than_the_column_that_names_them(
    databases: Callable[..., servers.Database], serve: Callable[..., Served]
) -> None:
    database = databases(
        "CREATE TABLE j (id int PRIMARY KEY, s text, w text);"
        " CREATE TABLE v (id uuid PRIMARY KEY, beat timestamp);"
    )
    database.execute(
        "INSERT INTO v VALUES ('00000000-0000-0000-0000-000000000001', now() AT TIME ZONE 'UTC');"
        " INSERT INTO j VALUES (1, 'r', '00000000-0000-0000-0000-000000000001')"
    )
    mapping = {
        "JOBS__TABLE": "j",
        "JOBS__ID": "id",
        "JOBS__STATUS": "s",
        "JOBS__WORKER": "w",
        "STATES__WAITING": "w",
        "STATES__RUNNING": "r",
        "WORKERS__TABLE": "v",
        "WORKERS__ID": "id",
        "WORKERS__HEARTBEAT": "beat",
    }
    served = serve(
        {"ENV__PROD__DSN": database.dsn, "DEAD_AFTER": "10m"}
        | {f"QUEUE__Q__{name}": value for name, value in mapping.items()}
    )
    (worker,) = served.json("/api/workers")["workers"]
    assert (worker["alive"], worker["running_jobs"]) == (True, 1)
    assert 0 <= worker["silent_seconds"] < 300
