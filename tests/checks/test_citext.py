"""Texts that compare without their case, by an operator that the guard's own search_path does not show."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import kit
import pytest
from rows import Rows

from queuewarden.queues.mapping import OrderTerm, Positions, Reference, TableName

if TYPE_CHECKING:
    from collections.abc import Callable

    from servers import Database


@pytest.fixture
def rows(databases: Callable[..., Database]) -> Rows:
    database = databases(kit.SCHEMA)
    if not database.rows("SELECT FROM pg_available_extensions WHERE name = 'citext'"):
        pytest.skip("the server does not bring the extension citext along")
    database.execute("CREATE EXTENSION citext")
    return Rows(database)


def test_a_living_worker_is_known_in_any_case(rows: Rows) -> None:
    rows.database.execute("ALTER TABLE jobs ALTER worker TYPE citext")
    rows.worker("web-1")
    rows.worker("web-2", "3 minutes")
    alive = rows.job(worker="Web-1", started="150 seconds")
    dead = rows.job(worker="Web-2", started="150 seconds")
    kit.sweep(rows.dsn)
    assert (rows.of_job(alive), rows.of_job(dead)) == ("running", "waiting")


@pytest.mark.parametrize(("ours", "theirs"), [("citext", "citext"), ("citext", "text"), ("text", "citext")])
def test_a_job_has_its_parent_in_any_case(rows: Rows, ours: str, theirs: str) -> None:
    rows.database.execute(
        f"CREATE TABLE parents (name {theirs} PRIMARY KEY); INSERT INTO parents VALUES ('Acme');"
        f"ALTER TABLE jobs DROP parent, ADD parent {ours}"
    )
    child = rows.job("waiting", parent="acme", enqueued_at="1 hour")
    orphan = rows.job("waiting", parent="acmee", enqueued_at="1 hour")
    kit.sweep(rows.dsn, replace(kit.MAPPING, references=(Reference("parent", TableName("parents"), "name"),)))
    assert (rows.of_job(child), rows.of_job(orphan)) == ("waiting", "cancelled")


def test_a_lane_is_one_in_any_case(rows: Rows) -> None:
    rows.database.execute("ALTER TABLE jobs ALTER lane TYPE citext USING lane::text")
    for number, lane in enumerate(("a", "A", "a")):
        rows.job("waiting", lane=lane, position=7, enqueued_at=f"{9 - number} minutes")
    lanes = Positions("position", (OrderTerm("enqueued_at"),), ("lane",))
    done = kit.sweep(rows.dsn, replace(kit.MAPPING, positions=lanes))
    assert (done["position"].found, done["position"].mended) == (3, 3)
    assert rows.database.rows("SELECT position FROM jobs ORDER BY id") == [(1,), (2,), (3,)]
