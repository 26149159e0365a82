"""What a daemon tells Prometheus of a database with work to do, and of one that is down."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from eventually import eventually
from ledgers import SCHEMA
from metrics.stations import asked, samples, until, value, watched
from nightly import AT
from ports import free_port
from rows import Rows

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import servers
    from metrics.stations import Samples


@pytest.fixture
def nowhere() -> str:
    """A DSN that nobody listens at."""
    return f"postgresql://nobody@127.0.0.1:{free_port()}/nothing?sslmode=disable"


@pytest.fixture
def busy(databases: Callable[..., servers.Database]) -> servers.Database:
    """A database with a ledger, a dead worker, stuck jobs, and jobs that ended."""
    database = databases(SCHEMA)
    rows = Rows(database)
    rows.worker("alive", beat="-1 hour")
    rows.worker("dead", beat="1 hour")
    for _ in range(3):
        rows.job(worker="alive", started="1 hour")
    for status in ("waiting", "failed"):
        rows.job(status, enqueued_at="2 hours")
    for status in ("done", "failed"):
        rows.job(status, started="10 minutes", finished_at="5 minutes")
    database.execute(
        "INSERT INTO queuewarden.upkeep_runs (environment, task, trigger, actor, slot, schedule, alive_until)"
        f" VALUES ('prod', 'analyze', 'schedule', 'x', now() - interval '2 days', '{AT} UTC', now())"
    )
    database.execute(
        "INSERT INTO queuewarden.upkeep_runs"
        " (environment, task, trigger, actor, alive_until, finished_at, result, did)"
        " SELECT 'prod', 'verify', 'hand', 'x', now(), now(), 'done', jsonb_build_array(jsonb_build_object("
        "'subject', to_char(now() AT TIME ZONE 'UTC' - interval '3 days', 'YYYYMMDD\"T\"HH24MISS\"Z\"')))"
    )
    # Below 10 000 block reads nothing is said of the cache.
    database.value(
        "SELECT sum(found) FROM generate_series(1, 400) AS n,"
        " LATERAL (SELECT count(*) AS found FROM pg_attribute WHERE attnum <> n) AS s"
    )
    reads = "SELECT blks_hit >= 10000 FROM pg_stat_database WHERE datname = current_database()"
    eventually(lambda: database.value(reads), what="statistics of the database")
    return database


MAPPED = {
    "QUEUE__MAIL__JOBS__ENQUEUED_AT": "enqueued_at",
    "QUEUE__MAIL__JOBS__FINISHED_AT": "finished_at",
    "QUEUE__MAIL__STATES__DONE": "done",
    "TRUST_THRESHOLD": "true",
    "STATEMENT_TIMEOUT": "20s",
    "UPKEEP__ANALYZE": AT,
    "UPKEEP__VERIFY": AT,
    "BACKUP_DIR": "/nonexistent",
}
CHANNEL = {"ALERT__OPS__URL": "json://127.0.0.1:9/", "ALERT__OPS__SEVERITIES": "critical"}


@pytest.fixture(scope="session")
def scenes() -> dict[str, Samples]:
    """Those that were made, by the source of their server: making one takes seconds."""
    return {}


@pytest.fixture
def scene(
    scenes: dict[str, Samples], server: servers.TestServer, request: pytest.FixtureRequest, tmp_path: Path
) -> Samples:
    """After the repairs of ``prod``; ``gone`` is down."""
    source = str(server.source)
    if source not in scenes:
        dsns = {
            "ENV__PROD__DSN": request.getfixturevalue("busy").dsn,
            "ENV__GONE__DSN": request.getfixturevalue("nowhere"),
        }
        scenes[source] = _made(dsns, tmp_path)
    return scenes[source]


def _made(dsns: dict[str, str], tmp_path: Path) -> Samples:
    async def work() -> Samples:
        async with watched(MAPPED | CHANNEL | dsns, tmp_path) as station:
            labels = {"environment": "prod", "queue": "mail", "check": "stuck_jobs"}
            await until(
                station,
                lambda found: (
                    value(found, "repairs_total", **labels) == 3
                    and value(found, "up", environment="gone") == 0
                    and value(found, "left_over_rows", **labels) == 0
                    and "server_cache_hit_ratio" in found
                    and value(found, "upkeep_failed", environment="prod", task="analyze") == 0
                    and value(found, "database_connections", environment="prod") == 3
                    and "index_faults" in found
                    and (tmp_path / "http").is_socket()
                ),
            )
            await asked(tmp_path, "/metrics")
            status, text = await asked(tmp_path, "/metrics")
            assert status == 200
            return samples(text)

    return asyncio.run(work())
