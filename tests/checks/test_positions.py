"""Positions: the waiting jobs of a lane end dense and in order, and nothing else is touched."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import kit
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from queuewarden.adapters.db.session import Session
from queuewarden.checks import positions
from queuewarden.engine import lanes
from queuewarden.engine.policy import Policy
from queuewarden.engine.resolve import resolve
from queuewarden.engine.sweep import Sweeper
from queuewarden.queues.mapping import Mapping, OrderTerm, Positions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import servers

    from queuewarden.adapters.db.session import Query, Row
    from queuewarden.model import Outcome

BY_PRIORITY = (OrderTerm("priority", descending=True), OrderTerm("enqueued_at"))
WAITING = "SELECT id, position FROM jobs WHERE status = 'waiting' ORDER BY id"
LOOK = Policy(daemon=False, grace=False, write=False, rows=1000)
"""A dry run: it lists what the repair would change."""


def mapping(*order: OrderTerm, lane: tuple[str, ...] = ("lane",), **changes: Any) -> Mapping:
    numbered = Positions("position", order or BY_PRIORITY, lane)
    return replace(kit.MAPPING, positions=replace(numbered, **changes))


def sweep(database: servers.Database, queue: Mapping | None = None, **rest: Any) -> Outcome | None:
    """One sweep; what became of the positions, None where there was nothing to do."""
    return kit.sweep(database.dsn, queue or mapping(), **rest).get("position")


def queue_up(database: servers.Database, *placed: object, lane: object = 1, **columns: object) -> None:
    """Waiting jobs of a lane that joined one after the other, with these positions."""
    names = ["lane", "position", "enqueued_at", *columns]
    row = f"(%s, %s, now() - interval '1 hour' + %s * interval '1 second'{', %s' * len(columns)})"
    first = database.value("SELECT count(*) FROM jobs")
    with database.connect() as connection:
        for number, position in enumerate(placed):
            connection.execute(
                f"INSERT INTO jobs ({', '.join(names)}) VALUES {row}",  # type: ignore[arg-type]
                (lane, position, first + number, *columns.values()),
            )


def placed(database: servers.Database) -> list[Any]:
    """Positions of the waiting jobs in the order in which they joined."""
    return [position for _, position in database.rows(WAITING)]


def versions(database: servers.Database) -> dict[int, str]:
    return dict(database.rows("SELECT id, xmin::text FROM jobs"))


@pytest.fixture
def jobs(databases: Callable[..., servers.Database]) -> servers.Database:
    """The queue of the kit, empty."""
    return databases(kit.SCHEMA)


FAULTS: dict[str, tuple[Any, ...]] = {
    "duplicates": (1, 2, 2, 3),
    "all the same": (1, 1, 1, 1),
    "a gap": (1, 2, 4, 5),
    "missing": (1, None, 3, 4),
    "all missing": (None, None, None, None),
    "zero": (0, 1, 2, 3),
    "negative": (-3, 2, 3, -1),
    "wrong order": (2, 1, 4, 3),
    "reversed": (4, 3, 2, 1),
    "does not begin at 1": (5, 6, 7, 8),
    "the largest number there is": (1, 2, 3, 2147483647),
    "the smallest number there is": (-2147483648, 1, 2, 3),
}


@pytest.mark.versions
@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_found_and_repaired_in_one_sweep(jobs: servers.Database, fault: str) -> None:
    queue_up(jobs, *FAULTS[fault])
    wrong = sum(position != should for should, position in enumerate(FAULTS[fault], start=1))

    outcome = sweep(jobs)

    assert outcome is not None
    assert (outcome.found, outcome.mended, outcome.skipped) == (wrong, wrong, 0)
    assert placed(jobs) == [1, 2, 3, 4]
    assert sweep(jobs) is None, "a second sweep finds nothing"


def test_the_kind_of_fault_is_told_for_each_row(jobs: servers.Database) -> None:
    queue_up(jobs, None, 0, -1, 7, 7, 9)
    outcome = sweep(jobs, policy=LOOK)
    assert outcome is not None
    told = [(finding.facts["fault"], finding.facts["position"]) for finding in outcome.sample]
    assert told == [
        ("missing", None), ("below 1", "0"), ("below 1", "-1"),
        ("duplicate", "7"), ("duplicate", "7"), ("gap or order", "9"),
    ]  # fmt: skip


def test_only_rows_that_change_are_written(jobs: servers.Database) -> None:
    queue_up(jobs, 1, 2, 2, 4)
    before = versions(jobs)
    sweep(jobs)
    after = versions(jobs)
    assert [key for key in before if before[key] != after[key]] == [3]


def test_jobs_that_do_not_wait_are_neither_counted_nor_touched(jobs: servers.Database) -> None:
    queue_up(jobs, 1, 1, 2)
    for status in ("running", "done", "failed", "cancelled"):
        queue_up(jobs, 1, -5, None, status=status)
    jobs.execute("UPDATE jobs SET started_at = now(), finished_at = now() WHERE status <> 'waiting'")
    others = "SELECT id, xmin::text, position FROM jobs WHERE status <> 'waiting' ORDER BY id"
    before = jobs.rows(others)
    sweep(jobs)
    assert placed(jobs) == [1, 2, 3]
    assert jobs.rows(others) == before


TYPES: dict[str, tuple[tuple[Any, ...], tuple[Any, ...]]] = {
    "smallint": ((3, 3, None, -32768), (1, 2, 3, 4)),
    "bigint": ((2**62, 3, None, 9), (1, 2, 3, 4)),
    "numeric": ((1.5, 2, 2.25, "1e30"), (1, 2, 3, 4)),
    "numeric(6,2)": ((1.5, "NaN", 0.4, None), (1, 2, 3, 4)),
    "double precision": ((1.5, "Infinity", "NaN", "-Infinity"), (1, 2, 3, 4)),
    "real": ((1.5, 2, 2, 2), (1, 2, 3, 4)),
    "text": (("10", "2", "", "abc"), ("1", "2", "3", "4")),
    "varchar(3)": (("010", " 2", None, "3"), ("1", "2", "3", "4")),
    "char(4)": (("1", "1", "x", None), ("1   ", "2   ", "3   ", "4   ")),
}


@pytest.mark.versions
@pytest.mark.parametrize("type_", TYPES)
def test_positions_of_any_type(jobs: servers.Database, type_: str) -> None:
    jobs.execute(f"ALTER TABLE jobs ALTER position TYPE {type_}")
    given_, wanted = TYPES[type_]
    queue_up(jobs, *given_)
    listed = sweep(jobs, policy=LOOK)
    assert listed is not None
    assert listed.error is None
    assert listed.found == len(listed.sample)
    outcome = sweep(jobs)
    assert outcome is not None
    assert (outcome.error, outcome.set_aside) == (None, 0)
    assert tuple(placed(jobs)) == wanted
    assert sweep(jobs) is None


def test_f6_a_missing_position_and_one_that_is_no_integer_are_told_apart(jobs: servers.Database) -> None:
    jobs.execute("ALTER TABLE jobs ALTER position TYPE numeric")
    queue_up(jobs, None, 2.5, "1e40")
    outcome = sweep(jobs, policy=LOOK)
    assert outcome is not None
    told = [finding.facts["fault"] for finding in outcome.sample]
    assert told == ["missing", "not an integer", "gap or order"]


def test_positions_of_a_domain(jobs: servers.Database) -> None:
    jobs.execute("CREATE DOMAIN place AS int CHECK (value > 0)")
    jobs.execute("ALTER TABLE jobs ALTER position TYPE place")
    queue_up(jobs, 3, 3, None)
    sweep(jobs)
    assert placed(jobs) == [1, 2, 3]
    assert sweep(jobs) is None


def test_without_a_lane_the_queue_is_one_lane(jobs: servers.Database) -> None:
    queue_up(jobs, 1, 2, lane=1)
    queue_up(jobs, 1, 2, lane=2)
    sweep(jobs, mapping(lane=()))
    assert placed(jobs) == [1, 2, 3, 4]


def test_jobs_without_a_lane_value_are_a_lane_of_their_own(jobs: servers.Database) -> None:
    queue_up(jobs, 4, 4, lane=None)
    queue_up(jobs, 7, lane=1)
    outcome = sweep(jobs)
    assert outcome is not None
    assert {finding.facts["lane"] for finding in outcome.sample} == {"NULL", "1"}
    assert placed(jobs) == [1, 2, 1]
    assert sweep(jobs) is None


@pytest.mark.versions
def test_lanes_of_several_columns_of_any_type(jobs: servers.Database) -> None:
    jobs.execute(
        "CREATE TYPE colour AS ENUM ('red', 'green');"
        'ALTER TABLE jobs ADD company uuid, ADD colour colour, ADD "100% lane" text'
    )
    one, other = "550e8400-e29b-41d4-a716-446655440000", "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
    awkward = 'it\'s, "a\\lane"; -- %s'
    for company in (one, other, None):
        for colour in ("red", "green", None):
            for name in (awkward, "", None):
                queue_up(jobs, 2, 2, company=company, colour=colour, **{'"100%% lane"': name})
    sweep(jobs, mapping(lane=("company", "colour", "100% lane")))
    assert placed(jobs) == [1, 2] * 27
    assert sweep(jobs, mapping(lane=("company", "colour", "100% lane"))) is None


def test_an_order_of_several_terms_with_direction_and_place_of_nulls(jobs: servers.Database) -> None:
    jobs.execute(
        """INSERT INTO jobs (id, label, priority, scheduled_at) VALUES
           (1, 'last', 0, NULL), (2, 'fourth', 0, '2026-01-02'), (3, 'third', 0, '2026-01-03'),
           (4, 'first', 9, NULL), (5, 'second', 9, '2020-01-01')"""
    )
    late_first = OrderTerm("scheduled_at", descending=True, nulls="last")
    queue = mapping(OrderTerm("priority", descending=True), late_first, lane=())
    jobs.execute("UPDATE jobs SET scheduled_at = NULL, priority = 10 WHERE id = 4")
    sweep(jobs, queue)
    by_label = "SELECT label FROM jobs ORDER BY position"
    assert [label for (label,) in jobs.rows(by_label)] == ["first", "second", "third", "fourth", "last"]

    sweep(jobs, mapping(OrderTerm("scheduled_at", nulls="first"), lane=()))
    assert [label for (label,) in jobs.rows(by_label)] == ["last", "first", "second", "fourth", "third"]


def test_f8_the_key_is_the_last_tie(jobs: servers.Database) -> None:
    jobs.execute(
        "INSERT INTO jobs (id, enqueued_at, position)"
        " VALUES (3, '2026-01-01', 7), (1, '2026-01-01', 7), (2, '2026-01-01', 7)"
    )
    sweep(jobs)
    assert placed(jobs) == [1, 2, 3]
    before = versions(jobs)
    assert sweep(jobs) is None
    assert versions(jobs) == before


def test_a_lane_need_not_begin_at_one_where_it_need_not_be_dense(jobs: servers.Database) -> None:
    queue_up(jobs, 5, 6, 7, lane=1)
    queue_up(jobs, 6, 5, 9, None, lane=2)
    queue_up(jobs, None, 0, -4, lane=3)
    queue = mapping(dense=False)
    sweep(jobs, queue)
    assert placed(jobs) == [5, 6, 7, 5, 6, 7, 8, 1, 2, 3]
    assert sweep(jobs, queue) is None


def test_a_head_that_is_no_plain_number_does_not_count(jobs: servers.Database) -> None:
    jobs.execute("ALTER TABLE jobs ALTER position TYPE double precision")
    queue_up(jobs, 2.5, 9, "NaN", lane=1)
    queue_up(jobs, "Infinity", 1e18, lane=2)
    sweep(jobs, mapping(dense=False))
    assert placed(jobs) == [9, 10, 11, 1, 2]
    assert sweep(jobs, mapping(dense=False)) is None


UNIQUE = {
    "nullable": "CREATE UNIQUE INDEX ON jobs (lane, position)",
    "partial": "CREATE UNIQUE INDEX ON jobs (lane, position) WHERE status = 'waiting'",
    "not null": "ALTER TABLE jobs ALTER position SET NOT NULL; ALTER TABLE jobs ADD UNIQUE (lane, position)",
    "immediate": "ALTER TABLE jobs ADD UNIQUE (lane, position) DEFERRABLE INITIALLY IMMEDIATE",
    "deferred": "ALTER TABLE jobs ADD UNIQUE (lane, position) DEFERRABLE INITIALLY DEFERRED",
    "positive": "CREATE UNIQUE INDEX ON jobs (lane, position);"
    " ALTER TABLE jobs ALTER position SET NOT NULL; ALTER TABLE jobs ADD CHECK (position > 0)",
    "small": "ALTER TABLE jobs ALTER position TYPE smallint; ALTER TABLE jobs ALTER position SET NOT NULL;"
    " CREATE UNIQUE INDEX ON jobs (lane, position)",
    "text": "ALTER TABLE jobs ALTER position TYPE text; ALTER TABLE jobs ALTER position SET NOT NULL;"
    " CREATE UNIQUE INDEX ON jobs (lane, position)",
}
LARGEST = {"small": 32767}


@pytest.mark.versions
@pytest.mark.parametrize("dense", [True, False], ids=["dense", "loose"])
@pytest.mark.parametrize("constraint", UNIQUE)
def test_a_permutation_under_a_unique_constraint(
    jobs: servers.Database,
    constraint: str,
    dense: bool,  # noqa: FBT001 -- a parameter of the test
) -> None:
    jobs.execute(UNIQUE[constraint])
    queue_up(jobs, 4, 3, 2, 1, lane=1)
    queue_up(jobs, 2, 3, LARGEST.get(constraint, 2147483647), 1, lane=2)
    outcome = sweep(jobs, mapping(dense=dense))
    assert outcome is not None
    assert (outcome.mended, outcome.set_aside, outcome.skipped, outcome.error) == (8, 0, 0, None)
    assert [int(position) for position in placed(jobs)] == [1, 2, 3, 4, 1, 2, 3, 4]
    befores = [finding.before["position"] for finding in outcome.sample[:4]]
    assert befores == ["4", "3", "2", "1"], "the image before is the row as it was found, not as parked"
    assert [finding.after["position"] for finding in outcome.sample[:4] if finding.after] == list("1234")
    assert sweep(jobs, mapping(dense=dense)) is None


def test_tried_a_permutation_fails_in_one_statement_under_a_constraint_that_is_not_deferrable(
    jobs: servers.Database,
) -> None:
    jobs.execute("CREATE UNIQUE INDEX ON jobs (lane, position)")
    queue_up(jobs, 2, 1)
    with pytest.raises(psycopg.errors.UniqueViolation):
        jobs.execute("UPDATE jobs SET position = 3 - position")


def test_a_loose_lane_keeps_its_head_though_all_of_it_is_parked(jobs: servers.Database) -> None:
    jobs.execute("ALTER TABLE jobs ALTER position SET NOT NULL; CREATE UNIQUE INDEX ON jobs (lane, position)")
    queue_up(jobs, 6, 5)
    sweep(jobs, mapping(dense=False))
    assert placed(jobs) == [5, 6]


def test_rows_of_other_states_do_not_collide_with_parked_positions(jobs: servers.Database) -> None:
    jobs.execute("ALTER TABLE jobs ALTER position SET NOT NULL; CREATE UNIQUE INDEX ON jobs (lane, position)")
    queue_up(jobs, 2, 1)
    queue_up(jobs, 3, 4, 5, status="done", finished_at="2026-01-01")
    sweep(jobs)
    assert placed(jobs) == [1, 2]


def test_an_order_that_hangs_on_the_positions_survives_parking(jobs: servers.Database) -> None:
    jobs.execute("CREATE UNIQUE INDEX ON jobs (lane, position)")
    queue_up(jobs, 3, 2, 0, 9)
    sweep(jobs, mapping(OrderTerm("position")))
    assert placed(jobs) == [3, 2, 1, 4]
    assert sweep(jobs, mapping(OrderTerm("position"))) is None


@pytest.mark.parametrize("type_", ["int", "text"])
def test_f14_an_order_that_contradicts_the_positions_does_not_go_round_for_ever(
    jobs: servers.Database, type_: str
) -> None:
    jobs.execute(f"ALTER TABLE jobs ALTER position TYPE {type_}")
    queue_up(jobs, *([1, 2, 3] if type_ == "int" else [str(number) for number in range(1, 12)]))
    queue = mapping(OrderTerm("position", descending=type_ == "int"))
    sweeper = Sweeper("test")
    sweeps = [sweep(jobs, queue, sweeper=sweeper) for _ in range(3)]
    before = versions(jobs)
    last = sweep(jobs, queue, sweeper=sweeper)
    assert sweeps[0] is not None
    assert sweeps[0].mended
    assert last is not None
    assert last.mended == 0
    assert versions(jobs) == before
    assert [why for _, why in sweeper.state("mail").memory.shunned.values()] == ["fight"]


def test_a_trigger_that_moves_what_we_write_does_not_make_us_go_round_for_ever(
    jobs: servers.Database,
) -> None:
    jobs.execute(
        """CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$
           BEGIN NEW.updated_at = clock_timestamp() - NEW.position * interval '1 hour'; RETURN NEW; END $$;
           CREATE TRIGGER touch BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION touch()"""
    )
    queue_up(jobs, 3, 1, 2, updated_at="2026-01-01")
    sweeper = Sweeper("test")
    queue = mapping(OrderTerm("updated_at"))
    for _ in range(4):
        sweep(jobs, queue, sweeper=sweeper)
    before = versions(jobs)
    sweep(jobs, queue, sweeper=sweeper)
    assert versions(jobs) == before


def test_a_lane_that_a_smallint_cannot_number_does_not_keep_the_others_from_being_numbered(
    jobs: servers.Database,
) -> None:
    jobs.execute("ALTER TABLE jobs ALTER position TYPE smallint")
    jobs.execute("INSERT INTO jobs (lane, position) SELECT 1, 1 FROM generate_series(1, 32768)")
    queue_up(jobs, 2, 2, lane=2)
    outcome = sweep(jobs, limits=replace(kit.LIMITS, position_rows=100_000))
    assert outcome is not None
    assert outcome.error is None
    assert (outcome.mended, outcome.set_aside) == (1, 32767)
    assert jobs.rows("SELECT position FROM jobs WHERE lane = 2 ORDER BY id") == [(1,), (2,)]


def test_a_lane_of_which_one_row_violates_something_is_left_alone_and_reported_the_others_proceed(
    jobs: servers.Database,
) -> None:
    jobs.execute("ALTER TABLE jobs ADD CONSTRAINT odd CHECK (label <> 'poison' OR position = 9)")
    queue_up(jobs, 2, 1, lane=1)
    queue_up(jobs, 9, lane=1, label="poison")
    queue_up(jobs, 2, 1, lane=2)
    sweeper = Sweeper("test")
    before = versions(jobs)

    first = sweep(jobs, sweeper=sweeper)
    assert first is not None
    assert (first.mended, first.set_aside, first.skipped) == (2, 3, 0)
    assert [row.facts["set_aside"] for row in first.sample if row.facts.get("set_aside")] == ["23514"] * 3
    assert placed(jobs) == [2, 1, 9, 1, 2]
    assert [versions(jobs)[key] for key in (1, 2, 3)] == [before[key] for key in (1, 2, 3)]

    second = sweep(jobs, sweeper=sweeper)
    assert second is not None
    assert (second.mended, second.set_aside, second.skipped) == (0, 0, 3), "told once, left alone"

    jobs.execute("UPDATE jobs SET label = 'mended' WHERE label = 'poison'")
    third = sweep(jobs, sweeper=sweeper)
    assert third is not None
    assert third.mended == 3, "tried again once the row has changed"


def test_a_deferred_violation_sets_the_lane_aside_too(jobs: servers.Database) -> None:
    jobs.execute(
        "CREATE UNLOGGED TABLE taken (lane int, position int, UNIQUE (lane, position));"
        "ALTER TABLE jobs ADD UNIQUE (lane, position) DEFERRABLE INITIALLY DEFERRED"
    )
    queue_up(jobs, 1, status="done", finished_at="2026-01-01")
    queue_up(jobs, 2, 3)
    queue_up(jobs, 2, lane=2)
    outcome = sweep(jobs)
    assert outcome is not None
    assert (outcome.mended, outcome.set_aside, outcome.error) == (1, 2, None)


def test_f1_the_look_changes_nothing(jobs: servers.Database) -> None:
    queue_up(jobs, 3, 3, None)
    before = versions(jobs)
    outcome = sweep(jobs, policy=LOOK)
    assert outcome is not None
    assert (outcome.found, outcome.mended) == (3, 0)
    assert versions(jobs) == before


def test_f2_the_repair_of_one_lane_repairs_that_lane_alone(jobs: servers.Database) -> None:
    queue_up(jobs, 3, 3, lane=1)
    queue_up(jobs, 3, 3, lane=2)
    sweep(jobs, policy=replace(kit.BY_HAND, lane=("2",)))
    assert placed(jobs) == [3, 3, 1, 2]


def test_f3_fixing_duplicates_makes_no_new_ones(jobs: servers.Database) -> None:
    queue_up(jobs, 1, 1, 3)
    sweep(jobs)
    assert placed(jobs) == [1, 2, 3]


def test_f4_a_number_put_in_shifts_the_rest_in_the_same_pass(jobs: servers.Database) -> None:
    queue_up(jobs, None, 1, 2, 3)
    sweep(jobs)
    assert placed(jobs) == [1, 2, 3, 4]
    assert sweep(jobs) is None


def test_f5_gaps_and_order_are_repaired_not_only_reported(jobs: servers.Database) -> None:
    queue_up(jobs, 2, 9, 4)
    outcome = sweep(jobs)
    assert outcome is not None
    assert outcome.mended == 3
    assert placed(jobs) == [1, 2, 3]


def test_f7_finished_rows_without_a_position_are_clean(jobs: servers.Database) -> None:
    queue_up(jobs, None, 0, 0, status="done", finished_at="2026-01-01")
    assert sweep(jobs) is None


def test_f10_a_job_claimed_meanwhile_is_not_numbered(jobs: servers.Database) -> None:
    """The repair's own statements, with the claim between the look and the lock."""
    queue_up(jobs, 2, 2, 2)

    async def race() -> None:
        async with kit.session(jobs.dsn) as session:
            target = (await resolve(session, "test", mapping(), kit.LIMITS)).target
            assert target is not None
            (rule,) = positions.rules(target)
            found = await session.rows(lanes.faulty_lanes(target, rule, 10))
            assert [tuple(row) for row in found] == [(["1"], 2, 3)]
            jobs.execute("UPDATE jobs SET status = 'running' WHERE id = 1")
            async with session.transaction() as transaction:
                ((locked, *_),) = await transaction.execute(lanes.lock_lane(target, rule, ("1",)))
                rows = await transaction.execute(lanes.write_lane(target, rule, ("1",), locked, 20))
            assert [tuple(row[0]) for row in rows] == [("2",)]

    asyncio.run(race())
    assert jobs.rows("SELECT status, position FROM jobs ORDER BY id") == [
        ("running", 2), ("waiting", 1), ("waiting", 2),
    ]  # fmt: skip


