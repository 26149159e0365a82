"""Lanes in the ledger: written at once or by way of parking places, a change tells where a job ends up."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import kit
import ledgers
import pytest
from ledgers import Ledgered

from queuewarden.engine.ledger import book
from queuewarden.queues.mapping import OrderTerm, Positions

if TYPE_CHECKING:
    from collections.abc import Callable

    from servers import Database

LANES = replace(
    kit.MAPPING,
    positions=Positions(column="position", order_by=(OrderTerm("enqueued_at"),), lane=("lane",)),
)
LIMITS = replace(kit.LIMITS, checks=("positions",), position_rows=100_000)
SHAPES = {
    "plain": "",
    "unique": "ALTER TABLE jobs ADD UNIQUE (lane, position)",
    "deferrable": "ALTER TABLE jobs ADD UNIQUE (lane, position) DEFERRABLE INITIALLY DEFERRED",
    "not null, unique": "ALTER TABLE jobs ALTER position SET NOT NULL, ADD UNIQUE (lane, position)",
    "text, unique": "ALTER TABLE jobs ALTER position TYPE text, ADD UNIQUE (lane, position)",
    "text, not null, unique": "ALTER TABLE jobs ALTER position TYPE text, ALTER position SET NOT NULL,"
    " ADD UNIQUE (lane, position)",
    "numeric, unique": "ALTER TABLE jobs ALTER position TYPE numeric, ADD UNIQUE (lane, position)",
    "smallint, not null, unique": "ALTER TABLE jobs ALTER position TYPE smallint,"
    " ALTER position SET NOT NULL, ADD UNIQUE (lane, position)",
}


def lanes(
    databases: Callable[..., Database], shape: str, *, size: int = 5, count: int = 2, extra: str = ""
) -> Ledgered:
    """Lanes whose positions are the wrong way round."""
    database = databases(ledgers.SCHEMA)
    database.execute(f"{SHAPES[shape]}; {extra}")
    type_ = database.value(
        "SELECT format_type(atttypid, atttypmod) FROM pg_attribute"
        " WHERE attrelid = 'jobs'::regclass AND attname = 'position'"
    )
    database.execute(
        "INSERT INTO jobs (lane, position, enqueued_at)"
        f" SELECT l, ({size} + 1 - n)::text::{type_}, now() - make_interval(mins => 2000 - n)"
        f" FROM generate_series(1, {count}) AS l, generate_series(1, {size}) AS n"
    )
    return Ledgered(database, LANES, LIMITS)


def positions(queue: Ledgered) -> dict[str, str]:
    return dict(queue.database.rows("SELECT id::text, position::text FROM jobs"))


@pytest.mark.versions
@pytest.mark.parametrize("shape", SHAPES)
def test_a_change_tells_where_a_job_was_and_where_it_ends_up(
    databases: Callable[..., Database], shape: str
) -> None:
    queue = lanes(databases, shape)
    was = positions(queue)
    (outcome,) = queue.sweep().values()
    assert outcome.mended == 8, "the one in the middle stays"
    now = positions(queue)
    changes = queue.changes()
    assert {one.finding.key[0]: one.finding.before["position"] for one in changes} == {
        key: text for key, text in was.items() if text != "3"
    }
    assert {one.finding.key[0]: (one.finding.after or {})["position"] for one in changes} == {
        key: text for key, text in now.items() if text != "3"
    }
    assert [one.id for one in changes] == list(range(1, 9))
    assert ledgers.ranges(queue.database) == [(1, 4), (5, 8)], "a line a lane, whatever the way"
    assert {(one.event, one.finding.code) for one in changes} == {(outcome.event, outcome.code)}


@pytest.mark.versions
@pytest.mark.parametrize("shape", SHAPES)
def test_a_lane_goes_back_exactly(databases: Callable[..., Database], shape: str) -> None:
    queue = lanes(databases, shape)
    whole = ledgers.image(queue.database)
    queue.sweep()
    undone = queue.undo()
    assert [one.refused for one in undone] == [None] * 8
    assert ledgers.image(queue.database) == whole
    again = queue.undo(*[change.id for change in queue.changes() if change.undoes])
    assert [one.refused for one in again] == [None] * 8, "and forth"
    assert positions(queue) == {str(at): str((at - 1) % 5 + 1) for at in range(1, 11)}


@pytest.mark.parametrize("shape", ["plain", "unique", "not null, unique"])
def test_a_lane_longer_than_a_line_may_hold(
    databases: Callable[..., Database], shape: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(book, "CHUNK", 100)
    queue = lanes(databases, shape, size=250, count=1)
    was = positions(queue)
    queue.sweep()
    now = positions(queue)
    assert ledgers.ranges(queue.database) == [(1, 100), (101, 200), (201, 250)]
    changes = queue.changes()
    assert {one.finding.key[0]: one.finding.before["position"] for one in changes} == was
    assert {one.finding.key[0]: (one.finding.after or {})["position"] for one in changes} == now
    assert sorted(map(int, now.values())) == list(range(1, 251))


@pytest.mark.versions
@pytest.mark.parametrize("shape", ["unique", "not null, unique"])
def test_what_triggers_make_of_a_parked_row_is_in_the_image_after(
    databases: Callable[..., Database], shape: str
) -> None:
    queue = lanes(
        databases,
        shape,
        extra="""
        CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN NEW.attempts := NEW.attempts + 1; RETURN NEW; END $$;
        CREATE TRIGGER touch BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION touch()""",
    )
    queue.sweep()
    attempts = dict(queue.database.rows("SELECT id::text, attempts::text FROM jobs"))
    for change in queue.changes():
        assert change.finding.before["attempts"] == "0"
        assert (change.finding.after or {})["attempts"] == attempts[change.finding.key[0]] == "2"


def test_a_lane_that_a_constraint_forbids_is_not_booked_and_the_next_one_is(
    databases: Callable[..., Database],
) -> None:
    queue = lanes(databases, "unique", extra="ALTER TABLE jobs ADD CHECK (lane <> 1 OR position IS NOT NULL)")
    (outcome,) = queue.sweep().values()
    assert (outcome.mended, outcome.set_aside) == (4, 4)
    assert {one.finding.before["lane"] for one in queue.changes()} == {"2"}
    assert ledgers.ranges(queue.database) == [(1, 4)]


def test_a_lane_of_which_a_job_is_locked_is_not_booked(databases: Callable[..., Database]) -> None:
    queue = lanes(databases, "unique")
    with queue.database.connect(autocommit=False) as other:
        other.execute("SELECT FROM jobs WHERE id = 1 FOR UPDATE")
        queue.sweep()
        other.rollback()
    assert {one.finding.before["lane"] for one in queue.changes()} == {"2"}
