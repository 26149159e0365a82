"""Each invariant finds what violates it, and nothing in a life without faults."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from faults.invariants import INVARIANTS, violations
from faults.schema import SCHEMA

from queuewarden.engine.ledger.schema import script

if TYPE_CHECKING:
    from collections.abc import Callable

    import servers

LIFE = 17
"""The process id of a worker that lives."""

SHOP = f"""
INSERT INTO workers (id, pid, heartbeat) VALUES ('alive', {LIFE}, now() + interval '1 h');
INSERT INTO workers (id, pid, heartbeat) VALUES ('dead', 4, now() - interval '1 min');
INSERT INTO jobs (id, status, worker, started_at, attempts) VALUES
    (1, 'done', 'alive', now(), 1), (2, 'running', 'dead', now() - interval '5 s', 1),
    (3, 'running', 'alive', now() + interval '1 h', 1), (4, 'waiting', NULL, NULL, 0),
    (5, 'running', 'dead', now() - interval '5 s', 4);
INSERT INTO campaign.enqueued SELECT id FROM jobs;
INSERT INTO campaign.executions (job, worker) VALUES (1, 'alive'), (2, 'dead'), (3, 'alive'), (5, 'dead');
INSERT INTO campaign.finishes (job, worker) VALUES (1, 'alive');"""

BOOKED = """
INSERT INTO queuewarden.changes (
    first_id, last_id, environment, queue, check_name, rule, event, reason, sweep, actor,
    epoch, part, table_schema, table_name, key_columns, columns, keys, before, after)
VALUES ({id}, {id}, '{environment}', 'mail', 'dead_workers', 'silent', 'jobs.reset', 'worker_dead', 's',
    '{actor}', {epoch}, 'jobs', 'public', 'jobs', '{{id}}', '{{id,status}}', ARRAY[ARRAY['{key}']],
    ARRAY[ARRAY['{key}', 'running']], ARRAY[ARRAY['{key}', '{after}']]);"""

RELEASE = "UPDATE jobs SET status = 'waiting', worker = NULL, started_at = NULL WHERE id = {id};"
FAIL = "UPDATE jobs SET status = 'failed', worker = NULL WHERE id = {id};"


def booked(key: int, after: str, *, number: int, epoch: int = 1, actor: str = "a", by: str = "test") -> str:
    return BOOKED.format(id=number, key=key, after=after, epoch=epoch, actor=actor, environment=by)


REPAIR = (
    RELEASE.format(id=2) + booked(2, "waiting", number=1) + FAIL.format(id=5) + booked(5, "failed", number=2)
)
"""What a guard does that does no harm."""


@pytest.fixture
def shop(databases: Callable[..., servers.Database]) -> servers.Database:
    """A shop in which a guard has repaired what there was to repair."""
    database = databases(SCHEMA + script())
    database.execute(SHOP)
    as_guard(database, REPAIR)
    return database


def as_guard(database: servers.Database, statements: str) -> None:
    with database.connect(application_name="queuewarden/test") as connection:
        connection.execute(statements.encode())


def names(database: servers.Database, **rest: bool) -> set[str]:
    return {line.partition(":")[0] for line in violations(database, [LIFE], **rest)}


def test_a_life_without_faults_violates_nothing(shop: servers.Database) -> None:
    assert violations(shop, [LIFE]) == []


BY_THE_SHOP = {
    "lost": "DELETE FROM jobs WHERE id = 4",
    "running, but nobody runs it": "UPDATE jobs SET worker = 'dead' WHERE id = 3",
    "finished twice": "INSERT INTO campaign.finishes (job, worker) VALUES (1, 'alive')",
    "finished, but not done": "INSERT INTO campaign.finishes (job, worker) VALUES (3, 'alive')",
    "done, but never finished": "UPDATE jobs SET status = 'done' WHERE id = 3",
    "run again, though nobody had put it back": (
        "INSERT INTO campaign.executions (job, worker) VALUES (3, 'alive')"
    ),
    "failed without a rule": "UPDATE jobs SET status = 'failed' WHERE id = 3",
    "a lane that is not dense": "UPDATE interviews SET position = 3 WHERE position = 2",
}

BY_THE_GUARD = {
    "changed after it was finished": RELEASE.format(id=1) + booked(1, "waiting", number=3),
    "taken from a worker that beat": RELEASE.format(id=3) + booked(3, "waiting", number=3),
    "failed without a rule": FAIL.format(id=3) + booked(3, "failed", number=3),
    "changed, but not as the ledger says": RELEASE.format(id=3),
    "ids of the ledger that are not its rows'": (
        "UPDATE queuewarden.changes SET last_id = 9 WHERE first_id = 2"
    ),
    "two daemons in one epoch": booked(2, "waiting", number=3, actor="b"),
    "an epoch after a later one": booked(2, "waiting", number=3, epoch=2) + booked(2, "waiting", number=4),
}


@pytest.mark.parametrize("name", BY_THE_SHOP)
def test_what_the_shop_would_have_to_suffer_is_found(shop: servers.Database, name: str) -> None:
    shop.execute(BY_THE_SHOP[name])
    assert name in names(shop)


@pytest.mark.parametrize("name", BY_THE_GUARD)
def test_what_a_guard_must_not_do_is_found(shop: servers.Database, name: str) -> None:
    as_guard(shop, BY_THE_GUARD[name])
    assert name in names(shop)


def test_each_invariant_has_been_seen_to_fail() -> None:
    assert {invariant.name for invariant in INVARIANTS} == set(BY_THE_SHOP) | set(BY_THE_GUARD)


LIES = {
    "a change that was not made": booked(3, "waiting", number=3),
    "another key": RELEASE.format(id=3) + booked(4, "waiting", number=3),
    "another image after": RELEASE.format(id=3) + booked(3, "failed", number=3),
    "another guard": RELEASE.format(id=3) + booked(3, "waiting", number=3, by="prod"),
    "another transaction": RELEASE.format(id=3) + "COMMIT;" + booked(3, "waiting", number=3),
}


@pytest.mark.parametrize("lie", LIES)
def test_the_ledger_is_compared_in_both_directions(shop: servers.Database, lie: str) -> None:
    as_guard(shop, LIES[lie])
    assert "changed, but not as the ledger says" in names(shop)


def test_before_all_is_repaired_only_what_must_always_hold_is_asked(shop: servers.Database) -> None:
    shop.execute("UPDATE interviews SET position = 3 WHERE position = 2")
    assert names(shop, at_rest=False) == set()