def test_f11_f12_what_was_repaired_is_what_is_told(jobs: servers.Database) -> None:
    for lane in (1, 2, 3):
        queue_up(jobs, 2, 2, 3, lane=lane)
    with jobs.connect(autocommit=False) as other:
        other.execute("SELECT 1 FROM jobs WHERE id = 1 FOR UPDATE")
        partly = sweep(jobs)
    assert partly is not None
    assert (partly.found, partly.mended, partly.skipped) == (3, 2, 1)
    rest = sweep(jobs)
    assert rest is not None
    assert (rest.found, rest.mended, rest.skipped) == (1, 1, 0)


def test_f13_the_number_of_round_trips_does_not_depend_on_the_number_of_rows(jobs: servers.Database) -> None:
    async def trips() -> int:
        report = await kit.sweep_async(jobs.dsn, mapping())
        assert report.queues[0].outcomes
        return report.round_trips

    queue_up(jobs, 2, 2)
    few = asyncio.run(trips())
    jobs.execute("INSERT INTO jobs (lane, position) SELECT 1, 7 FROM generate_series(1, 500)")
    assert asyncio.run(trips()) <= few + 2, "two more where the population is counted"


@pytest.mark.versions
def test_a_lane_with_a_job_that_is_locked_elsewhere_is_left_for_the_next_sweep(
    jobs: servers.Database,
) -> None:
    queue_up(jobs, 2, 3, 4, lane=1)
    queue_up(jobs, 2, 3, 4, lane=2)
    with jobs.connect(autocommit=False) as other:
        other.execute("SELECT 1 FROM jobs WHERE id = 2 FOR UPDATE")
        begun = time.monotonic()
        sweep(jobs)
        assert time.monotonic() - begun < 10
        assert placed(jobs) == [2, 3, 4, 1, 2, 3]
    sweep(jobs)
    assert placed(jobs) == [1, 2, 3, 1, 2, 3]


