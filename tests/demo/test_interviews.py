"""The interviews' desk keeps its lanes right; the scrambler spoils them, in each of its ways."""

from __future__ import annotations

import random
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from eventually import eventually

from queuewarden.application.demo.interviews import SCRAMBLES, Desk, Scrambler

if TYPE_CHECKING:
    from servers import Database

WRONG = (
    "SELECT count(*) FROM (SELECT queue_position, row_number() OVER"
    " (PARTITION BY company_id ORDER BY priority_score, joined_at, id) AS rank"
    " FROM interviews WHERE status = 'waiting') AS lane WHERE queue_position IS DISTINCT FROM rank"
)


@pytest.mark.parametrize("seed", range(3))
def test_the_desk_keeps_every_lane_dense_and_ordered(database: Database, seed: int) -> None:
    with database.connect() as connection:
        desk = Desk(connection, random.Random(seed))
        for _ in range(20):
            desk.step()
            assert database.value(WRONG) == 0
            database.execute("UPDATE interviews SET started_at = started_at - interval '2 s'")
    assert database.value("SELECT count(*) FROM interviews WHERE status = 'completed'") > 0
    assert database.value("SELECT count(*) FROM interviews WHERE status = 'waiting'") > 0
    running = "SELECT count(*) FROM interviews WHERE status = 'in_progress' GROUP BY company_id"
    assert {count for (count,) in database.rows(running)} == {1}


@pytest.mark.parametrize("kind", sorted(SCRAMBLES))
def test_each_scramble_spoils_a_lane(database: Database, kind: str) -> None:
    with database.connect() as connection:
        desk = Desk(connection, random.Random(0))
        for _ in range(4):
            desk.join(1, priority=10)
        assert database.value(WRONG) == 0
        first = [row[0] for row in database.rows("SELECT id FROM interviews ORDER BY queue_position LIMIT 2")]
        Scrambler(connection, random.Random(0)).scramble(kind, first)
    assert database.value(WRONG) > 0


def test_the_scrambler_leaves_short_lanes_alone(database: Database) -> None:
    with database.connect() as connection:
        desk, scrambler = Desk(connection, random.Random(0)), Scrambler(connection, random.Random(0))
        desk.join(1, priority=10)
        desk.join(1, priority=10)
        scrambler.step()
        assert database.value(WRONG) == 0
        desk.join(1, priority=10)
        scrambler.step()
    assert database.value(WRONG) > 0


def test_the_desk_is_a_process_that_ends_with_its_input(database: Database) -> None:
    command = [sys.executable, "-m", "queuewarden.application.demo.interviews", database.dsn, "desk", "7"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        eventually(lambda: database.value("SELECT count(*) FROM interviews") > 0)
        process.communicate()
    assert process.returncode == 0
