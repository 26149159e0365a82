"""Rows to export, a page of each queue at a time; nothing is kept from one page to the next."""

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from queuewarden.application.alerting.document import described
from queuewarden.application.http.choice import Choice
from queuewarden.application.http.data import consistency, history, jobs, workers
from queuewarden.application.http.data.desk import Desk, Seat, open_seat, sheltered
from queuewarden.application.http.data.judging import LISTED, judge
from queuewarden.application.http.data.lanes import LaneSearch
from queuewarden.application.http.data.parameters import by_name, clean, off_loop, targets_of, unread
from queuewarden.application.watching.station import Station
from queuewarden.engine.ledger.entries import batches
from queuewarden.engine.reading.jobs import JobFilter
from queuewarden.errors import UnavailableError

if TYPE_CHECKING:
    from queuewarden.model import Key

What = Literal["jobs", "alerts", "history", "findings", "workers"]

PAGE = 500
"""Rows that are read at a time, each page in a transaction of its own."""

COLUMNS: dict[What, tuple[str, ...]] = {
    "jobs": tuple(jobs.Job.model_fields),
    "workers": tuple(workers.Worker.model_fields),
    "history": tuple(history.Recorded.model_fields),
    "findings": tuple(consistency.Issue.model_fields),
    "alerts": (
        "id", "rule", "severity", "environment", "queue", "subject", "value", "threshold", "summary", "hint",
        "since", "announced", "escalated", "muted", "acked_by", "resolved",
    ),
}  # fmt: skip

FILTERS: dict[What, frozenset[str]] = {
    "jobs": frozenset({"lane", "state", "since"}),
    "workers": frozenset(),
    "history": frozenset({"since", "check", "sweep"}),
    "findings": frozenset({"lane", "check"}),
    "alerts": frozenset(),
}
"""What may be asked of each, beside the environment and the queue."""

Page = list[dict[str, Any]]


@dataclass(slots=True)
class Rows:
    """What one export is about."""

    desk: Desk
    station: Station
    choice: Choice
    what: What
    wanted: JobFilter = field(default_factory=JobFilter)
    check: history.Check | None = None
    sweep: str | None = None

    async def pages(self) -> AsyncGenerator[Page, None]:
        """All rows.

        Raises:
            UnavailableError: an environment is down, or too many ask it.
            psycopg.Error: as the server reports it.
            Problem: no such lane.
        """
        if self.what == "alerts":
            yield self._alerts()
            return
        search = LaneSearch(self.choice.lane)
        for guard in by_name(self.choice.guards):
            async with self.desk.export(guard):
                seat = Seat(guard, await open_seat(guard))
                try:
                    pages = self._pages(seat, search)
                    while (page := await sheltered(seat, _next(pages))) is not None:
                        yield page
                finally:
                    await seat.close()
        if self.what in {"jobs", "findings"}:
            search.require()

    def _pages(self, seat: Seat, search: LaneSearch) -> AsyncIterator[Page]:
        if self.what == "jobs":
            return self._jobs(seat, search)
        if self.what == "workers":
            return self._workers(seat)
        if self.what == "history":
            return self._history(seat)
        return self._findings(seat, search)

    async def _jobs(self, seat: Seat, search: LaneSearch) -> AsyncIterator[Page]:
        self._require_all(seat)
        for target in targets_of(self.choice, seat.guard):
            after: Key | None = None
            while True:
                rows = await jobs.page_of(seat, target, self.wanted, search, after, PAGE)
                if rows:
                    yield await off_loop(partial(jobs.told, target, rows))
                    after = rows[-1].key
                if len(rows) < PAGE:
                    break

    async def _workers(self, seat: Seat) -> AsyncIterator[Page]:
        self._require_all(seat)
        for target in targets_of(self.choice, seat.guard):
            after: str | None = None
            while True:
                rows = await workers.workers_of(seat, target, after, PAGE)
                if rows:
                    yield await off_loop(partial(workers.told, target, rows))
                    after = rows[-1].id
                if len(rows) < PAGE:
                    break

    async def _history(self, seat: Seat) -> AsyncIterator[Page]:
        name, since = seat.guard.config.name, self.wanted.since
        if await history.no_ledger(seat) is not None:
            return
        filter_ = history.wanted(self.choice, name, since, self.check, self.sweep, None)
        async for batch in batches(seat.session, filter_, history.PAGE):
            if isinstance(since, datetime) and batch.changes[0].at < since:
                return
            yield await off_loop(partial(history.told, batch.changes))

    async def _findings(self, seat: Seat, search: LaneSearch) -> AsyncIterator[Page]:
        others = {name: guard.config for name, guard in self.station.guards.items()}
        judged = await judge(seat, others, self.choice, search)
        for queue, why in judged.unreadable.items():
            raise UnavailableError(f"queue {queue}: {clean(why)}")
        if judged.broken is not None:
            raise UnavailableError(judged.broken)
        yield await off_loop(
            lambda: [
                one.model_dump()
                for one in consistency.issues(judged)
                if self.check is None or one.check == self.check
            ]
        )
        if any(one.found > LISTED for one in judged.outcomes if self.check in {None, one.check}):
            raise UnavailableError(f"of what one rule finds no more than {LISTED} rows are listed")

    def _require_all(self, seat: Seat) -> None:
        """An export that silently leaves a queue out would be taken for all there is."""
        for one in unread(self.choice, seat.guard):
            raise UnavailableError(f"queue {one.queue}: {one.message}")

    def _alerts(self) -> Page:
        return [
            {name: clean(value) for name, value in described(alert).items()}
            for alert in (*self.station.alarm.alerts(), *self.station.alarm.history())
            if self.choice.about(alert.about)
        ]


async def _next(pages: AsyncIterator[Page]) -> Page | None:
    return await anext(pages, None)