def test_tried_numbering_around_a_skipped_row_leaves_a_hole(jobs: servers.Database) -> None:
    queue_up(jobs, 1, 2, 3, 4)
    with jobs.connect(autocommit=False) as other:
        other.execute("UPDATE jobs SET status = 'running' WHERE id = 3")
        jobs.execute(
            """WITH free AS MATERIALIZED (SELECT id FROM jobs WHERE status = 'waiting' FOR UPDATE SKIP LOCKED)
               UPDATE jobs AS j SET position = s.n FROM (SELECT id, row_number() OVER (ORDER BY id) AS n
               FROM jobs WHERE status = 'waiting') AS s JOIN free USING (id) WHERE j.id = s.id"""
        )
        other.commit()
    assert placed(jobs) == [1, 2, 4]
    sweep(jobs)
    assert placed(jobs) == [1, 2, 3]


@pytest.mark.parametrize("unique", [False, True], ids=["plain", "unique"])
@pytest.mark.parametrize("not_null", [False, True], ids=["nullable", "not-null"])
def test_a_job_that_comes_in_between_lock_and_write_leaves_the_lane_as_it_was(
    jobs: servers.Database,
    monkeypatch: pytest.MonkeyPatch,
    unique: bool,  # noqa: FBT001 -- a parameter of the test
    not_null: bool,  # noqa: FBT001 -- a parameter of the test
) -> None:
    if unique:
        jobs.execute("CREATE UNIQUE INDEX ON jobs (lane, position)")
    if not_null:
        jobs.execute("ALTER TABLE jobs ALTER position SET NOT NULL")
    queue_up(jobs, 3, 2)
    before = versions(jobs)
    with before_the_writes(monkeypatch, lambda: queue_up(jobs, 7)):
        outcome = sweep(jobs)
    assert outcome is not None
    assert outcome.mended == 0
    assert placed(jobs) == [3, 2, 7]
    assert {key: version for key, version in versions(jobs).items() if key in before} == before
    sweep(jobs)
    assert placed(jobs) == [1, 2, 3]


