"""What a sampler counts in a database, and when it writes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import kit
import ledgers
import pytest
from upkeep.clocks import FIVE, NOON, Clock

from queuewarden.application.upkeep import sampling
from queuewarden.application.upkeep.sampling import Sampler
from queuewarden.engine.ledger.schema import Schema, read_schema
from queuewarden.engine.resolve import resolve
from queuewarden.engine.upkeep import sample_book
from queuewarden.engine.upkeep.samples import slot

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from servers import Database

    from queuewarden.adapters.db.session import Session
    from queuewarden.engine.upkeep.samples import Readings
    from queuewarden.queues.target import Target


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def ledger(databases: Callable[..., Database]) -> Database:
    return databases(ledgers.SCHEMA)


def run(ledger: Database, work: Callable[[Session, Schema, list[Target]], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        async with kit.session(ledger.dsn) as session:
            resolution = await resolve(session, "prod", kit.MAPPING, kit.LIMITS)
            assert resolution.target is not None
            return await work(session, await read_schema(session), [resolution.target])

    return asyncio.run(main())


async def five(session: Session, queue: str = "") -> dict[int, Readings]:
    found = await sample_book.series(session, "prod", queue, "5m", 0, NOON * 2)
    return {one.at: one.readings for one in found}


@pytest.mark.versions
def test_jobs_are_counted_by_when_they_ended(ledger: Database, clock: Clock) -> None:
    ledger.execute(f"""
        INSERT INTO jobs (status, started_at, finished_at, enqueued_at) SELECT s, to_timestamp({NOON} + b),
               to_timestamp({NOON} + e), to_timestamp({NOON} - 4000)
          FROM (VALUES ('done', 100, 102), ('done', 100, 299.9), ('failed', 100, 150), ('done', 100, 300),
                       ('done', -9000, -8000), ('done', 200, 100), ('running', 0, 10)) AS v(s, b, e);
        INSERT INTO jobs (enqueued_at) SELECT to_timestamp({NOON} + 7) FROM generate_series(1, 5);
        INSERT INTO jobs (status, enqueued_at, started_at, finished_at)
        VALUES ('done', '-infinity', 'infinity', 'infinity')""")

    async def work(session: Session, schema: Schema, targets: list[Target]) -> dict[int, Readings]:
        sampler = Sampler("prod")
        sampler.swept(clock.report(), 30)
        clock.now += FIVE
        sampler.swept(clock.report(), 30)
        await sampler.keep(session, schema, targets, ours=True)
        assert {at for at, _ in sampler._open} == {NOON + FIVE}
        return await five(session, "mail")

    found = run(ledger, work)
    assert list(found) == [NOON]
    readings = found[NOON]
    assert readings.sums == {
        "looked_done": 300, "done": 3, "looked_failed": 300, "failed": 1, "looked_arrived": 300, "arrived": 5,
    }  # fmt: skip
    assert readings.times == {slot(2): 1, slot(199.9): 1}, "one ended before it began"
    assert readings.gauges["size"].mean > 8192
    assert "key" not in readings.gauges, "a bigint does not run out"


def test_after_a_restart_jobs_are_counted_back_and_time_is_not(ledger: Database, clock: Clock) -> None:
    ledger.execute(f"""INSERT INTO jobs (status, finished_at, enqueued_at)
        SELECT 'done', to_timestamp({NOON} + s), to_timestamp(0) FROM generate_series(0, 3599, 60) AS s""")

    async def work(session: Session, schema: Schema, targets: list[Target]) -> None:
        for now in (NOON, NOON + 3600):
            sampler = Sampler("prod")  # a restart
            clock.now = now
            sampler.swept(clock.report(), 30)
            clock.now += FIVE
            sampler.swept(clock.report(), 30)
            await sampler.keep(session, schema, targets, ours=True)
        jobs = await five(session, "mail")
        assert [one.sums["done"] for at, one in sorted(jobs.items())] == [5] * 12 + [0]
        assert sorted(await five(session)) == [NOON, NOON + 3600]
        hours = await sample_book.series(session, "prod", "mail", "1h", 0, NOON * 2)
        assert [(one.at, one.readings.sums["done"]) for one in hours] == [(NOON, 60)]

    run(ledger, work)


def test_a_look_that_would_be_costly_is_not_made(
    ledger: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.execute(f"""
        INSERT INTO jobs (status, finished_at, enqueued_at, error)
        SELECT 'done', to_timestamp({NOON} - s), to_timestamp({NOON} - s), 'x'
          FROM generate_series(1, 20000) AS s;
        CREATE INDEX ON jobs (finished_at) WHERE status = 'done'; ANALYZE jobs""")
    monkeypatch.setattr(sampling.looks, "COSTLIEST", 100.0)

    async def work(session: Session, schema: Schema, targets: list[Target]) -> Readings:
        sampler = Sampler("prod")
        sampler.swept(clock.report(), 30)
        clock.now += FIVE
        sampler.swept(clock.report(), 30)
        await sampler.keep(session, schema, targets, ours=True)
        return (await five(session, "mail"))[NOON]

    assert run(ledger, work).sums == {"looked_done": 300, "done": 0}


def test_an_outage_is_written_when_it_is_over(ledger: Database, clock: Clock) -> None:
    async def work(session: Session, schema: Schema, targets: list[Target]) -> dict[int, Readings]:
        sampler = Sampler("prod")
        sampler.swept(clock.report(), 30)
        for _ in range(60):
            clock.now += 30
            sampler.failed(30)
        clock.now += 30
        sampler.swept(clock.report(), 30)
        await sampler.keep(session, schema, targets, ours=True)
        return await five(session)

    found = run(ledger, work)
    assert [(one.sums.get("up", 0), one.sums["down"]) for one in found.values()] == [
        (30, 270), *[(0, 300)] * 5,
    ]  # fmt: skip


def test_who_has_no_lease_writes_nothing_and_forgets(ledger: Database, clock: Clock) -> None:
    async def work(session: Session, schema: Schema, targets: list[Target]) -> None:
        sampler = Sampler("prod")
        for _ in range(40):
            sampler.swept(clock.report(), 30)
            await sampler.keep(session, schema, targets, ours=False)
            clock.now += 60
        assert await five(session) == {}
        assert len(sampler._open) <= 4
        sampler.swept(clock.report(), 30)
        await sampler.keep(session, schema, targets, ours=True)
        assert min(await five(session)) >= clock.now - sampling.STANDBY - 2 * FIVE
        sampler.swept(clock.report(), 30)
        clock.now += FIVE
        await sampler.keep(session, Schema(), targets, ours=True)
        assert sampler._open == {}, "no ledger: nothing waits for one"

    run(ledger, work)


def test_a_failure_ends_here_and_is_told_once(
    ledger: Database, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    async def work(session: Session, schema: Schema, targets: list[Target]) -> None:
        sampler = Sampler("prod")
        ledger.execute("ALTER TABLE queuewarden.samples RENAME TO away")
        for _ in range(3):
            sampler.swept(clock.report(), 30)
            clock.now += FIVE
            await sampler.keep(session, schema, targets, ours=True)
        ledger.execute("ALTER TABLE queuewarden.away RENAME TO samples")
        assert session.usable
        sampler.swept(clock.report(), 30)
        await sampler.keep(session, schema, targets, ours=True)
        assert len(await five(session)) == 3, "what waited is written"

    run(ledger, work)
    assert capsys.readouterr().out.count("samples.unkept") == 1


def test_five_minutes_are_counted_when_what_ended_in_them_is_committed(
    ledger: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "SETTLE", 60.0)

    async def work(session: Session, schema: Schema, targets: list[Target]) -> tuple[Readings, Readings]:
        sampler = Sampler("prod")
        sampler.swept(clock.report(), 30)
        with ledger.connect(autocommit=False) as worker:
            worker.execute(
                f"INSERT INTO jobs (status, finished_at) VALUES ('done', to_timestamp({NOON} + 299))"
            )
            clock.now += FIVE - 1
            sampler.swept(clock.report(), 30)
            clock.now += 2
            await sampler.keep(session, schema, targets, ours=True)
        clock.now += 58
        sampler.swept(clock.report(), 30)
        await sampler.keep(session, schema, targets, ours=True)
        assert await five(session) == {}
        clock.now += 1
        await sampler.keep(session, schema, targets, ours=True)
        return (await five(session))[NOON], (await five(session, "mail"))[NOON]

    own, mail = run(ledger, work)
    assert mail.sums["done"] == 1
    assert own.sums["up"] == 151, "150 s of the first sweep, and what the last one in them told to their end"


def test_what_could_not_be_written_is_counted_once(ledger: Database, clock: Clock) -> None:
    ledger.execute(f"""INSERT INTO jobs (status, started_at, finished_at, enqueued_at)
        VALUES ('done', to_timestamp({NOON} + 1), to_timestamp({NOON} + 2), to_timestamp({NOON}))""")

    async def work(session: Session, schema: Schema, targets: list[Target]) -> Readings:
        sampler = Sampler("prod")
        sampler.swept(clock.report(), 30)
        clock.now += FIVE
        ledger.execute("ALTER TABLE queuewarden.samples ADD CONSTRAINT full_ CHECK (at IS NULL)")
        for ours in (True, True, False, True):
            sampler.swept(clock.report(), 30)
            await sampler.keep(session, schema, targets, ours=ours)
            clock.now += 30
        ledger.execute("ALTER TABLE queuewarden.samples DROP CONSTRAINT full_")
        await sampler.keep(session, schema, targets, ours=True)
        return (await five(session, "mail"))[NOON]

    found = run(ledger, work)
    assert (found.sums["done"], found.sums["looked_done"], found.times) == (1, 300, {slot(1): 1})


def test_a_lock_on_the_table_holds_up_nothing(ledger: Database, clock: Clock) -> None:
    async def work(session: Session, schema: Schema, targets: list[Target]) -> None:
        sampler = Sampler("prod")
        sampler.swept(clock.report(), 30)
        clock.now += FIVE
        with ledger.connect() as other:
            other.execute("BEGIN; LOCK TABLE jobs, queuewarden.samples IN ACCESS EXCLUSIVE MODE")
            async with asyncio.timeout(20):
                await sampler.keep(session, schema, targets, ours=True)
            other.execute("ROLLBACK")
        assert session.usable
        assert (NOON, "") in sampler._open

    run(ledger, work)
