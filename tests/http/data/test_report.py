from __future__ import annotations

from typing import TYPE_CHECKING

import kit
import ledgers
import pytest
from eventually import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    import servers
    from served import Served

ENDED = (
    "INSERT INTO jobs (status, enqueued_at, started_at, finished_at)"
    " SELECT CASE WHEN n % 5 = 0 THEN 'failed' ELSE 'done' END, now() - interval '30 minutes',"
    " now() - interval '20 minutes', now() - interval '20 minutes' + n * interval '1 second'"
    " FROM generate_series(1, 100) AS n"
)


@pytest.mark.parametrize("schema", [kit.SCHEMA, ledgers.SCHEMA], ids=["memory", "ledger"])
def test_the_report_counts_what_ended_and_what_was_repaired(
    databases: Callable[..., servers.Database],
    mail: Callable[..., Served],
    schema: str,
) -> None:
    database = databases(schema)
    database.execute("INSERT INTO workers (id, heartbeat) VALUES ('w', now() + interval '1 hour')")
    served = mail(ENV__PROD__DSN=database.dsn)
    database.execute(ENDED)
    database.execute(
        "INSERT INTO jobs (status, worker, started_at) VALUES ('running', 'w', now() - interval '2 days')"
    )

    def repaired() -> bool:
        served.sweep()
        return bool(served.json("/api/report", period="hour")["repairs"])

    eventually(repaired, what="the grace after the server's start is over")
    report = served.json("/api/report", period="hour")
    (queue,) = report["throughput"]
    assert (queue["done"], queue["failed"]) == (80, 20)
    assert queue["average_seconds"] == 50.0
    assert 94 < queue["p95_seconds"] < 98
    assert (queue["arrived_per_hour"], queue["drained_per_hour"]) == (101.0, 100.0)
    assert sum(one["count"] for one in report["repairs"]) >= 1
    assert {one["source"] for one in report["repairs"]} == {
        "ledger" if schema is ledgers.SCHEMA else "memory"
    }
    assert {"failures"} <= {one["kind"] for one in report["recommendations"]}
    assert report["slowest_checks"]
    assert report["uptime_seconds"] >= 0
    assert served.json("/api/report")["period"] == "day"
    assert served.get("/api/report", period="year").status == 422


def test_what_is_not_mapped_is_null(
    databases: Callable[..., servers.Database], serve: Callable[..., Served]
) -> None:
    database = databases("CREATE TABLE j (id int PRIMARY KEY, s text);")
    mapping = {"JOBS__TABLE": "j", "JOBS__ID": "id", "JOBS__STATUS": "s", "STATES__WAITING": "w"}
    mapping |= {"STATES__RUNNING": "r"}
    served = serve(
        {"ENV__PROD__DSN": database.dsn} | {f"QUEUE__Q__{name}": value for name, value in mapping.items()}
    )
    (queue,) = served.json("/api/report")["throughput"]
    assert {value for name, value in queue.items() if name not in {"environment", "queue"}} == {None}