@contextlib.contextmanager
def before_the_writes(monkeypatch: pytest.MonkeyPatch, *happenings: Callable[[], None]) -> Iterator[None]:
    """Something happens elsewhere just before the first statement that writes a lane, and so on."""
    execute, ahead = Session.execute, list(happenings)

    async def late(self: Session, query: Query, **rest: Any) -> list[Row]:
        if b"done AS (UPDATE" in query.text and ahead:
            ahead.pop(0)()
        return await execute(self, query, **rest)

    with monkeypatch.context() as patch:
        patch.setattr(Session, "execute", late)
        yield
    assert not ahead, "not as many writes as the test is about"


def test_a_job_that_comes_in_between_parking_and_writing_leaves_nothing_parked(
    jobs: servers.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs.execute("CREATE UNIQUE INDEX ON jobs (lane, position)")
    queue_up(jobs, 3, 2)
    with before_the_writes(monkeypatch, lambda: None, lambda: queue_up(jobs, 7)):
        sweep(jobs)
    assert placed(jobs) == [3, 2, 7]
    sweep(jobs)
    assert placed(jobs) == [1, 2, 3]


UNDER_WAY = {
    "finish": "UPDATE jobs SET status = 'done', finished_at = now() WHERE id = 2",
    "claim": "UPDATE jobs SET status = 'running', started_at = now(), worker = 'w' WHERE id = 2",
    "move": "UPDATE jobs SET lane = 2 WHERE id = 2",
    "delete": "DELETE FROM jobs WHERE id = 2",
}


@pytest.mark.parametrize("change", UNDER_WAY)
def test_a_change_under_way_elsewhere_is_neither_waited_for_nor_lost(
    jobs: servers.Database, change: str
) -> None:
    queue_up(jobs, 2, 3, 4)
    with jobs.connect(autocommit=False) as other:
        other.execute(UNDER_WAY[change])
        begun = time.monotonic()
        outcome = sweep(jobs)
        assert time.monotonic() - begun < 10
        assert outcome is not None
        assert outcome.mended == 0
        other.commit()
    sweep(jobs)
    rest = "SELECT position FROM jobs WHERE lane = 1 AND status = 'waiting' ORDER BY id"
    assert jobs.rows(rest) == [(1,), (2,)]


def test_p2_a_unique_key_in_flight_elsewhere_costs_the_lock_timeout_and_no_more(
    jobs: servers.Database,
) -> None:
    jobs.execute("CREATE UNIQUE INDEX ON jobs (lane, position)")
    queue_up(jobs, 4, 3, lane=1)
    queue_up(jobs, 4, 3, lane=2)
    sweeper = Sweeper("test")
    with jobs.connect(autocommit=False) as other:
        other.execute("INSERT INTO jobs (lane, position) VALUES (1, 1)")
        begun = time.monotonic()
        outcome = sweep(jobs, sweeper=sweeper)
        assert time.monotonic() - begun < 10
        assert outcome is not None
        assert (outcome.mended, outcome.set_aside, outcome.skipped) == (2, 0, 2)
        assert jobs.rows("SELECT position FROM jobs WHERE lane = 1 ORDER BY id") == [(4,), (3,)]
        other.rollback()
    sweep(jobs, sweeper=sweeper)
    assert jobs.rows("SELECT position FROM jobs WHERE lane = 1 ORDER BY id") == [(1,), (2,)]


STATUSES = ("waiting", "waiting", "waiting", "running", "done")
ROWS = st.lists(
    st.tuples(
        st.sampled_from((1, 2, None)),
        st.one_of(st.none(), st.integers(-2, 6), st.sampled_from((2147483647, -2147483648))),
        st.integers(0, 2),
        st.integers(0, 3),
        st.sampled_from(STATUSES),
    ),
    max_size=14,
)


@pytest.fixture
def shared(databases: Callable[..., servers.Database]) -> servers.Database:
    """A database for all the examples of a property."""
    return databases(kit.SCHEMA)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    derandomize=True,
)
@given(rows=ROWS, dense=st.booleans(), descending=st.booleans())
def test_any_lane_whatever_ends_in_order_after_one_sweep(
    shared: servers.Database,
    rows: list[tuple[Any, ...]],
    dense: bool,  # noqa: FBT001 -- drawn by hypothesis
    descending: bool,  # noqa: FBT001 -- drawn by hypothesis
) -> None:
    with shared.connect() as connection:
        connection.execute("TRUNCATE jobs RESTART IDENTITY")
        for lane, position, priority, joined, status in rows:
            connection.execute(
                "INSERT INTO jobs (lane, position, priority, enqueued_at, status, started_at, finished_at)"
                " VALUES (%s, %s, %s, '2026-01-01'::timestamptz + %s * interval '1 hour', %s, now(), now())",
                (lane, position, priority, joined, status),
            )
    queue = mapping(OrderTerm("priority", descending=descending), OrderTerm("enqueued_at"), dense=dense)
    only = {"limits": replace(kit.LIMITS, checks=("positions",))}
    everything = "SELECT id, lane, position, xmin::text FROM jobs ORDER BY id"
    before = {key: (lane, position, version) for key, lane, position, version in shared.rows(everything)}
    should = _expected(rows, dense=dense, descending=descending)

    listed = sweep(shared, queue, policy=LOOK, **only)
    mended = sweep(shared, queue, **only)

    after = {key: (lane, position, version) for key, lane, position, version in shared.rows(everything)}
    assert {key: row[1] for key, row in after.items()} == should
    wrong = {key for key in before if before[key][1] != should[key]}
    assert {key for key in before if before[key][2] != after[key][2]} == wrong
    assert {int(row.key[0]) for row in listed.sample} if listed else set() == wrong
    assert {int(row.key[0]) for row in mended.sample} if mended else set() == wrong
    assert sweep(shared, queue, **only) is None


