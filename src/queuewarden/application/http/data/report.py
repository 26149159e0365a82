"""``GET /api/report``: what a period came to."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

import psycopg
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel

from queuewarden.application.guard import Guard
from queuewarden.application.http.access import Reader, StationOf
from queuewarden.application.http.choice import Choice, PlacesOf
from queuewarden.application.http.data.advice import Advice, advice
from queuewarden.application.http.data.answers import Answers
from queuewarden.application.http.data.desk import Seat, failure
from queuewarden.application.http.data.parameters import (
    DeskOf,
    Trouble,
    by_name,
    targets_of,
    troubles,
    unread,
)
from queuewarden.application.http.data.remembered import Fired, Slow, fired, slowest
from queuewarden.application.http.problems import documented
from queuewarden.application.watching.station import Station
from queuewarden.engine.ledger.schema import read_schema
from queuewarden.engine.reading.throughput import (
    Repaired,
    Throughput,
    repaired,
    repaired_row,
    throughput,
    throughput_row,
)

router = APIRouter()

Period = Literal["hour", "day", "week", "month"]
SPANS: dict[Period, timedelta] = {
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(days=7),
    "month": timedelta(days=30),
}
HOUR = timedelta(hours=1)


class QueueThroughput(BaseModel):
    """One queue; what its mapping does not tell is null.

    Attributes:
        arrived_per_hour, drained_per_hour: jobs that were enqueued, and those that ended, well or badly.
    """

    environment: str
    queue: str
    done: int | None
    failed: int | None
    average_seconds: float | None
    p95_seconds: float | None
    arrived_per_hour: float | None
    drained_per_hour: float | None


class Repairs(BaseModel):
    """What one check repaired.

    Attributes:
        source: the ledger; or memory, which reaches back to the daemon's start at most.
    """

    environment: str
    queue: str
    check: str
    event: str
    count: int
    source: Literal["ledger", "memory"]


class Report(BaseModel):
    """What a period came to.

    Attributes:
        uptime_seconds: the daemon's.
        errors: what could not be read, and is missing here.
    """

    period: Period
    since: datetime
    until: datetime
    uptime_seconds: float
    throughput: list[QueueThroughput]
    repairs: list[Repairs]
    alerts: list[Fired]
    slowest_checks: list[Slow]
    recommendations: list[Advice]
    errors: list[Trouble]


class _Found:
    """What one environment has; ``repairs`` is None where there is no ledger."""

    def __init__(self) -> None:
        self.queues: dict[str, Throughput] = {}
        self.repairs: list[Repaired] | None = None
        self.troubles: list[Trouble] = []


@router.get("/api/report", responses=documented(404, 503), summary="What a period came to")
async def report(
    request: Request,
    _: Reader,
    choice: PlacesOf,
    desk: DeskOf,
    station: StationOf,
    period: Annotated[Period, Query(description="The last hour, day, 7 days or 30 days.")] = "day",
) -> Report:
    """Throughput, repairs, alerts, the slowest checks, and what is recommended."""
    span, until = SPANS[period], datetime.now(UTC)
    since = until - span

    async def work(seat: Seat) -> _Found:
        return await _look(seat, choice, span)

    guards = by_name(choice.guards)
    answers: Answers[_Found] = Answers()
    answers.take(await desk.visit(request, guards, work))
    answers.require_any()
    reached = [guard for guard in guards if guard.config.name in answers.results]
    rates = [
        _rates(guard.config.name, queue, row, span)
        for guard in reached
        for queue, row in answers.results[guard.config.name].queues.items()
    ]
    return Report(
        period=period,
        since=since,
        until=until,
        uptime_seconds=round((until - station.started).total_seconds(), 1),
        throughput=rates,
        repairs=[one for guard in reached for one in _repairs(guard, choice, station, answers, since)],
        alerts=fired(choice, station, since),
        slowest_checks=slowest(choice, station),
        recommendations=[
            *(one for guard in guards for one in advice(guard, choice)),
            *(one for rate in rates for one in _falling_behind(rate)),
        ],
        errors=[
            *troubles(answers),
            *(
                one
                for guard in reached
                for one in (*unread(choice, guard), *answers.results[guard.config.name].troubles)
            ),
        ],
    )


async def _look(seat: Seat, choice: Choice, span: timedelta) -> _Found:
    found, name = _Found(), seat.guard.config.name
    targets = targets_of(choice, seat.guard)
    queries = [throughput(target, span) for target in targets]
    results = await seat.session.read(queries) if queries else []
    for target, result in zip(targets, results, strict=True):
        if isinstance(result, psycopg.Error):
            found.troubles.append(Trouble(environment=name, queue=target.queue, message=failure(result)))
        else:
            found.queues[target.queue] = throughput_row(result[0])
    if (await read_schema(seat.session)).usable:
        rows = [repaired_row(row) for row in await seat.session.rows(repaired(name, span))]
        found.repairs = [row for row in rows if choice.has(row.queue)]
    return found


def _rates(environment: str, queue: str, row: Throughput, span: timedelta) -> QueueThroughput:
    hours = span / HOUR
    ended = None if row.done is None and row.failed is None else (row.done or 0) + (row.failed or 0)
    return QueueThroughput(
        environment=environment,
        queue=queue,
        done=row.done,
        failed=row.failed,
        average_seconds=_rounded(row.average_seconds),
        p95_seconds=_rounded(row.p95_seconds),
        arrived_per_hour=_rounded(row.arrived / hours) if row.arrived is not None else None,
        drained_per_hour=_rounded(ended / hours) if ended is not None else None,
    )


def _rounded(value: float | None) -> float | None:
    return round(value, 3) if value is not None else None


def _repairs(
    guard: Guard, choice: Choice, station: Station, answers: Answers[_Found], since: datetime
) -> Iterator[Repairs]:
    name = guard.config.name
    recorded = answers.results[name].repairs
    if recorded is not None:
        for row in recorded:
            yield Repairs(
                environment=name,
                queue=row.queue,
                check=row.check,
                event=row.event,
                count=row.rows,
                source="ledger",
            )
        return
    counts: Counter[tuple[str, str, str]] = Counter()
    trends = station.trends.get(name)
    for one in trends.repairs if trends is not None else ():
        if one.at >= since and choice.has(one.queue):
            counts[one.queue, one.check, one.event] += one.count
    for (queue, check, event), count in sorted(counts.items()):
        yield Repairs(environment=name, queue=queue, check=check, event=event, count=count, source="memory")


def _falling_behind(rate: QueueThroughput) -> Iterator[Advice]:
    place = {"environment": rate.environment, "queue": rate.queue}
    arrived, drained = rate.arrived_per_hour, rate.drained_per_hour
    if arrived is not None and drained is not None and arrived > drained * 1.1 and arrived - drained >= 1:
        text = f"{arrived:g} jobs come an hour and {drained:g} end: more workers, or shorter jobs"
        yield Advice(**place, kind="falling_behind", text=text)
    ended = (rate.done or 0) + (rate.failed or 0)
    if rate.failed and rate.failed * 10 > ended:
        text = f"{rate.failed} of {ended} jobs failed: see /api/errors for what they say"
        yield Advice(**place, kind="failures", text=text)
