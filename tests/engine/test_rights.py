"""The rights that are asked for: all at once, each once, and enough for everything that writes."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import kit
import pytest
from psycopg.conninfo import make_conninfo

from queuewarden.checks.by_hand import NAME, Wanted, reset_rules, retry_rules
from queuewarden.engine.memory import Memory
from queuewarden.engine.resolve import resolve
from queuewarden.engine.runner import Runner
from queuewarden.engine.sweep import Sweeper
from queuewarden.queues.mapping import OrderTerm, Positions, Reference, TableName

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from servers import Database

    from queuewarden.engine.resolve import Resolution
    from queuewarden.model import Outcome
    from queuewarden.queues.mapping import Mapping

SCHEMA = f"""
CREATE SCHEMA app; SET search_path = app;
{kit.SCHEMA}
ALTER TABLE jobs ADD lease text, ADD cancelled_at timestamptz;
CREATE TABLE parents (id bigint PRIMARY KEY, name text);
INSERT INTO parents VALUES (1, 'one');
INSERT INTO workers (id, heartbeat) VALUES ('w1', now() - interval '1 day'), ('w2', now());
INSERT INTO jobs (status, worker, started_at, enqueued_at, lane, position, parent, lease, attempts) VALUES
    ('running', 'w1', now() - interval '1 day', now() - interval '2 days', 1, NULL, 1, 'x', 1),
    ('running', 'w2', now() - interval '1 day', now() - interval '2 days', 2, NULL, 1, 'x', 1),
    ('running', 'w1', now() - interval '1 day', now() - interval '2 days', 3, NULL, 1, 'x', 9),
    ('running', 'w2', now(), now(), 4, NULL, 1, NULL, 1),
    ('running', 'w2', now(), now(), 4, NULL, 1, NULL, 1),
    ('waiting', NULL, NULL, now() - interval '1 day', 4, 7, 2, NULL, 0),
    ('waiting', NULL, NULL, now() - interval '1 day', 4, 7, 1, NULL, 0),
    ('cancelled', NULL, NULL, now(), 4, NULL, 1, NULL, 0),
    ('done', 'w2', now(), now(), 4, NULL, 1, NULL, 1);
