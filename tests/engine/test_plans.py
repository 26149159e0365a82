"""Plans over a million jobs: no detection query of the cheap checks reads the jobs table as a whole."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import kit
import pytest
import servers

from queuewarden.checks import CHECKS
from queuewarden.engine import guarded, render
from queuewarden.engine.advice import recommended_indexes
from queuewarden.engine.render import Scope
from queuewarden.engine.resolve import resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from servers import Database, Source, TestServer

    from queuewarden.adapters.db.session import Query
    from queuewarden.queues.mapping import Mapping
    from queuewarden.queues.target import Target

pytestmark = pytest.mark.slow

LIMITS = replace(kit.LIMITS, checks=("dead_workers", "stuck_jobs"))
assert kit.MAPPING.workers is not None
LIVES = replace(kit.MAPPING, workers=replace(kit.MAPPING.workers, started_at="started_at"))
BEATING = kit.jobs_mapping(LIVES, heartbeat="heartbeat", updated_at="updated_at")

MILLION = """
INSERT INTO workers (id, heartbeat, started_at)
SELECT 'w' || n, now() - n * interval '1 second', now() - interval '1 hour' FROM generate_series(1, 200) AS n;
INSERT INTO jobs (status, worker, started_at, enqueued_at, attempts, max_attempts)
SELECT CASE WHEN n % 10000 = 0 THEN 'running' WHEN n % 100 = 0 THEN 'waiting' ELSE 'done' END,
       'w' || n % 200, now() - n * interval '1 millisecond', now(), 1, 3
  FROM generate_series(1, 1000000) AS n;
"""


@pytest.fixture(scope="module")
def million(
    request: pytest.FixtureRequest, running_servers: Callable[[Source], TestServer]
) -> Iterator[Database]:
    """One table for all plans of this file: it takes seconds to fill."""
    (source, *_), _ = servers.choose(servers.find_sources(), request.config.getoption("--pg"))
    with running_servers(source).database(kit.SCHEMA + MILLION) as database:
        for index in recommended_indexes(resolved(database, BEATING)):
            database.execute(index.statement.replace(" CONCURRENTLY", ""))
        database.execute("VACUUM (ANALYZE) jobs, workers")
        yield database


def resolved(database: Database, mapping: Mapping, **limits: Any) -> Target:
    async def look() -> Target:
        async with kit.session(database.dsn) as session:
            resolution = await resolve(session, "test", mapping, replace(LIMITS, **limits))
            assert resolution.target is not None
            return resolution.target

    return asyncio.run(look())


def scans(database: Database, query: Query) -> set[tuple[str, str]]:
    """How each table is read: kind of node, and table or index."""
    found = set()

    def walk(node: dict[str, Any]) -> None:
        if "Relation Name" in node:
            found.add((node["Node Type"], node["Relation Name"]))
        for inner in node.get("Plans", ()):
            walk(inner)

    with database.connect() as connection:
        (plan,) = connection.execute(b"EXPLAIN (FORMAT JSON) " + query.text, query.params).fetchone() or ()
    walk((json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"])
    return found


LIVE_LIMITS = {
    "one limit": {},
    "never": {"stuck_after_alive": None},
    "longer": {"stuck_after_alive": timedelta(hours=1)},
}


@pytest.mark.parametrize("limits", LIVE_LIMITS.values(), ids=LIVE_LIMITS)
@pytest.mark.parametrize("mapping", [kit.MAPPING, LIVES, BEATING], ids=["plain", "lives", "beating"])
def test_no_detection_query_scans_the_jobs_table(
    million: Database, mapping: Mapping, limits: dict[str, Any]
) -> None:
    target = resolved(million, mapping, **limits)
    worn = replace(target, worn=frozenset({(str(n),) for n in range(10_000, 20_000)}))
    aside = {(str(n),): "700" for n in range(500)}
    for name in LIMITS.checks:
        for aimed in (target, worn):
            rules = CHECKS[name].rules(aimed)
            count = render.probe(aimed, rules, 51, {"jobs": aside, "workers": {}})
            assert ("Seq Scan", "jobs") not in scans(million, count), name
            for rule in rules:
                place = tuple(
                    "2024-01-01" if one in ("started_at", "worker") else "1" for one in (*rule.order, "id")
                )
                behind = Scope(1000, after=place) if rule.table == "jobs" else Scope(1000)
                for scope in (Scope(1000), behind, Scope(1000, aside=aside if rule.table == "jobs" else {})):
                    used = scans(million, render.find(aimed, rule, scope))
                    assert ("Seq Scan", "jobs") not in used, (name, rule.code, used)


@pytest.mark.parametrize("lean", [False, True])
def test_no_write_scans_the_jobs_table(million: Database, *, lean: bool) -> None:
    target = resolved(million, BEATING, stuck_after_alive=timedelta(hours=1))
    keys = {(str(n * 10_000),) for n in range(100)}
    for name in LIMITS.checks:
        for rule in CHECKS[name].rules(target):
            if rule.write is None:
                continue
            write = guarded.write_lean if lean else guarded.write
            for scope in (Scope(1000), Scope(1000, only=keys)):
                for query in (render.lock(target, rule, scope), write(target, rule, scope)):
                    used = scans(million, query)
                    assert ("Seq Scan", "jobs") not in used, (name, rule.code, used)


def test_a_partial_index_is_used_although_the_status_is_a_parameter(million: Database) -> None:
    target = resolved(million, kit.MAPPING)
    rule = next(one for one in CHECKS["stuck_jobs"].rules(target) if one.code == "stuck")
    used = scans(million, render.find(target, rule, Scope(1000)))
    assert ("Index Scan", "jobs") in used


def test_without_the_indexes_it_would_scan(million: Database) -> None:
    """The other tests can fail: the same query on a table without indexes reads it as a whole."""
    million.execute("CREATE TABLE IF NOT EXISTS bare AS SELECT * FROM jobs WHERE id <= 100000; ANALYZE bare")
    target = resolved(million, kit.MAPPING)
    bare = replace(target, jobs=replace(target.jobs, name="bare"))
    rule = next(one for one in CHECKS["stuck_jobs"].rules(bare) if one.code == "stuck")
    assert ("Seq Scan", "bare") in scans(million, render.find(bare, rule, Scope(1000)))