def _expected(rows: list[tuple[Any, ...]], *, dense: bool, descending: bool) -> dict[int, int | None]:
    """The position that each row should end with, by another way than SQL's."""
    should: dict[int, int | None] = {key: row[1] for key, row in enumerate(rows, start=1)}
    for wanted in {row[0] for row in rows}:
        members = [
            (-priority if descending else priority, joined, key, position)
            for key, (lane, position, priority, joined, status) in enumerate(rows, start=1)
            if lane == wanted and status == "waiting"
        ]
        heads = [position for *_, position in members if position is not None and 1 <= position <= 10**9]
        head = 1 if dense else min(heads, default=1)
        for number, (_, _, key, _) in enumerate(sorted(members, key=lambda member: member[:3])):
            should[key] = head + number
    return should


@pytest.mark.slow
@pytest.mark.versions
def test_a_lane_of_fifty_thousand_jobs_is_numbered_in_one_piece(jobs: servers.Database) -> None:
    jobs.execute(
        "INSERT INTO jobs (lane, position, enqueued_at)"
        " SELECT 1, 50001 - n, '2026-01-01'::timestamptz + n * interval '1 s'"
        " FROM generate_series(1, 50000) AS n"
    )
    jobs.execute("ANALYZE jobs")
    outcome = sweep(jobs)
    assert outcome is not None
    assert (outcome.mended, len(outcome.sample)) == (50_000, 20)
    assert outcome.seconds < 20
    assert jobs.value("SELECT count(*) FROM jobs WHERE position <> id") == 0


