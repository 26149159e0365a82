"""What a dry run lists is what the repair then mends, whatever stands in the tables."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import kit
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from queuewarden.engine.policy import Policy
from queuewarden.engine.sweep import Sweeper

if TYPE_CHECKING:
    from collections.abc import Callable

    from servers import Database

    from queuewarden.model import Outcome
    from queuewarden.queues.mapping import Mapping

DRY = Policy(daemon=False, grace=False, write=False, rows=1000)
WORKERS = ("w1", "w2", "w3", "w4", "ghost", None)
AGES = (None, 10, 90, 150, 200, 4000)
STATUSES = ("waiting", "running", "running", "running", "done", "failed", "cancelled", "other")

jobs = st.tuples(
    st.sampled_from(STATUSES),
    st.sampled_from(WORKERS),
    *[st.sampled_from(AGES)] * 3,
    st.integers(0, 4),
    st.sampled_from((None, 0, 2, 3)),
    st.sampled_from((None, "a", "b")),
)
workers = st.tuples(
    st.sampled_from(("idle", "busy", "offline", None)), st.sampled_from(AGES), st.sampled_from(AGES)
)
mappings = st.fixed_dictionaries(
    {
        "heartbeat": st.booleans(),
        "updated": st.booleans(),
        "counted": st.sampled_from(("claim", "finish", "never")),
        "lives": st.booleans(),
        "status": st.booleans(),
    }
)
limits = st.fixed_dictionaries(
    {
        "batch": st.sampled_from((1, 2, 3, 1000)),
        "stuck_after_alive": st.sampled_from(
            (None, timedelta(minutes=3), timedelta(minutes=1), timedelta(hours=1))
        ),
    }
)


def mapped(*, heartbeat: bool, updated: bool, counted: Any, lives: bool, status: bool) -> Mapping:
    mapping = kit.jobs_mapping(
        heartbeat="heartbeat" if heartbeat else None,
        updated_at="updated_at" if updated else None,
        attempts_counted=counted,
    )
    assert mapping.workers is not None
    changed = replace(mapping.workers, started_at="started_at" if lives else None)
    if not status:
        changed = replace(changed, status=None, offline_value=None)
    return replace(mapping, workers=changed)


def rows_of(outcomes: dict[str, Outcome], *, mended: bool) -> set[tuple[str, tuple[str, ...]]]:
    return {
        (code, finding.key)
        for code, outcome in outcomes.items()
        for finding in outcome.sample
        if (finding.after is not None) is mended
    }


@pytest.fixture
def database(databases: Callable[..., Database]) -> Database:
    return databases(kit.SCHEMA + "ALTER TABLE workers ALTER status DROP NOT NULL;")


@pytest.mark.parametrize("check", ["dead_workers", "stuck_jobs"])
@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(workers, max_size=4), st.lists(jobs, max_size=12), mappings, limits)
def test_a_dry_run_lists_what_the_repair_mends(
    database: Database, check: str, fleet: Any, queue: Any, shape: Any, given_limits: Any
) -> None:
    fill(database, fleet, queue)
    mapping = mapped(**shape)
    chosen = replace(kit.LIMITS, checks=(check,), **given_limits)
    before = database.rows("SELECT * FROM jobs ORDER BY id")

    listed = kit.sweep(database.dsn, mapping, chosen, policy=DRY)
    assert database.rows("SELECT * FROM jobs ORDER BY id") == before
    done = kit.sweep(database.dsn, mapping, chosen)

    assert rows_of(listed, mended=False) == rows_of(done, mended=True)
    assert {code: outcome.found for code, outcome in listed.items()} == {
        code: outcome.mended for code, outcome in done.items()
    }
    changed = {
        old[0]
        for old, new in zip(before, database.rows("SELECT * FROM jobs ORDER BY id"), strict=True)
        if old != new
    }
    assert changed == {
        int(finding.key[0]) for one in done.values() for finding in one.sample if finding.table == "jobs"
    }
    assert kit.sweep(database.dsn, mapping, chosen, sweeper=Sweeper("test")) == {}


def fill(database: Database, fleet: Any, queue: Any) -> None:
    with database.connect() as connection, connection.cursor() as cursor:
        cursor.execute("TRUNCATE jobs, workers RESTART IDENTITY")
        cursor.executemany(
            "INSERT INTO workers (id, status, heartbeat, started_at) VALUES"
            " (%s, %s, now() - make_interval(secs => %s), now() - make_interval(secs => %s))",
            [(f"w{number}", *one) for number, one in enumerate(fleet, start=1)],
        )
        cursor.executemany(
            "INSERT INTO jobs"
            " (status, worker, started_at, heartbeat, updated_at, attempts, max_attempts, error) VALUES ("
            "%s, %s, now() - make_interval(secs => %s), now() - make_interval(secs => %s),"
            " now() - make_interval(secs => %s), %s, %s, %s)",
            queue,
        )
