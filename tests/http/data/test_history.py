from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ledgers
import pytest
from commands_kit import UNREACHABLE

if TYPE_CHECKING:
    from collections.abc import Callable

    import servers
    from served import Served


@pytest.fixture
def database(databases: Callable[..., servers.Database]) -> servers.Database:
    return databases(ledgers.SCHEMA)


def stuck(database: servers.Database, count: int, first: int = 1) -> None:
    """Jobs that have run for too long, put back at once."""
    database.execute(
        "INSERT INTO workers (id, heartbeat) VALUES ('w', now() + interval '1 hour') ON CONFLICT DO NOTHING"
    )
    database.execute(
        "INSERT INTO jobs (id, status, worker, started_at, error)"
        " SELECT n, 'running', 'w', now() - interval '1 hour', 'password=geheim'"
        f" FROM generate_series({first}, {first + count - 1}) AS n"
    )


def pages(served: Served, limit: int, **query: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor = None
    while True:
        page = served.json("/api/history", limit=limit, cursor=cursor, **query)
        found += page["changes"]
        cursor = page["cursor"]
        if cursor is None:
            return found
        assert len(page["changes"]) == limit


def test_pages_of_the_ledger_are_complete_while_it_grows(
    mail: Callable[..., Served], database: servers.Database
) -> None:
    served = mail()
    stuck(database, 25)
    assert served.post("/api/consistency").json["fixed"] > 0
    all_ids = [change["id"] for change in pages(served, 1000)]
    assert len(all_ids) >= 25
    assert all_ids == sorted(all_ids, reverse=True)
    first = served.json("/api/history", limit=7)
    stuck(database, 3, first=100)
    assert served.post("/api/consistency").json["fixed"] > 0
    rest = served.json("/api/history", limit=1000, cursor=first["cursor"])
    assert [one["id"] for one in first["changes"] + rest["changes"]] == all_ids
    assert len(pages(served, 4)) >= 28
    change = first["changes"][0]
    assert change["queue"] == "mail"
    assert change["actor"] == "http (write token)"
    assert b"geheim" not in served.get("/api/history").body


def test_filters(mail: Callable[..., Served], database: servers.Database) -> None:
    served = mail()
    stuck(database, 3)
    assert served.post("/api/consistency").json["fixed"] > 0
    every = pages(served, 100)
    sweep = every[0]["sweep"]
    assert pages(served, 100, sweep=sweep) == every
    assert pages(served, 100, sweep="00000000") == []
    assert pages(served, 100, check=every[0]["check"])
    assert pages(served, 100, check="by_hand") == []
    assert pages(served, 100, since="1h") == every
    assert pages(served, 100, since="2999-01-01") == []
    assert pages(served, 100, queue="mail", env="prod") == every
    assert served.get("/api/history", check="nonsense").status == 422
    assert served.get("/api/history", queue="nonsense").status == 404
    for cursor in ("e30", "eyJiIjp7InByb2QiOi0xfX0", "eyJiIjp7InByb2QiOiJ4In19", "x"):
        assert served.get("/api/history", cursor=cursor).status == 422


def test_environments_are_merged_by_time(
    databases: Callable[..., servers.Database], mail: Callable[..., Served], database: servers.Database
) -> None:
    other = databases(ledgers.SCHEMA)
    served = mail(ENV__STAGING__DSN=other.dsn)
    for n in range(3):
        for name, place in (("prod", database), ("staging", other)):
            stuck(place, 2, first=1 + 10 * n)
            assert served.post("/api/consistency", env=name).json["fixed"] == 2
    every = pages(served, 100)
    assert [one["at"] for one in every] == sorted((one["at"] for one in every), reverse=True)
    assert {one["environment"] for one in every} == {"prod", "staging"}
    identity = [(one["environment"], one["id"]) for one in every]
    assert [(one["environment"], one["id"]) for one in pages(served, 3)] == identity


def test_without_a_ledger_there_is_a_note(
    databases: Callable[..., servers.Database], mail: Callable[..., Served]
) -> None:
    import kit

    other = databases(kit.SCHEMA)
    served = mail(ENV__STAGING__DSN=other.dsn, ENV__GONE__DSN=UNREACHABLE)
    document = served.json("/api/history")
    assert document["changes"] == []
    assert document["notes"] == ["staging has no ledger: run `queuewarden install --env staging`"]
    assert [one["environment"] for one in document["errors"]] == ["gone"]
