"""Gathering a report of one environment: samples, the ledger and failures, queue by queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

from queuewarden.adapters.db.reasons import reason
from queuewarden.adapters.db.session import Query
from queuewarden.engine.ledger.schema import read_schema
from queuewarden.engine.reading import failures as reading
from queuewarden.engine.upkeep import looks, sample_book
from queuewarden.engine.upkeep.report.build import Builder, Subject
from queuewarden.engine.upkeep.report.growth import WINDOW
from queuewarden.engine.upkeep.report.ledger import recorded
from queuewarden.engine.upkeep.report.values import DAYS, Frame, Thresholds
from queuewarden.engine.upkeep.report.wording import span
from queuewarden.engine.upkeep.samples import LENGTH, Sample, merged, start

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from queuewarden.adapters.db.session import Session
    from queuewarden.engine.reading.failures import Failure
    from queuewarden.engine.upkeep.report.values import Period, Report
    from queuewarden.model import Limits
    from queuewarden.queues.target import Target

DAY, HOUR = LENGTH["1d"], LENGTH["1h"]

FAILURES = 10_000
"""Failures of all queues whose texts are looked at: the latest of each."""

_NOW = Query(b"SELECT extract(epoch FROM statement_timestamp())::float8", {})


async def gather(
    session: Session,
    environment: str,
    targets: Sequence[Target],
    period: Period,
    *,
    size_limit: int | None = None,
    tell: Callable[[str, int, int], None] = lambda *_: None,
) -> Report:
    """A report of the period that ends now.

    Args:
        session: on the environment's database.
        environment: its name.
        targets: its queues, as far as they fit the catalog.
        period: how far it reaches back.
        size_limit: the bytes that a table may have.
        tell: called with each queue, its number, and how many there are.

    Raises:
        psycopg.Error: as the server reports it.
    """
    ((now,),) = await session.rows(_NOW)
    until = start(now, "5m")
    frame = Frame(environment, period, start(until - DAYS[period] * DAY, "1h"), until, size_limit)
    schema = await read_schema(session)
    notes = [f"the ledger cannot be read: {fault}" for fault in schema.faults[:1]]
    if schema.version is None:
        notes.append(f"there is no ledger: run `queuewarden install --env {environment}`")
    keeps = [keep for target in targets if (keep := target.limits.ledger_keep) is not None]
    if schema.usable and any(keep.total_seconds() < frame.seconds for keep in keeps):
        kept = span(min(keeps).total_seconds())
        notes.append(f"the ledger is kept for {kept}: of what was repaired before, nothing is known")
    known = await recorded(session, frame) if schema.usable else None
    if schema.usable and not schema.upkeep:
        why = schema.unscheduled or f"run `queuewarden install --env {environment}`"
        notes.append(f"no samples are kept: {why}")
    shelf = await _Shelf.of(session, frame) if schema.upkeep else None
    builder = Builder(frame, known, notes)
    by_name = {target.queue: target for target in targets}
    sampled = await sample_book.queues(session, environment, frame.since) if shelf is not None else []
    names = sorted({*by_name, *sampled, *(one.queue for one in (known.repairs if known is not None else ()))})
    each = max(50, FAILURES // max(1, len(by_name)))
    for number, name in enumerate(names):
        tell(name, number, len(names))
        target = by_name.get(name)
        samples = await shelf.samples(name) if shelf is not None else []
        days = await shelf.days(name, samples) if shelf is not None else []
        builder.queue(_subject(name, target, samples), samples, days)
        if target is not None:
            builder.failed(await _failures(session, target, frame, each, builder.notes))
    own = await shelf.samples("") if shelf is not None else []
    if shelf is not None and not own:
        builder.notes.append("no samples yet: the daemon writes one each five minutes, once it has the lease")
    return builder.report(own)


class _Shelf:
    """Where the samples of a period stand: hours as far as there are some, five minutes behind them."""

    def __init__(self, session: Session, frame: Frame, gathered: int) -> None:
        self._session, self._frame, self._gathered = session, frame, gathered

    @classmethod
    async def of(cls, session: Session, frame: Frame) -> _Shelf:
        """How far hours were gathered."""
        latest = await sample_book.last(session, frame.environment, "1h")
        return cls(session, frame, frame.since if latest is None else latest + HOUR)

    async def samples(self, queue: str) -> list[Sample]:
        """Those of the period, none overlapping."""
        frame, cut = self._frame, min(self._gathered, self._frame.until)
        place = (self._session, frame.environment, queue)
        return [
            *await sample_book.series(*place, "1h", frame.since, cut),
            *await sample_book.series(*place, "5m", max(cut, frame.since), frame.until),
        ]

    async def days(self, queue: str, samples: Sequence[Sample]) -> list[Sample]:
        """Those of whole days, as far back as a forecast goes, and what there is of today."""
        frame = self._frame
        today = start(frame.until, "1d")
        since = today - WINDOW * DAY
        days = await sample_book.series(self._session, frame.environment, queue, "1d", since, today)
        present = [one.readings for one in samples if one.at >= today]
        return [*days, Sample(queue, today, "1d", merged(present))] if present else days


async def _failures(
    session: Session, target: Target, frame: Frame, most: int, notes: list[str]
) -> list[tuple[str, str, Failure]]:
    """The latest failures of a queue; where they cannot be read, a note says so."""
    query = reading.latest_failures(target, frame.seconds // HOUR + 1)
    if query is None:
        return []
    (answer,) = await session.read([query])
    if isinstance(answer, psycopg.Error):
        notes.append(f"the failures of {target.queue} cannot be read: {reason(answer)}")
        return []
    return [(frame.environment, target.queue, reading.failure(row)) for row in answer[:most]]


def _subject(name: str, target: Target | None, samples: Sequence[Sample]) -> Subject:
    if target is None:
        return Subject(name, lacks=("it is not configured here any more, or does not fit the database",))
    return Subject(
        name,
        str(target.jobs),
        _thresholds(target.limits),
        looks.key_limit(target),
        tuple(_lacks(target, samples)),
    )


def _thresholds(limits: Limits) -> Thresholds:
    alive = limits.stuck_after_alive
    return Thresholds(
        limits.stuck_after.total_seconds(),
        alive.total_seconds() if alive is not None else None,
        limits.dead_after.total_seconds(),
        limits.oldest_waiting.total_seconds(),
    )


def _lacks(target: Target, samples: Sequence[Sample]) -> Iterator[str]:
    """Why figures of a queue are missing."""
    jobs, states = target.mapping.jobs, target.mapping.states
    if not states.done:
        yield "no status says done: what was done is not counted"
    elif jobs.finished_at is None:
        yield "no FINISHED_AT is mapped: what was done, and how long it ran, is not known"
    elif jobs.started_at is None:
        yield "no STARTED_AT is mapped: how long jobs ran is not known"
    if not states.failed:
        yield "no status says failed: what failed is not counted"
    elif jobs.failure is None:
        yield "no time of failed jobs is mapped: what failed is not counted"
    if jobs.enqueued_at is None:
        yield "no ENQUEUED_AT is mapped: what arrived is not counted"
    counted = {name for one in samples for name in one.readings.sums}
    asked = {look.kind for look in looks.looks(target, 0, 1)} if samples else set()
    if missing := sorted(kind for kind in asked if f"looked_{kind}" not in counted):
        yield f"no index serves counting ({', '.join(missing)}): see `queuewarden diagnose`"
