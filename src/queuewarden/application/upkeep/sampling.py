"""Sampling: what sweeps of an environment knew, kept in its ledger each five minutes by who has the lease.

While the database is down, what is known of that waits here. Whatever fails ends here: no sweep fails by it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psycopg
import structlog

from queuewarden.adapters.db.reasons import reason
from queuewarden.engine.upkeep import looks, sample_book
from queuewarden.engine.upkeep.samples import LENGTH, Readings, Sample, start
from queuewarden.errors import QueuewardenError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from queuewarden.adapters.db.session import Session
    from queuewarden.engine.ledger.schema import Schema
    from queuewarden.engine.report import QueueReport, SweepReport
    from queuewarden.queues.target import Target
    from queuewarden.settings.configuration import EnvironmentConfig

FIVE = LENGTH["5m"]

MOST = 4000
"""Samples that wait at most, the latest ones: two days of an environment that is down are 576."""

STANDBY = 2 * FIVE
"""Seconds of samples that wait where another daemon has the lease: it may die before it writes its own."""

SETTLE = 60.0
"""Seconds behind the end of five minutes until they are counted and written: who ended a job in them may not
have committed, and a sweep that began in them may not be over."""

BACK = 6 * LENGTH["1h"]
"""Seconds that jobs are counted back at most, from before this daemon started or while it could not."""

SLACK = 60.0
"""Seconds that a result holds beyond three intervals; after that nothing is known until the next one."""


@dataclass(slots=True)
class Sampler:
    """Samples of one environment.

    Moments are seconds since 1970 by the database's clock; by this machine's until that is known, and carried
    on by the monotonic one while the database is down.
    """

    environment: str
    _offset: float = field(default_factory=lambda: time.time() - time.monotonic())
    _last: tuple[float, bool, float] | None = None
    _open: dict[tuple[int, str], Readings] = field(default_factory=dict)
    _counted: float | None = None
    _gathered: int | None = None
    _unkept: str | None = None

    def swept(self, report: SweepReport, interval: float) -> None:
        """Take in a sweep, good or bad as its checks may have been: the environment is up."""
        now = report.server.now.timestamp()
        self._offset = now - time.monotonic()
        self._result(now, up=True, interval=interval)
        own = self._of(now, "")
        own.n += 1
        own.add("sweeps", 1)
        own.note("sweep_seconds", report.seconds)
        own.note("latency", report.probe_seconds)
        own.note("connections", report.load.used if report.load is not None else None)
        for queue in report.queues:
            _take(self._of(now, queue.queue), queue)
        self._bound()

    def failed(self, interval: float) -> None:
        """A sweep failed: the environment is down."""
        now = self._now()
        self._result(now, up=False, interval=interval)
        own = self._of(now, "")
        own.n += 1
        own.add("failed_sweeps", 1)
        self._bound()

    async def keep(self, session: Session, schema: Schema, targets: Sequence[Target], *, ours: bool) -> None:
        """Write what is complete, if something is.

        Args:
            session: free just now.
            schema: the ledger's.
            targets: the queues.
            ours: the lease is.
        """
        now = self._now() - SETTLE
        complete = sorted(key for key in self._open if key[0] + FIVE <= now)
        if not complete:
            return
        if not schema.upkeep or not ours:
            oldest = now if not schema.upkeep else now - STANDBY - FIVE
            for key in complete:
                if key[0] < oldest:
                    del self._open[key]
            self._counted = None
            return
        try:
            await self._count(session, targets, start(now, "5m"))
            written = sorted(key for key in self._open if key[0] + FIVE <= now)
            samples = [Sample(queue, at, "5m", self._open[at, queue]) for at, queue in written]
            await sample_book.save(session, self.environment, "5m", samples)
            for key in written:
                del self._open[key]
            await self._gather(session, now)
        except (psycopg.Error, QueuewardenError) as error:
            self._tell(reason(error))
        else:
            self._tell(None)

    def _now(self) -> float:
        return time.monotonic() + self._offset

    def _of(self, moment: float, queue: str) -> Readings:
        return self._open.setdefault((start(moment, "5m"), queue), Readings())

    def _result(self, now: float, *, up: bool, interval: float) -> None:
        """What the last attempt found holds until this one, unless that came too late."""
        if self._last is not None:
            since, was, holds = self._last
            until = min(now, since + holds)
            while since < until:
                end = min(until, start(since, "5m") + FIVE)
                self._of(since, "").add("up" if was else "down", end - since)
                since = end
        self._last = (now, up, 3 * interval + SLACK)

    def _bound(self) -> None:
        """The oldest are given up where nothing can be written for long."""
        for key in sorted(self._open)[: max(0, len(self._open) - MOST)]:
            del self._open[key]

    async def _count(self, session: Session, targets: Sequence[Target], until: float) -> None:
        """Count the jobs that ended and came since the last time, and note how large the tables are."""
        if self._counted is None:
            before = await sample_book.last(session, self.environment, "5m")
            self._counted = until - FIVE if before is None else before + FIVE
        since = max(min(self._counted, until - FIVE), until - BACK)
        asked = [look for target in targets for look in looks.looks(target, since, until)]
        sizes = {target.queue: query for target in targets if (query := looks.size(target)) is not None}
        if not asked and not sizes:
            return
        answers = await session.read([*sizes.values(), *map(looks.costing, asked)])
        for queue, answer in zip(sizes, answers, strict=False):
            if not isinstance(answer, psycopg.Error):
                held = self._of(until - FIVE, queue)
                for name, value in zip(("size", "rows", "key"), answer[0], strict=True):
                    held.note(name, value)
        priced = zip(asked, answers[len(sizes) :], strict=True)
        chosen = looks.affordable(
            [(looks.cost(rows), look) for look, rows in priced if not isinstance(rows, psycopg.Error)]
        )
        if chosen:
            for look, found in zip(chosen, await session.read([one.query for one in chosen]), strict=True):
                if not isinstance(found, psycopg.Error):
                    self._note(look, found, since, until)
        self._counted = until

    def _note(
        self, look: looks.Look, found: Sequence[tuple[object, ...]], since: float, until: float
    ) -> None:
        """What was counted of whole spans, instead of what an earlier count told that was not written."""
        queue, kind = look.target.queue, look.kind
        spans = {moment: self._of(moment, queue) for moment in range(int(since), int(until), FIVE)}
        for held in spans.values():
            held.sums |= {f"looked_{kind}": FIVE, kind: 0}
            if kind == "done":
                held.times.clear()
        for at, slot, jobs in found:
            # A time without a zone may lie outside, where clocks were set back.
            held = spans.get(int(str(at)), Readings())
            held.add(kind, float(str(jobs)))
            if isinstance(slot, int):
                held.count(slot, int(str(jobs)))

    async def _gather(self, session: Session, now: float) -> None:
        """Once an hour: longer spans, and what is too old."""
        hour = start(now, "1h")
        if hour == self._gathered:
            return
        await sample_book.gather(session, self.environment, "5m", "1h", now)
        await sample_book.gather(session, self.environment, "1h", "1d", now)
        await sample_book.forget(session, now)
        self._gathered = hour

    def _tell(self, why: str | None) -> None:
        if why is not None and why != self._unkept:
            log = structlog.get_logger().bind(environment=self.environment)
            log.warning(
                "samples.unkept", reason=why, hint="reports lack what is not kept until this is mended"
            )
        self._unkept = why


def interval(config: EnvironmentConfig) -> float:
    """Seconds from one sweep of an environment to the next, at most."""
    own = config.limits.interval
    return max(own, min((one.interval for one in config.queue_limits.values()), default=own)).total_seconds()


def _take(held: Readings, queue: QueueReport) -> None:
    """What a sweep knew of a queue."""
    held.n += 1
    held.add("mended", sum(outcome.mended for outcome in queue.outcomes))
    held.add("errors", sum(outcome.error is not None for outcome in queue.outcomes))
    counts = queue.counts
    if counts is None:
        return
    held.note("waiting", counts.waiting)
    held.note("running", counts.running)
    held.note("failed_jobs", counts.failed)
    held.note("workers", counts.live_workers)
    held.note("silent", counts.silent_workers)
    oldest = counts.oldest_waiting
    held.note("oldest", max(0.0, oldest.total_seconds()) if oldest is not None else None)
