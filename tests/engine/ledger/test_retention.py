"""Retention: old changes are forgotten in batches, and rows left alone once they have changed."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import kit
import pytest

from queuewarden.engine.ledger import retention
from queuewarden.engine.ledger.schema import script
from queuewarden.engine.resolve import resolve

if TYPE_CHECKING:
    from collections.abc import Callable

    from servers import Database

MONTH = timedelta(days=30)
OLD = """
INSERT INTO queuewarden.changes (first_id, last_id, at, environment, queue, check_name, rule, event, reason,
    sweep, actor, part, table_schema, table_name, key_columns, columns, keys, before, after)
SELECT n, n, now() - n * interval '1 day', 'e', 'q', 'c', 'r', 'x', '', 's', 'a', 'jobs', 'public', 'jobs',
       '{id}', '{id}', '{{1}}', '{{1}}', '{{1}}' FROM generate_series(1, 90) AS n"""


@pytest.fixture
def database(databases: Callable[..., Database]) -> Database:
    return databases(kit.SCHEMA + script())


def forget(database: Database) -> int:
    async def work() -> int:
        async with kit.session(database.dsn) as session:
            return await retention.forget(session, MONTH)

    return asyncio.run(work())


def test_what_is_older_is_forgotten_and_nothing_else(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.execute(OLD)
    monkeypatch.setattr(retention, "BATCH", 7)
    assert forget(database) == 61
    assert database.value("SELECT max(first_id) FROM queuewarden.changes") == 29
    assert forget(database) == 0


def test_one_call_is_bounded_and_the_next_one_goes_on(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.execute(OLD)
    monkeypatch.setattr(retention, "BATCH", 5)
    monkeypatch.setattr(retention, "MOST", 2)
    assert forget(database) == 10
    # The oldest first: whoever looks finds no hole.
    assert database.value("SELECT max(first_id) FROM queuewarden.changes") == 80


def test_a_row_that_was_left_alone_is_forgotten_once_it_has_changed_or_is_gone(database: Database) -> None:
    database.execute(
        "INSERT INTO jobs (id, status) VALUES (1, 'running'), (2, 'running');"
        "INSERT INTO queuewarden.left_alone (table_schema, table_name, key, version)"
        " SELECT 'public', 'jobs', ARRAY[id::text], xmin::text FROM jobs"
        " UNION ALL SELECT 'public', 'jobs', '{3}', '99' UNION ALL SELECT 'public', 'others', '{1}', '99'"
    )
    database.execute("UPDATE jobs SET label = 'x' WHERE id = 2")

    async def work() -> int:
        async with kit.session(database.dsn) as session:
            target = (await resolve(session, "test", kit.MAPPING, kit.LIMITS)).target
            assert target is not None
            return await retention.tidy(session, target, "jobs")

    assert asyncio.run(work()) == 2
    assert database.rows("SELECT table_name, key FROM queuewarden.left_alone ORDER BY 1") == [
        ("jobs", ["1"]), ("others", ["1"]),
    ]  # fmt: skip
