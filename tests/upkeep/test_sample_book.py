"""Samples in a database: gathered, bounded, and kept apart by environment."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import kit
import ledgers
import pytest

from queuewarden.engine.upkeep import sample_book
from queuewarden.engine.upkeep.samples import KEEP, LENGTH, Readings, Sample

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from servers import Database

    from queuewarden.adapters.db.session import Session

DAY, HOUR = LENGTH["1d"], LENGTH["1h"]
NOON = 20_000 * DAY + 12 * HOUR


@pytest.fixture
def ledger(databases: Callable[..., Database]) -> Database:
    return databases(ledgers.SCHEMA)


def run(ledger: Database, work: Callable[[Session], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        async with kit.session(ledger.dsn) as session:
            return await work(session)

    return asyncio.run(main())


def made(at: int, queue: str = "", n: int = 1, **sums: float) -> Sample:
    return Sample(queue, at, "5m", Readings(n, dict(sums)))


@pytest.mark.versions
def test_what_is_of_more_sweeps_stays(ledger: Database) -> None:
    async def work(session: Session) -> list[Sample]:
        for n, up in ((3, 30), (2, 20), (3, 31)):
            await sample_book.save(session, "prod", "5m", [made(NOON, n=n, up=up)])
        await sample_book.save(session, "other", "5m", [made(NOON, n=9)])
        return await sample_book.series(session, "prod", "", "5m", 0, NOON + 1)

    assert run(ledger, work) == [made(NOON, n=3, up=31)]


@pytest.mark.versions
def test_hours_and_days_are_gathered_once_they_are_over(ledger: Database) -> None:
    fives = range(NOON - 30 * HOUR, NOON + HOUR, 300)
    zone = "SET TimeZone = 'Asia/Kathmandu'"
    ledger.execute(f"ALTER DATABASE {ledger.value('SELECT current_database()')} {zone}")

    async def work(session: Session) -> tuple[list[int], list[Sample], list[Sample]]:
        await sample_book.save(
            session, "prod", "5m", [made(at, q, up=300) for at in fives for q in ("", "a")]
        )
        now = NOON + HOUR + 299
        steps = [await sample_book.gather(session, "prod", "5m", "1h", now) for _ in range(2)]
        steps += [await sample_book.gather(session, "prod", "1h", "1d", now) for _ in range(2)]
        return (
            steps,
            await sample_book.series(session, "prod", "a", "1h", 0, now),
            await sample_book.series(session, "prod", "", "1d", 0, now),
        )

    steps, hours, days = run(ledger, work)
    assert steps == [31, 0, 1, 0]
    assert [one.at for one in hours] == list(range(NOON - 30 * HOUR, NOON + HOUR, HOUR))
    assert {one.readings.sums["up"] for one in hours} == {HOUR}
    (day,) = days
    assert (day.at, day.readings.sums["up"], day.readings.n) == (NOON - 36 * HOUR, 18 * HOUR, 18 * 12)


def test_gathering_that_was_killed_is_made_anew(ledger: Database) -> None:
    async def work(session: Session) -> list[Sample]:
        samples = [made(NOON + step * 300, queue) for step in range(24) for queue in ("", "a", "b")]
        await sample_book.save(session, "prod", "5m", samples)
        # Queues of the first hour were written and its own row was not.
        await sample_book.save(session, "prod", "1h", [Sample("a", NOON, "1h", Readings(1))])
        assert await sample_book.gather(session, "prod", "5m", "1h", NOON + 2 * HOUR) == 2
        return await sample_book.series(session, "prod", "a", "1h", 0, NOON + 2 * HOUR)

    assert [one.readings.n for one in run(ledger, work)] == [12, 12]


def test_two_years_stay_bounded(ledger: Database) -> None:
    """Of two simulated years, a step in two weeks: what is there never exceeds what is kept."""
    rows: list[int] = []

    async def work(session: Session) -> None:
        for week in range(0, 110, 2):
            end = NOON + week * 7 * DAY
            for span, step in (("5m", 300), ("1h", HOUR), ("1d", DAY)):
                first = max(end - 14 * DAY, end - int(KEEP[span].total_seconds()))
                samples = [Sample("", at, span, Readings(1)) for at in range(first, end, step)]
                await sample_book.save(session, "prod", span, samples)
            while await sample_book.forget(session, end):
                pass
            rows.append(await count(session))

    async def count(session: Session) -> int:
        from queuewarden.adapters.db.session import Query

        ((number,),) = await session.rows(Query(b"SELECT count(*) FROM queuewarden.samples", {}))
        return int(number)

    run(ledger, work)
    assert max(rows) <= 2 * 288 + 60 * 24 + 730
    assert rows[-1] == rows[-2] == 2 * 288 + 60 * 24 + 730