@pytest.mark.slow
@pytest.mark.versions
def test_looking_for_faulty_lanes_reads_the_recommended_index_alone(jobs: servers.Database) -> None:
    jobs.execute(
        "INSERT INTO jobs (lane, position, enqueued_at) SELECT n % 50, 1 + n / 50,"
        " '2026-01-01'::timestamptz + n * interval '1 s' FROM generate_series(0, 49999) AS n;"
        "CREATE INDEX ON jobs (lane, priority DESC, enqueued_at, id) INCLUDE (position)"
        " WHERE status = 'waiting'"
    )
    jobs.execute("VACUUM (ANALYZE) jobs")

    async def plan() -> str:
        async with kit.session(jobs.dsn) as session:
            target = (await resolve(session, "test", mapping(), kit.LIMITS)).target
            assert target is not None
            (rule,) = positions.rules(target)
            query = lanes.faulty_lanes(target, rule, 100)
            rows = await session.rows(replace(query, text=b"EXPLAIN " + query.text))
            return "\n".join(row[0] for row in rows)

    told = asyncio.run(plan())
    assert "Index Only Scan" in told
    assert told.count("WindowAgg") == 1, told
    assert told.count("Sort") <= 2, f"only the few faulty lanes are sorted:\n{told}"


def test_positions_that_are_part_of_the_key_are_only_told(jobs: servers.Database) -> None:
    jobs.execute("ALTER TABLE jobs DROP CONSTRAINT jobs_pkey, ADD PRIMARY KEY (lane, position)")
    queue_up(jobs, 1, 3, 7)
    keyed = replace(mapping(), jobs=replace(kit.MAPPING.jobs, id=("lane", "position")))
    outcome = sweep(jobs, keyed)
    assert outcome is not None
    assert (outcome.found, outcome.mended, outcome.skipped, outcome.error) == (2, 0, 2, None)
    assert [position for _, position in jobs.rows(WAITING)] == [1, 3, 7]
