"""The interview queue at work: ``python -m queuewarden.application.demo.interviews DSN desk|scrambler SEED``.

The desk calls students in, one per company, and keeps positions right. The scrambler is the bug that doesn't.
"""

from __future__ import annotations

import os
import random
import select
import sys
from typing import Any, Final, LiteralString

import psycopg

DESK_SECONDS: Final = 0.5
SCRAMBLE_SECONDS: Final = 7.0
INTERVIEW_SECONDS: Final = 3
LONGEST_LANE: Final = 7
_INPUT: Final = 0

SCRAMBLES: Final[dict[str, LiteralString]] = {
    "duplicate": "UPDATE interviews SET queue_position = 2 WHERE id = ANY(%(some)s)",
    "gap": "UPDATE interviews SET queue_position = queue_position + 3 WHERE id = ANY(%(some)s)",
    "missing": "UPDATE interviews SET queue_position = NULL WHERE id = ANY(%(some)s)",
    "zero": "UPDATE interviews SET queue_position = 0 WHERE id = ANY(%(some)s)",
    "negative": "UPDATE interviews SET queue_position = -queue_position WHERE id = ANY(%(some)s)",
}


class Desk:
    """Runs the interviews of all companies, each lane in a transaction of its own, locked in key order."""

    def __init__(self, connection: psycopg.Connection[Any], chance: random.Random) -> None:
        self._connection = connection
        self._chance = chance

    def step(self) -> None:
        """End interviews that are over, call in the next ones, let a student join now and then."""
        for (company,) in self._connection.execute("SELECT id FROM companies ORDER BY id").fetchall():
            with self._connection.transaction():
                waiting = self._connection.execute(
                    "SELECT id FROM interviews WHERE company_id = %s AND status = 'waiting'"
                    " ORDER BY id FOR UPDATE",
                    [company],
                ).fetchall()
                self._end(company)
                self._call_in(company)
                if len(waiting) < LONGEST_LANE and self._chance.random() < 1 / 2:
                    self.join(company, priority=self._chance.choice((10, 10, 10, 5, 0)))

    def join(self, company: int, priority: int) -> None:
        """Queue a student behind all whose score is no higher, and move the others back by one."""
        place = {"company": company, "priority": priority, "chance": self._chance.random()}
        self._connection.execute(
            "UPDATE interviews SET queue_position = queue_position + 1"
            " WHERE company_id = %(company)s AND status = 'waiting' AND priority_score > %(priority)s",
            place,
        )
        self._connection.execute(
            "INSERT INTO interviews (student_id, company_id, priority_score, joined_at, queue_position)"
            " SELECT (SELECT id FROM students ORDER BY id"
            " OFFSET floor(%(chance)s * (SELECT count(*) FROM students)) LIMIT 1),"
            " %(company)s, %(priority)s, clock_timestamp(), 1 + count(*)"
            " FROM interviews WHERE company_id = %(company)s AND status = 'waiting'"
            " AND priority_score <= %(priority)s",
            place,
        )

    def _end(self, company: int) -> None:
        self._connection.execute(
            "UPDATE interviews SET status = 'completed', completed_at = now() WHERE company_id = %s"
            " AND status = 'in_progress' AND started_at < now() - make_interval(secs => %s)",
            [company, INTERVIEW_SECONDS],
        )

    def _call_in(self, company: int) -> None:
        called = self._connection.execute(
            "UPDATE interviews SET status = 'in_progress', started_at = now(), queue_position = NULL"
            " WHERE id = (SELECT id FROM interviews WHERE company_id = %(company)s AND status = 'waiting'"
            " ORDER BY priority_score, joined_at, id LIMIT 1)"
            " AND NOT EXISTS (SELECT FROM interviews WHERE company_id = %(company)s"
            " AND status = 'in_progress')",
            {"company": company},
        )
        if called.rowcount:
            self._connection.execute(
                "UPDATE interviews SET queue_position = queue_position - 1"
                " WHERE company_id = %s AND status = 'waiting'",
                [company],
            )


class Scrambler:
    """Spoils the positions of one lane at a time, in each way that is known to happen."""

    def __init__(self, connection: psycopg.Connection[Any], chance: random.Random) -> None:
        self._connection = connection
        self._chance = chance

    def step(self) -> None:
        """Spoil two positions of a lane that has at least three."""
        lanes = self._connection.execute(
            "SELECT array_agg(id ORDER BY id) FROM interviews WHERE status = 'waiting'"
            " GROUP BY company_id HAVING count(*) >= 3 ORDER BY company_id"
        ).fetchall()
        if lanes:
            (lane,) = self._chance.choice(lanes)
            self.scramble(self._chance.choice(sorted(SCRAMBLES)), self._chance.sample(lane, 2))

    def scramble(self, kind: str, interviews: list[int]) -> None:
        """Spoil the positions of these interviews."""
        self._connection.execute(SCRAMBLES[kind], {"some": interviews})


ROLES: Final[dict[str, tuple[type[Desk | Scrambler], float]]] = {
    "desk": (Desk, DESK_SECONDS),
    "scrambler": (Scrambler, SCRAMBLE_SECONDS),
}


def main(arguments: list[str]) -> None:
    """Go on until standard input or the database ends."""
    dsn, role, seed = arguments
    chance = random.Random(seed)  # noqa: S311 -- the demo's whims
    try:
        with psycopg.connect(dsn, autocommit=True, application_name=role) as connection:
            actor, pause = ROLES[role]
            step = actor(connection, chance).step
            while not (select.select([_INPUT], [], [], pause)[0] and not os.read(_INPUT, 64)):
                step()
    except psycopg.OperationalError as error:
        raise SystemExit(f"{role}: the database is gone: {error}") from None


if __name__ == "__main__":
    main(sys.argv[1:])
