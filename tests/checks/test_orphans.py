"""Orphans: waiting jobs whose reference points at nothing are cancelled; whoever has a parent never is."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import kit
import psycopg
import pytest

from queuewarden.adapters.db.session import Session
from queuewarden.engine.policy import Policy
from queuewarden.engine.resolve import resolve
from queuewarden.engine.sweep import Sweeper
from queuewarden.queues.mapping import Mapping, Reference, TableName

if TYPE_CHECKING:
    from collections.abc import Callable

    import servers

    from queuewarden.adapters.db.session import Query, Row
    from queuewarden.model import Outcome

LOOK = Policy(daemon=False, grace=False, write=False, rows=1000)
ONLY = replace(kit.LIMITS, checks=("orphans",))
TO_PARENTS = Reference("parent", TableName("parents"), "id")
SCHEMA = kit.SCHEMA + "CREATE TABLE parents (id bigint PRIMARY KEY); INSERT INTO parents VALUES (1), (2);"


def mapping(*references: Reference, **jobs: Any) -> Mapping:
    return replace(kit.jobs_mapping(**jobs), references=references or (TO_PARENTS,))


def sweep(database: servers.Database, queue: Mapping | None = None, **rest: Any) -> dict[str, Outcome]:
    return kit.sweep(database.dsn, queue or mapping(), **({"limits": ONLY} | rest))


def add(database: servers.Database, parent: object, status: str = "waiting", age: str = "1 hour") -> None:
    database.execute(
        "INSERT INTO jobs (parent, status, enqueued_at, started_at, finished_at)"
        " VALUES (%s, %s, now() - %s::interval, CASE WHEN %s <> 'waiting' THEN now() END,"
        " CASE WHEN %s IN ('done', 'failed', 'cancelled') THEN now() END)",
        (parent, status, age, status, status),
    )


def statuses(database: servers.Database) -> list[str]:
    return [status for (status,) in database.rows("SELECT status FROM jobs ORDER BY id")]


@pytest.fixture
def jobs(databases: Callable[..., servers.Database]) -> servers.Database:
    return databases(SCHEMA)


@pytest.mark.versions
def test_a_waiting_orphan_is_cancelled_with_the_reason(jobs: servers.Database) -> None:
    add(jobs, 1)
    add(jobs, 7)
    outcome = sweep(jobs)["orphan_parent"]
    assert (outcome.event, outcome.found, outcome.mended) == ("orphans.cancelled", 1, 1)
    assert statuses(jobs) == ["waiting", "cancelled"]
    assert jobs.rows("SELECT error, finished_at IS NOT NULL FROM jobs WHERE id = 2") == [
        ("queuewarden: parent points at nothing", True)
    ]
    assert outcome.sample[0].facts["reference"] == "7"
    assert outcome.sample[0].before["status"] == "waiting"
    assert sweep(jobs) == {}


def test_a_reference_that_is_null_points_at_nothing_and_is_no_orphan(jobs: servers.Database) -> None:
    add(jobs, None)
    assert sweep(jobs) == {}


def test_running_orphans_are_reported_and_terminal_ones_left_alone(jobs: servers.Database) -> None:
    for status in ("running", "done", "failed", "cancelled"):
        add(jobs, 7, status)
    before = jobs.rows("SELECT *, xmin::text FROM jobs ORDER BY id")
    found = sweep(jobs)
    assert {code: (one.found, one.mended) for code, one in found.items()} == {"orphan_running_parent": (1, 0)}
    assert jobs.rows("SELECT *, xmin::text FROM jobs ORDER BY id") == before


def test_an_empty_parent_table_is_not_trusted(jobs: servers.Database) -> None:
    add(jobs, 7)
    add(jobs, 7, "running")
    jobs.execute("TRUNCATE parents")
    assert sweep(jobs) == {}
    assert statuses(jobs) == ["waiting", "running"]


def test_a_missing_parent_table_or_column_holds_the_queue_and_cancels_nothing(jobs: servers.Database) -> None:
    add(jobs, 7)
    gone = Reference("parent", TableName("nowhere"), "id")
    wrong = Reference("parent", TableName("parents"), "nothing")
    assert sweep(jobs, mapping(gone)) == {}
    assert sweep(jobs, mapping(wrong)) == {}
    outcome = sweep(jobs, mapping(TO_PARENTS, gone))
    assert {one.mended for one in outcome.values()} == {0}
    assert statuses(jobs) == ["waiting"]


def test_a_job_younger_than_the_limit_is_left_to_its_writer(jobs: servers.Database) -> None:
    add(jobs, 7, age="9 minutes")
    add(jobs, 7, age="11 minutes")
    add(jobs, 7, age="-1 day")
    sweep(jobs)
    assert statuses(jobs) == ["waiting", "cancelled", "waiting"]


def test_a_job_that_does_not_say_when_it_joined_is_left_alone(jobs: servers.Database) -> None:
    jobs.execute("ALTER TABLE jobs ALTER enqueued_at DROP NOT NULL")
    jobs.execute("INSERT INTO jobs (parent, enqueued_at) VALUES (7, NULL)")
    assert sweep(jobs) == {}


@pytest.mark.versions
def test_infinitely_old_jobs_are_cancelled_like_others(jobs: servers.Database) -> None:
    add(jobs, 7)
    jobs.execute("INSERT INTO jobs (parent, enqueued_at) VALUES (7, '-infinity'), (7, 'infinity')")
    outcome = sweep(jobs)["orphan_parent"]
    assert (outcome.mended, outcome.error) == (2, None)
    assert statuses(jobs) == ["cancelled", "cancelled", "waiting"]
    assert [finding.facts["age"] is None for finding in outcome.sample] == [True, False]


def test_without_a_join_time_a_job_must_be_seen_unchanged_for_the_limit(jobs: servers.Database) -> None:
    add(jobs, 7)
    add(jobs, 7)
    queue, sweeper = mapping(enqueued_at=None), Sweeper("test")
    sweep(jobs, queue, sweeper=sweeper)
    assert statuses(jobs) == ["waiting", "waiting"], "first seen just now"
    jobs.execute("UPDATE jobs SET label = 'changed' WHERE id = 2")
    seen = sweeper.state("mail").memory.seen
    for known, (version, since) in seen.items():
        seen[known] = (version, since - timedelta(minutes=11))
    outcome = sweep(jobs, queue, sweeper=sweeper)["orphan_parent"]
    assert outcome.mended == 1
    assert statuses(jobs) == ["cancelled", "waiting"], "the other one has changed since"


def test_without_a_cancelled_state_orphans_are_only_reported(jobs: servers.Database) -> None:
    add(jobs, 7)
    queue = mapping()
    outcome = sweep(jobs, replace(queue, states=replace(queue.states, cancelled=())))["orphan_parent"]
    assert (outcome.found, outcome.mended) == (1, 0)
    assert statuses(jobs) == ["waiting"]


MISMATCHES = {
    "text and uuid": ("uuid", "text", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", (
        "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
        "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}", "a0eebc999c0b4ef8bb6d6bb9bd380a11 ")),
    "uuid and text": ("text", "uuid", "A0EEBC999C0B4EF8BB6D6BB9BD380A11",
                      ("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",)),
    "text and int": ("int", "text", "42", ("42", "042", " 42", "+42")),
    "text and zero": ("int", "text", "0", ("0", "00")),
    "int and text": ("text", "int", "042", ("42",)),
    "bigint and smallint": ("smallint", "bigint", "42", ("42",)),
    "numeric and int": ("int", "numeric", "42", ("42", "42.00")),
    "char and varchar": ("char(8)", "varchar(8)", "ab", ("ab",)),
    "text and enum": ("colour", "text", "red", ("red",)),
}  # fmt: skip


@pytest.mark.versions
@pytest.mark.parametrize("case", MISMATCHES)
def test_a_job_has_its_parent_however_the_two_are_spelled(databases: Any, case: str) -> None:
    theirs, ours, parent, spellings = MISMATCHES[case]
    jobs = databases(kit.SCHEMA)
    jobs.execute(
        "CREATE TYPE colour AS ENUM ('red');"
        f"CREATE TABLE parents (id {theirs} PRIMARY KEY); ALTER TABLE jobs DROP parent, ADD parent {ours}"
    )
    jobs.execute("INSERT INTO parents VALUES (%s)", (parent,))
    for spelling in spellings:
        add(jobs, spelling)
    assert sweep(jobs) == {}
    assert set(statuses(jobs)) == {"waiting"}
    jobs.execute("ALTER TABLE parents ALTER id TYPE text; UPDATE parents SET id = 'another'")
    jobs.execute("ALTER TABLE jobs ALTER parent TYPE text")
    assert sweep(jobs)["orphan_parent"].mended == len(spellings)


def test_a_reference_that_cannot_be_a_key_of_the_parent_is_an_orphan_and_no_error(
    jobs: servers.Database,
) -> None:
    jobs.execute("ALTER TABLE jobs ALTER parent TYPE text")
    add(jobs, "not a number")
    outcome = sweep(jobs)["orphan_parent"]
    assert (outcome.mended, outcome.error) == (1, None)


def test_two_references_of_one_column_are_both_looked_at(jobs: servers.Database) -> None:
    jobs.execute("CREATE TABLE others (id bigint PRIMARY KEY); INSERT INTO others VALUES (2), (3)")
    for parent in (1, 2, 3):
        add(jobs, parent)
    sweep(jobs, mapping(TO_PARENTS, Reference("parent", TableName("others"), "id")))
    assert statuses(jobs) == ["cancelled", "waiting", "cancelled"]


def test_a_parent_that_arrives_between_lock_and_write_saves_the_job(
    jobs: servers.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(jobs, 7)
    add(jobs, 8)
    execute, arrived = Session.execute, []

    async def late(self: Session, query: Query, **rest: Any) -> list[Row]:
        if b"done AS (UPDATE" in query.text and not arrived:
            arrived.append(jobs.execute("INSERT INTO parents VALUES (7)"))
        return await execute(self, query, **rest)

    monkeypatch.setattr(Session, "execute", late)
    outcome = sweep(jobs)["orphan_parent"]
    assert arrived == [1]
    assert outcome.mended == 1
    assert statuses(jobs) == ["waiting", "cancelled"]


def test_parents_that_vanish_between_lock_and_write_are_not_trusted(
    jobs: servers.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(jobs, 7)
    execute = Session.execute

    async def late(self: Session, query: Query, **rest: Any) -> list[Row]:
        if b"done AS (UPDATE" in query.text:
            jobs.execute("DELETE FROM parents")
        return await execute(self, query, **rest)

    monkeypatch.setattr(Session, "execute", late)
    sweep(jobs)
    assert statuses(jobs) == ["waiting"]


def test_p1_a_job_claimed_meanwhile_is_not_cancelled(jobs: servers.Database) -> None:
    add(jobs, 7)
    with jobs.connect(autocommit=False) as other:
        other.execute("UPDATE jobs SET status = 'running', started_at = now() WHERE id = 1")
        outcome = sweep(jobs)["orphan_parent"]
        assert (outcome.found, outcome.mended, outcome.skipped) == (1, 0, 1)
        other.commit()
    assert statuses(jobs) == ["running"]


def test_f1_a_dry_run_lists_exactly_what_the_repair_cancels(jobs: servers.Database) -> None:
    for number in range(1, 8):
        add(jobs, number, age=f"{number * 5} minutes")
    listed = sweep(jobs, policy=LOOK)["orphan_parent"]
    assert set(statuses(jobs)) == {"waiting"}
    mended = sweep(jobs)["orphan_parent"]
    assert {row.key for row in listed.sample} == {row.key for row in mended.sample} == {
        (str(number),) for number in range(3, 8)
    }  # fmt: skip


@pytest.mark.versions
def test_tried_under_row_level_security_every_job_looks_like_an_orphan_hence_an_error(
    jobs: servers.Database,
) -> None:
    """The policy hides every parent from this role: before the mapping is looked at, or only afterwards."""
    add(jobs, 1)
    role = f"guard_{jobs.name}"
    jobs.execute(
        f"CREATE ROLE {role} LOGIN; GRANT SELECT, UPDATE ON jobs TO {role}; GRANT SELECT ON parents TO {role}"
    )
    hide, queue = "ALTER TABLE parents ENABLE ROW LEVEL SECURITY", replace(mapping(), workers=None)
    dsn = psycopg.conninfo.make_conninfo(jobs.dsn, user=role)

    async def hidden_later() -> tuple[Outcome, ...]:
        async with kit.session(dsn) as session:
            target = (await resolve(session, "test", queue, ONLY)).target
            assert target is not None
            assert target.hold is None
            jobs.execute(hide)
            jobs.execute("CREATE POLICY nobody ON parents USING (id > 1)")
            report = await Sweeper("test").sweep(session, [target], policy=kit.BY_HAND)
            return report.queues[0].outcomes

    async def hidden_before() -> tuple[str, ...]:
        async with kit.session(dsn) as session:
            return (await resolve(session, "test", queue, ONLY)).faults

    try:
        assert {(one.error, one.mended) for one in asyncio.run(hidden_later())} == {("42501", 0)}
        assert any("row-level security" in fault for fault in asyncio.run(hidden_before()))
        assert {one.mended for one in kit.sweep(dsn, queue, ONLY).values()} <= {0}
        assert statuses(jobs) == ["waiting"]
    finally:
        jobs.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
