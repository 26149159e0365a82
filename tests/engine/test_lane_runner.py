"""The lane runner: how much a sweep does, in which turn, and which lanes it leaves alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import kit
import pytest

from queuewarden.engine.sweep import Sweeper
from queuewarden.queues.mapping import OrderTerm, Positions

if TYPE_CHECKING:
    from collections.abc import Callable

    import servers

    from queuewarden.engine.memory import Memory
    from queuewarden.model import Limits, Outcome

MAPPING = replace(kit.MAPPING, positions=Positions("position", (OrderTerm("enqueued_at"),), ("lane",)))
ONLY = replace(kit.LIMITS, checks=("positions",))


def at_most(rows: int) -> Limits:
    return replace(ONLY, position_rows=rows)


class Sweeps:
    """One sweep after another, by the same daemon."""

    def __init__(self, database: servers.Database) -> None:
        self.database = database
        self.sweeper = Sweeper("test")

    @property
    def memory(self) -> Memory:
        return self.sweeper.state("mail").memory

    def __call__(self, limits: Limits = ONLY, **rest: Any) -> Outcome | None:
        found = kit.sweep(self.database.dsn, MAPPING, limits, sweeper=self.sweeper, **rest)
        return found.get("position")

    def scramble(self, *lanes: int) -> None:
        """Another hand numbers these lanes the other way round."""
        self.database.execute(
            "UPDATE jobs SET position = 1 + s.size - s.n FROM (SELECT id, row_number() OVER w AS n,"
            " count(*) OVER (PARTITION BY lane) AS size FROM jobs"
            " WINDOW w AS (PARTITION BY lane ORDER BY id)) AS s WHERE jobs.id = s.id AND jobs.lane = ANY(%s)",
            (list(lanes),),
        )

    def orderly(self) -> list[int]:
        """The lanes that are in order."""
        query = (
            "SELECT lane FROM (SELECT lane, position, row_number() OVER (PARTITION BY lane ORDER BY id) AS n"
            " FROM jobs) AS s GROUP BY lane HAVING bool_and(position = n) ORDER BY lane"
        )
        return [lane for (lane,) in self.database.rows(query)]


@pytest.fixture
def sweeps(databases: Callable[..., servers.Database]) -> Sweeps:
    """Lane N has N jobs, all numbered 0, for N of 1 to 6."""
    database = databases(kit.SCHEMA)
    database.execute(
        "INSERT INTO jobs (lane, position, enqueued_at) SELECT lane, 0, '2026-01-01'"
        " FROM generate_series(1, 6) AS lane, generate_series(1, lane)"
    )
    return Sweeps(database)


def test_a_sweep_does_as_many_rows_as_it_may_whole_lanes_only(sweeps: Sweeps) -> None:
    first = sweeps(at_most(7))
    assert first is not None
    assert (first.found, first.mended, first.skipped) == (21, 6, 15)
    assert sweeps.orderly() == [1, 2, 3]
    sweeps(at_most(7))
    assert sweeps.orderly() == [1, 2, 3, 4]
    sweeps(at_most(7))
    sweeps(at_most(7))
    assert sweeps.orderly() == [1, 2, 3, 4, 5, 6]
    assert sweeps(at_most(7)) is None


def test_p3_lanes_that_are_faulty_again_and_again_do_not_starve_the_longer_ones(sweeps: Sweeps) -> None:
    for number in range(5):
        sweeps(at_most(7))
        sweeps.scramble(2, 3)
        sweeps.database.execute("UPDATE jobs SET enqueued_at = now() WHERE lane = 2 AND position = 1")
        assert number < 4 or 6 in sweeps.orderly()


def test_p3_lanes_that_are_left_alone_take_no_room_from_the_others(sweeps: Sweeps) -> None:
    sweeps.database.execute("ALTER TABLE jobs ADD CHECK (lane > 3 OR position = 0)")
    for _ in range(4):
        sweeps(at_most(6))
    assert sweeps.orderly() == [4, 5, 6]


def test_a_longer_lane_is_done_whole_alone_and_at_most_once_an_hour(sweeps: Sweeps) -> None:
    for _ in range(2):
        sweeps(at_most(5))
    assert sweeps.orderly() == [1, 2, 3]
    for _ in range(2):
        sweeps(at_most(5))
    assert sweeps.orderly() == [1, 2, 3, 4, 5]
    alone = sweeps(at_most(5))
    assert alone is not None
    assert alone.mended == 6
    sweeps.scramble(6)
    again = sweeps(at_most(5))
    assert again is not None
    assert (again.mended, again.skipped) == (0, 6)
    sweeps.memory.alone = {lane: last - timedelta(hours=1) for lane, last in sweeps.memory.alone.items()}
    later = sweeps(at_most(5))
    assert later is not None
    assert later.mended == 6


def test_a_lane_whose_positions_are_changed_back_is_left_alone_after_three_sweeps(sweeps: Sweeps) -> None:
    for _ in range(3):
        mended = sweeps()
        assert mended is not None
        assert mended.mended
        sweeps.scramble(6)
    left = sweeps()
    assert left is not None
    assert (left.mended, left.skipped, left.set_aside) == (0, 6, 0)
    assert [(key, why) for key, (_, why) in sweeps.memory.shunned.items()] == [
        (("position", ("6",)), "fight")
    ]

    again = sweeps()
    assert again is not None
    assert again.mended == 0

    sweeps.database.execute("INSERT INTO jobs (lane, position) VALUES (6, 1)")
    released = sweeps()
    assert released is not None
    assert released.mended == 7
    assert not sweeps.memory.shunned
    assert sweeps() is None


def test_a_fight_that_the_application_gives_up_is_forgotten(sweeps: Sweeps) -> None:
    for _ in range(3):
        sweeps()
        sweeps.scramble(6)
    sweeps()
    assert sweeps.memory.shunned
    sweeps.database.execute(
        "UPDATE jobs SET position = n FROM (SELECT id AS i, row_number() OVER (ORDER BY id) AS n FROM jobs"
        " WHERE lane = 6) AS s WHERE id = i"
    )
    assert sweeps() is None
    assert not sweeps.memory.shunned
    assert not sweeps.memory.lanes


def test_a_lane_in_order_in_between_is_no_fight(sweeps: Sweeps) -> None:
    for _ in range(6):
        mended = sweeps()
        assert mended is not None
        assert mended.mended
        assert sweeps() is None
        sweeps.scramble(6)


def test_a_lane_that_new_jobs_join_in_the_wrong_place_is_no_fight(sweeps: Sweeps) -> None:
    for _ in range(6):
        mended = sweeps()
        assert mended is not None
        assert mended.mended
        sweeps.database.execute("INSERT INTO jobs (lane, position) VALUES (6, 1)")


def test_a_lane_that_is_locked_elsewhere_for_long_is_no_fight(sweeps: Sweeps) -> None:
    """Nothing of ours was changed back: we never got to write."""
    with sweeps.database.connect(autocommit=False) as other:
        other.execute("SELECT 1 FROM jobs WHERE lane = 6 LIMIT 1 FOR UPDATE")
        for _ in range(6):
            sweeps()
        assert sweeps.orderly() == [1, 2, 3, 4, 5]
    freed = sweeps()
    assert freed is not None
    assert freed.mended == 6
    assert not sweeps.memory.shunned


def test_another_guard_at_work_is_left_to_it(sweeps: Sweeps) -> None:
    with sweeps.database.connect(autocommit=False) as other:
        other.execute("SELECT pg_advisory_xact_lock(1903519604, 1)")
        busy = sweeps()
        assert busy is not None
        assert (busy.held, busy.mended, busy.skipped) == ("busy", 0, 21)
    done = sweeps()
    assert done is not None
    assert done.mended == 21


def test_an_error_that_no_row_is_at_fault_for_ends_the_check_and_is_told(sweeps: Sweeps) -> None:
    sweeps.database.execute(
        """CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN RAISE EXCEPTION 'full' USING ERRCODE = '53100'; END $$;
           CREATE TRIGGER refuse BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION refuse()"""
    )
    outcome = sweeps()
    assert outcome is not None
    assert (outcome.error, outcome.mended, outcome.set_aside) == ("53100", 0, 0)
    sweeps.database.execute("DROP TRIGGER refuse ON jobs")
    mended = sweeps()
    assert mended is not None
    assert (mended.error, mended.mended) == (None, 21)


def test_a_trigger_that_refuses_silently_is_told_as_skipped(sweeps: Sweeps) -> None:
    sweeps.database.execute(
        """CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
           CREATE TRIGGER swallow BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION swallow()"""
    )
    for _ in range(5):
        outcome = sweeps()
        assert outcome is not None
        assert (outcome.mended, outcome.skipped) == (0, 21)
    assert not sweeps.memory.shunned


def test_a_lane_of_which_a_trigger_refuses_one_member_is_left_whole(sweeps: Sweeps) -> None:
    """Numbered around it, two jobs might have one number that had none before."""
    sweeps.database.execute(
        """UPDATE jobs SET position = 2 + id % 2 * 7 WHERE lane = 3;
           CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             RETURN CASE WHEN NEW.id <> (SELECT min(id) FROM jobs WHERE lane = 3) THEN NEW END; END $$;
           CREATE TRIGGER swallow BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION swallow()"""
    )
    before = sweeps.database.rows("SELECT id, position FROM jobs WHERE lane = 3 ORDER BY id")
    outcome = sweeps()
    assert outcome is not None
    assert (outcome.mended, outcome.set_aside, outcome.error) == (18, 3, None)
    assert sweeps.database.rows("SELECT id, position FROM jobs WHERE lane = 3 ORDER BY id") == before
    assert sweeps.orderly() == [1, 2, 4, 5, 6]


def test_f11_counts_are_of_all_rows_and_the_sample_of_twenty(sweeps: Sweeps) -> None:
    sweeps.database.execute("INSERT INTO jobs (lane) SELECT 7 FROM generate_series(1, 300)")
    outcome = sweeps()
    assert outcome is not None
    assert (outcome.found, outcome.mended, len(outcome.sample)) == (321, 321, 20)
    assert all(finding.after is not None for finding in outcome.sample)
    for finding in outcome.sample:
        assert finding.after is not None
        assert finding.before["position"] != finding.after["position"]
        assert set(finding.before) == set(finding.after)


def test_a_partitioned_table(databases: Callable[..., servers.Database]) -> None:
    """Rows of different partitions lie at the same place in their own files."""
    database = databases(kit.SCHEMA)
    database.execute(
        "ALTER TABLE jobs RENAME TO old;"
        "CREATE TABLE jobs (LIKE old INCLUDING DEFAULTS, PRIMARY KEY (id, lane))"
        " PARTITION BY HASH (lane); CREATE UNIQUE INDEX ON jobs (lane, position);"
        "CREATE TABLE a PARTITION OF jobs FOR VALUES WITH (MODULUS 2, REMAINDER 0);"
        "CREATE TABLE b PARTITION OF jobs FOR VALUES WITH (MODULUS 2, REMAINDER 1);"
        "INSERT INTO jobs (lane, position, enqueued_at)"
        " SELECT lane, 5 - n, '2026-01-01' FROM generate_series(1, 9) AS lane, generate_series(1, 4) AS n"
    )
    mapping = replace(kit.jobs_mapping(MAPPING, id=("id", "lane")))
    outcome = kit.sweep(database.dsn, mapping, ONLY)["position"]
    assert outcome.mended == 36
    assert kit.sweep(database.dsn, mapping, ONLY) == {}
