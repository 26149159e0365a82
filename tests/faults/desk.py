"""The rest of the campaign's application: ``python -m faults.desk DSN NAME DIARY ROLE``.

ROLE ``enqueue`` keeps jobs waiting; ``lanes`` lets people join lanes of interviews and calls their heads, in
transactions that keep a lane dense.
"""

from __future__ import annotations

import random
import sys
from typing import TYPE_CHECKING

import psycopg
from faults.schema import LANES
from faults.shop import Client, LostError

if TYPE_CHECKING:
    from collections.abc import Callable

LANE_SIZE = 8
MOST_WAITING = 12
PAUSE_SECONDS = 0.1

ENQUEUE = """
WITH made AS (
    INSERT INTO jobs (max_attempts) SELECT 4 FROM generate_series(1, 4)
     WHERE (SELECT count(*) FROM jobs WHERE status = 'waiting') < %s RETURNING id)
INSERT INTO campaign.enqueued SELECT id FROM made"""
LOCK = "SELECT id FROM interviews WHERE lane = %s AND status = 'waiting' ORDER BY id FOR UPDATE"
JOIN = """
INSERT INTO interviews (lane, position)
SELECT %(lane)s, 1 + coalesce(max(position), 0) FROM interviews
 WHERE lane = %(lane)s AND status = 'waiting'"""
CALL = """
UPDATE interviews SET status = 'done' WHERE id = (
    SELECT id FROM interviews WHERE lane = %s AND status = 'waiting' ORDER BY joined_at, id LIMIT 1)"""
SHIFT = "UPDATE interviews SET position = position - 1 WHERE lane = %s AND status = 'waiting'"


def enqueue(client: Client, _: random.Random) -> None:
    """Let a few more jobs wait, unless enough do."""
    with client.transaction("enqueue") as connection:
        connection.execute(ENQUEUE, [MOST_WAITING])


def tend_lanes(client: Client, chance: random.Random) -> None:
    """Let somebody join a lane, or call its head."""
    lane = chance.randrange(LANES)
    with client.transaction("lane") as connection:
        waiting = len(connection.execute(LOCK, [lane]).fetchall())
        if waiting < LANE_SIZE:
            connection.execute(JOIN, {"lane": lane})
        else:
            connection.execute(CALL, [lane])
            connection.execute(SHIFT, [lane])


ROLES: dict[str, Callable[[Client, random.Random], None]] = {"enqueue": enqueue, "lanes": tend_lanes}


def main(arguments: list[str]) -> None:
    """Work until standard input ends."""
    dsn, name, diary, role = arguments
    client, chance = Client(dsn, name, diary), random.Random(name)
    client.connect()
    while True:
        try:
            ROLES[role](client, chance)
        except LostError:
            client.connect()
        except psycopg.Error:
            pass  # it is in the diary, and rolled back
        client.wait(PAUSE_SECONDS)


if __name__ == "__main__":
    main(sys.argv[1:])
