"""Runs in the ledger: one at a time, kept alive, found when killed, forgotten by age."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import kit
import pytest

from queuewarden.engine.ledger import schema
from queuewarden.engine.upkeep import runs, sight
from queuewarden.engine.upkeep.config import Upkeep
from queuewarden.engine.upkeep.runs import Refusal, Wanted
from queuewarden.engine.upkeep.schedule import spelled
from queuewarden.engine.upkeep.task import Step

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from servers import Database

    from queuewarden.adapters.db.session import Session
    from queuewarden.engine.upkeep.runs import Result

NIGHTLY = Upkeep({"vacuum": "0 2 * * *", "backup": "0 0 * * *"}, jitter=timedelta(0))
SLOT = datetime(2026, 6, 1, 2, tzinfo=UTC)
BY_HAND = Wanted("prod", "vacuum", "anna")
BY_CLOCK = Wanted("prod", "vacuum", "host:1", SLOT, spelled(NIGHTLY, "vacuum"))
DEAD = "UPDATE queuewarden.upkeep_runs SET alive_until = now() - interval '1 s' WHERE result = 'running'"


@pytest.fixture
def database(databases: Callable[..., Database]) -> Database:
    return databases(schema.script())


def on(database: Database, work: Callable[[Session], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        async with kit.session(database.dsn) as session:
            return await work(session)

    return asyncio.run(main())


@asynccontextmanager
async def two(database: Database) -> AsyncIterator[tuple[Session, Session]]:
    async with kit.session(database.dsn) as one, kit.session(database.dsn) as other:
        yield one, other


async def ended(session: Session, wanted: Wanted, result: Result = "done", *did: Step) -> int:
    number = await runs.begin(session, wanted)
    assert isinstance(number, int), number
    await runs.end(session, number, result, f"{result} it", did)
    return number


@pytest.mark.versions
def test_a_run_is_recorded_with_what_it_did(database: Database) -> None:
    did = (
        Step("public.jobs", "vacuumed", "done", seconds=0.5, amount=7),
        Step("public.x", "vacuumed", "failed", why="lock\x00 'timeout' \\ %s postgres://u:hunter2@h/d"),
    )

    async def work(session: Session) -> None:
        await ended(session, BY_CLOCK, "failed", *did)

    on(database, work)
    (run,) = on(database, lambda session: runs.latest(session, "prod"))
    assert (run.task, run.trigger, run.actor, run.slot) == ("vacuum", "schedule", "host:1", SLOT)
    assert (run.result, run.summary, run.did[0]) == ("failed", "failed it", did[0])
    assert run.started_at <= run.finished_at
    assert run.did[1].why.startswith("lock\\x00 'timeout' \\ %s postgres://u:***@h/d")
    assert on(database, lambda session: runs.latest(session, "dev")) == []
    assert on(database, lambda session: runs.latest(session, "prod", "analyze")) == []


@pytest.mark.versions
def test_there_is_one_at_a_time_in_a_database_whatever_its_name(database: Database) -> None:
    async def main() -> None:
        async with two(database) as (one, other):
            first = await runs.begin(one, BY_HAND)
            assert isinstance(first, int)
            for wanted in (BY_HAND, Wanted("dev", "analyze", "ben")):
                assert await runs.begin(other, wanted) == Refusal("vacuum of prod is under way (by anna)")
            await runs.end(one, first, "done", "")
            assert isinstance(await runs.begin(other, BY_HAND), int)

    asyncio.run(main())


@pytest.mark.versions
def test_of_many_who_begin_at_once_one_does(database: Database) -> None:
    # They wait for each other, on a busy machine for longer than a guard would.
    limits = replace(kit.LIMITS, lock_timeout=kit.LIMITS.statement_timeout)

    async def main() -> list[int | Refusal]:
        async def begin() -> int | Refusal:
            async with kit.session(database.dsn, limits) as session:
                return await runs.begin(session, BY_CLOCK)

        return await asyncio.gather(*(begin() for _ in range(8)))

    found = asyncio.run(main())
    assert sum(isinstance(one, int) for one in found) == 1
    assert database.value("SELECT count(*) FROM queuewarden.upkeep_runs") == 1


def test_a_moment_of_the_schedule_is_run_once_but_again_where_it_was_killed(database: Database) -> None:
    async def work(session: Session) -> None:
        await ended(session, BY_CLOCK, "killed")
        await ended(session, BY_CLOCK, "failed")
        assert await runs.begin(session, BY_CLOCK) == Refusal("somebody else has just done it")
        await ended(session, Wanted("prod", "analyze", "a", SLOT, BY_CLOCK.schedule))
        await ended(session, Wanted("dev", "vacuum", "a", SLOT, BY_CLOCK.schedule))
        await ended(session, BY_HAND)

    on(database, work)
    (known,) = on(database, lambda session: runs.known(session, "prod", ["vacuum"]))
    assert known.last == (runs.Last(SLOT, "0 2 * * * UTC", "failed", 2))
    assert (known.result, known.summary) == ("done", "done it"), "whoever wanted it"


def test_a_run_that_a_wrong_clock_recorded_ahead_keeps_none_from_beginning(database: Database) -> None:
    async def work(session: Session) -> None:
        await ended(session, replace(BY_CLOCK, slot=datetime.now(UTC) + timedelta(days=300)))
        await ended(session, BY_CLOCK)
        assert isinstance(await runs.begin(session, BY_CLOCK), Refusal)

    on(database, work)


def test_who_gives_no_sign_of_life_was_killed(database: Database) -> None:
    async def main() -> None:
        async with two(database) as (one, other):
            number = await runs.begin(one, BY_CLOCK)
            assert isinstance(number, int)
            database.execute(DEAD)
            (run,) = await runs.latest(other, "prod")
            assert run.result == "killed", "so it is seen before anybody begins the next one"
            (known,) = await runs.known(other, "prod", ["vacuum"])
            assert known.last is not None
            assert known.last.result == "killed"
            await runs.beat(one, number)
            assert isinstance(await runs.begin(other, BY_HAND), Refusal), "it beats again"
            database.execute(DEAD)
            following = await runs.begin(other, BY_HAND)
            assert isinstance(following, int)
            await runs.beat(one, number)
            latest = await runs.latest(other, "prod")
            assert [(run.number, run.result) for run in latest] == [
                (following, "running"),
                (number, "killed"),
            ]
            await runs.end(one, number, "done", "late")
            (_, late) = await runs.latest(other, "prod")
            assert (late.result, late.summary) == ("done", "late"), "it was alive after all"

    asyncio.run(main())


def test_what_is_known_before_anything_was_run(database: Database) -> None:
    seen = on(database, lambda session: sight.look(session, "prod", NIGHTLY))
    assert [(one.task, one.last, one.result) for one in seen.known] == [
        ("vacuum", None, None),
        ("backup", None, None),
    ]
    assert {due.verdict for due in seen.dues.values()} == {"first"}
    assert seen.readings("prod", seen.at + 5)["upkeep_failed"] == {}
    assert set(seen.readings("prod", seen.at + 9)["upkeep_overdue_seconds"].values()) == {0.0}


def test_a_moment_at_which_nothing_was_run_is_no_result(database: Database) -> None:
    async def work(session: Session) -> None:
        await ended(session, BY_CLOCK)
        await runs.note(session, Wanted("prod", "vacuum", "a", SLOT + timedelta(1), "x"), runs.MISSED)

    on(database, work)
    (known,) = on(database, lambda session: runs.known(session, "prod", ["vacuum"]))
    assert known.last == runs.Last(SLOT + timedelta(1), "x", "skipped", 1)
    assert known.result == "done"


def test_readings_of_what_failed_and_what_is_overdue(database: Database) -> None:
    async def work(session: Session) -> sight.Sight:
        await ended(session, BY_CLOCK, "failed")
        await runs.note(session, Wanted("prod", "backup", "a", SLOT, spelled(NIGHTLY, "backup")), runs.FIRST)
        database.execute("UPDATE queuewarden.upkeep_runs SET slot = now() - interval '25 h'")
        return await sight.look(session, "prod", NIGHTLY)

    seen = on(database, work)
    readings = seen.readings("prod", seen.at + 60)
    assert {about.subject: value for about, value in readings["upkeep_failed"].items()} == {"vacuum": 1.0}
    late = {about.subject: value for about, value in readings["upkeep_overdue_seconds"].items()}
    # Both nightly moments have passed since; the seconds are those since the last of them, and a minute.
    assert all(60 <= value <= 86_460 for value in late.values())
    assert late.keys() == {"vacuum", "backup"}


@pytest.mark.versions
def test_old_runs_are_forgotten_but_never_the_last(database: Database) -> None:
    async def work(session: Session) -> int:
        for result in ("failed", "done", "done", "failed", "failed"):
            wanted = Wanted("prod", "vacuum", "a", SLOT, result + str(datetime.now(UTC)))
            await ended(session, wanted, result)
        await ended(session, BY_HAND)
        database.execute("UPDATE queuewarden.upkeep_runs SET started_at = now() - interval '91 days'")
        await ended(session, Wanted("prod", "analyze", "a"))
        return await runs.forget(session, timedelta(days=90))

    assert on(database, work) == 3
    left = on(database, lambda session: runs.latest(session, "prod"))
    assert [(run.task, run.trigger, run.result) for run in left] == [
        ("analyze", "hand", "done"),
        ("vacuum", "hand", "done"),
        ("vacuum", "schedule", "failed"),
        ("vacuum", "schedule", "done"),
    ]
    assert on(database, lambda session: runs.forget(session, timedelta(days=90))) == 0