INSERT INTO jobs (status, worker, started_at, finished_at, attempts) VALUES ('failed', 'w2', now(), now(), 3);
UPDATE jobs SET max_attempts = 5;
"""
FULL: Mapping = replace(
    kit.jobs_mapping(
        table=TableName("jobs", "app"),
        heartbeat="heartbeat",
        scheduled_at="scheduled_at",
        updated_at="updated_at",
        clear=("lease",),
    ),
    workers=replace(kit.MAPPING.workers, table=TableName("workers", "app"), started_at="started_at")
    if kit.MAPPING.workers is not None
    else None,
    positions=Positions("position", (OrderTerm("priority", descending=True),), ("lane",), 1, demote=True),
    references=(
        Reference("parent", TableName("parents", "app"), "id"),
        Reference("worker", TableName("workers", "app"), "id"),
    ),
    timestamps=(("done", "finished_at"), ("cancelled", "cancelled_at")),
)


@pytest.fixture
def database(databases: Callable[..., Database]) -> Database:
    return databases(SCHEMA)


@pytest.fixture
def dsn(database: Database) -> Iterator[str]:
    """A role without any right."""
    name = f"{database.name}_role"
    database.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'role'")
    yield make_conninfo(database.dsn, user=name, password="role")
    database.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")


def look(dsn: str, mapping: Mapping = FULL, **limits: Any) -> Resolution:
    async def resolved() -> Resolution:
        async with kit.session(dsn) as session:
            return await resolve(session, "test", mapping, replace(kit.LIMITS, **limits))

    return asyncio.run(resolved())


def grants(resolution: Resolution) -> list[str]:
    """The statements that the faults end in; there is no other fault."""
    assert all(": GRANT " in one for one in resolution.faults), resolution.faults
    return ["GRANT " + one.partition(": GRANT ")[2] for one in resolution.faults]


def everything(dsn: str) -> list[Outcome]:
    """All checks with repair, then a reset and a retry by hand."""

    async def done() -> list[Outcome]:
        async with kit.session(dsn) as session:
            target = (await resolve(session, "test", FULL, kit.LIMITS)).target
            assert target is not None
            report = await Sweeper("test").sweep(session, [target], policy=kit.BY_HAND)
            assert report.queues[0].counts is not None
            runner = Runner(session, report.server.now)
            rules = [*reset_rules(target, Wanted()), *retry_rules(target, timedelta(days=1))]
            by_hand = [await runner.mend(target, NAME, rule, Memory()) for rule in rules]
            return [*report.queues[0].outcomes, *by_hand]

    return asyncio.run(done())


@pytest.mark.versions
def test_the_rights_that_are_asked_for_suffice_for_all_that_writes(database: Database, dsn: str) -> None:
    first = look(dsn)
    assert first.target is None
    statements = grants(first)
    assert len(statements) == len(set(statements))
    for statement in statements:
        database.execute(statement)
    assert look(dsn).faults == ()
    outcomes = everything(dsn)
    assert [(one.code, one.error) for one in outcomes if one.error is not None] == []
    assert {one.code for one in outcomes if one.mended} >= {
        "silent", "silent_spent", "offline", "stuck", "orphan_parent",
        "missing_finished_at_done", "missing_cancelled_at_cancelled", "crowded", "position", "reset", "retry",
    }  # fmt: skip
    assert {one.held for one in outcomes} == {None}
    assert sum(one.set_aside for one in outcomes) == 0


def test_all_that_is_missing_is_told_at_once_and_once(database: Database, dsn: str) -> None:
    role = f"{database.name}_role"
    told = [one.partition(" (")[0].partition(" ON SCHEMA")[0] for one in grants(look(dsn))]
    assert sorted(told) == ["GRANT SELECT"] * 3 + ["GRANT UPDATE"] * 2 + ["GRANT USAGE"]
    assert grants(look(dsn)).count(f"GRANT USAGE ON SCHEMA app TO {role}") == 1


def test_every_mapped_column_is_to_be_read(dsn: str) -> None:
    jobs, workers, parents = (one for one in grants(look(dsn)) if one.startswith("GRANT SELECT"))
    listed = {name.strip(",()") for name in jobs.partition(" ON ")[0].split()}
    assert listed >= {
        "position", "lane", "priority", "parent", "worker", "cancelled_at", "max_attempts", "lease", "label",
        "updated_at", "scheduled_at", "heartbeat", "xmin", "ctid",
    }  # fmt: skip
    assert workers.startswith("GRANT SELECT (ctid, current_job, heartbeat, id, started_at, status, xmin)")
    assert parents.startswith("GRANT SELECT (id) ON app.parents")


@pytest.mark.parametrize(
    "column", sorted({"position", "lane", "priority", "parent", "cancelled_at", "label"})
)
def test_one_column_that_may_not_be_read_is_named(database: Database, dsn: str, column: str) -> None:
    for statement in grants(look(dsn)):
        database.execute(statement)
    role = f"{database.name}_role"
    database.execute(f"REVOKE SELECT ({column}) ON app.jobs FROM {role}")
    assert grants(look(dsn)) == [f"GRANT SELECT ({column}) ON app.jobs TO {role}"]
    assert look(dsn).target is None


def test_a_retry_needs_to_write_attempts(database: Database, dsn: str) -> None:
    """No check writes them, where they are counted at the claim."""
    for statement in grants(look(dsn)):
        database.execute(statement)
    role = f"{database.name}_role"
    database.execute(f"REVOKE UPDATE (attempts) ON app.jobs FROM {role}")
    assert grants(look(dsn)) == [f"GRANT UPDATE (attempts) ON app.jobs TO {role}"]
    assert look(dsn, replace(FULL, states=replace(FULL.states, failed=()))).faults == ()


def test_rights_are_told_beside_what_does_not_fit(dsn: str) -> None:
    faults = look(dsn, kit.jobs_mapping(FULL, worker="workr")).faults
    assert faults[0] == "JOBS__WORKER: app.jobs has no column workr; did you mean worker?"
    assert any("GRANT UPDATE (" in one for one in faults)
    assert any("GRANT SELECT (" in one for one in faults)
