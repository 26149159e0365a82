"""A dry run of an undo tells what the real run then does, whatever has happened to the rows."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

import kit
import ledgers
import pytest
from ledgers import Ledgered

from queuewarden.queues.mapping import OrderTerm, Positions

if TYPE_CHECKING:
    from collections.abc import Callable

    from servers import Database

LANES = replace(
    kit.MAPPING, positions=Positions(column="position", order_by=(OrderTerm("enqueued_at"),), lane=("lane",))
)
FAX = replace(kit.jobs_mapping(LANES, label=("priority",), error=None), name="fax")
"""Another queue on the same table: its images have other columns."""

DONE_TO_A_ROW = (
    "UPDATE jobs SET status = 'running', started_at = now() - interval '1 h', worker = 'w'",
    "UPDATE jobs SET status = 'done', finished_at = now()",
    "UPDATE jobs SET label = 'x' || id",
    "UPDATE jobs SET label = NULL",
    "UPDATE jobs SET priority = priority + 1",
    "UPDATE jobs SET position = position + 1",
    "UPDATE jobs SET error = NULL",
    "DELETE FROM jobs",
)


@pytest.fixture
def queue(databases: Callable[..., Database]) -> Ledgered:
    return Ledgered(databases(ledgers.SCHEMA), LANES, replace(kit.LIMITS, brake_rows=1000))


def empty(queue: Ledgered) -> None:
    queue.database.execute(
        "TRUNCATE jobs, queuewarden.changes, queuewarden.left_alone RESTART IDENTITY;"
        "UPDATE queuewarden.counter SET last_id = 0;"
        "INSERT INTO jobs (status, started_at, worker, lane, enqueued_at)"
        " SELECT 'running', now() - interval '1 h', 'w', n % 2, now() - make_interval(mins => 90 - n)"
        " FROM generate_series(1, 6) AS n"
    )
    queue.restart()


def happen(queue: Ledgered, chance: random.Random) -> None:
    """Sweeps of two queues, what the application does, and undos, in any order."""
    for _ in range(chance.randint(1, 6)):
        act = chance.random()
        if act < 0.4:
            queue.mapping = chance.choice([LANES, FAX])
            queue.sweep()
        elif act < 0.9:
            row = chance.randint(1, 6)
            queue.database.execute(f"{chance.choice(DONE_TO_A_ROW)} WHERE id = {row}")
        else:
            queue.undo(chance.randint(1, 12))


@pytest.mark.parametrize("seed", range(3))
def test_a_dry_run_tells_what_the_real_run_does(queue: Ledgered, seed: int) -> None:
    chance = random.Random(seed)
    refused = 0
    for _ in range(4):
        empty(queue)
        queue.sweep()
        happen(queue, chance)
        before = ledgers.image(queue.database)
        dry = [(one.change.id, one.refused) for one in queue.undo(dry=True)]
        assert ledgers.image(queue.database) == before
        real = [(one.change.id, one.refused) for one in queue.undo()]
        assert sorted(dry) == sorted(real)
        refused += sum(why is not None for _, why in real)
    assert refused


def test_a_column_that_only_the_other_queues_image_has(queue: Ledgered) -> None:
    """What changed of it between the two changes is seen, although the later image does not show it."""
    empty(queue)
    queue.database.execute("DELETE FROM jobs WHERE id > 1")
    queue.limits = replace(queue.limits, checks=("stuck_jobs",))
    queue.sweep()
    queue.mapping, queue.limits = FAX, replace(queue.limits, checks=("positions",))
    queue.sweep()
    assert [one.finding.queue for one in queue.changes()] == ["mail", "fax"]
    queue.database.execute("UPDATE jobs SET label = 'moved on'")
    dry = {one.change.id: one.refused for one in queue.undo(dry=True)}
    real = {one.change.id: one.refused for one in queue.undo()}
    assert dry == real
    assert real == {2: None, 1: "it has changed since: label"}
