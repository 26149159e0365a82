"""``GET /api/errors``: what failed, by the hour and by what it said."""

from collections.abc import Iterator
from datetime import datetime

import psycopg
from fastapi import APIRouter, Request
from pydantic import BaseModel

from queuewarden.application.http.access import Reader, StationOf
from queuewarden.application.http.choice import Choice, PlacesOf
from queuewarden.application.http.data.answers import Answers
from queuewarden.application.http.data.desk import Seat, failure
from queuewarden.application.http.data.parameters import (
    DeskOf,
    Hours,
    Moment,
    Trouble,
    by_name,
    clean,
    off_loop,
    targets_of,
    troubles,
    unread,
)
from queuewarden.application.http.problems import documented
from queuewarden.application.watching.station import Station
from queuewarden.engine.reading import failures as reading
from queuewarden.engine.reading.patterns import patterns
from queuewarden.queues.target import Target

router = APIRouter()


class Hour(BaseModel):
    """What ended in one hour."""

    hour: Moment
    failed: int
    done: int


class Pattern(BaseModel):
    """Failures that say the same, apart from numbers, names and the like.

    Attributes:
        first, last: when it was seen first and last; null where no time is known.
        environment, queue, example_id: the job that failed so last.
    """

    pattern: str
    count: int
    first: Moment | None
    last: Moment | None
    environment: str
    queue: str
    example_id: str


class CheckFailure(BaseModel):
    """A check of the daemon's own that failed when it looked last."""

    environment: str
    queue: str
    check: str
    sqlstate: str
    message: str | None
    at: datetime


class Errors(BaseModel):
    """What failed.

    Attributes:
        patterns: of the latest 2000 failed jobs, the most frequent first.
        total: jobs that failed in these hours; null where no time tells it of any queue.
        checks: the daemon's own failures.
        share: failed ones among those that ended; null where nothing ended.
        errors: what could not be read, and is missing here.
        notes: what the answer could not take into account.
    """

    timeline: list[Hour]
    patterns: list[Pattern]
    total: int | None
    share: float | None
    checks: list[CheckFailure]
    errors: list[Trouble]
    notes: list[str]


class _Found:
    """What one environment has."""

    def __init__(self) -> None:
        self.hours: list[reading.Hour] = []
        self.timed = False
        self.failures: list[tuple[str, str, reading.Failure]] = []
        self.troubles: list[Trouble] = []
        self.notes: list[str] = []


@router.get("/api/errors", responses=documented(404, 503), summary="Failures by hour and by pattern")
async def errors(
    request: Request, _: Reader, choice: PlacesOf, desk: DeskOf, station: StationOf, hours: Hours = 24
) -> Errors:
    """Failed jobs of the last hours."""

    async def work(seat: Seat) -> _Found:
        return await _look(seat, choice, hours)

    guards = by_name(choice.guards)
    answers: Answers[_Found] = Answers()
    answers.take(await desk.visit(request, guards, work))
    answers.require_any()
    found = list(answers.results.values())
    timeline: dict[str, list[int]] = {}
    for hour in (hour for one in found for hour in one.hours):
        counts = timeline.setdefault(hour.hour, [0, 0])
        counts[0] += hour.failed
        counts[1] += hour.done
    failed = sum(counts[0] for counts in timeline.values())
    ended = failed + sum(counts[1] for counts in timeline.values())
    latest = sorted((row for one in found for row in one.failures), key=lambda row: row[2].at or "")[::-1]
    alike = await off_loop(lambda: patterns(latest[: reading.LOOKED_AT]))
    missing = [trouble for one in found for trouble in one.troubles]
    for guard in guards:
        if guard.config.name in answers.results:
            missing += unread(choice, guard)
    return Errors(
        timeline=[Hour(hour=hour, failed=f, done=d) for hour, (f, d) in sorted(timeline.items())],
        patterns=[
            Pattern(
                pattern=clean(one.pattern),
                count=one.count,
                first=one.first,
                last=one.last,
                environment=one.environment,
                queue=one.queue,
                example_id=clean(one.example_id),
            )
            for one in alike
        ],
        total=failed if any(one.timed for one in found) else None,
        share=round(failed / ended, 4) if ended else None,
        checks=list(_failing(choice, station)),
        errors=[*troubles(answers), *missing],
        notes=[note for one in found for note in one.notes],
    )


def _failing(choice: Choice, station: Station) -> Iterator[CheckFailure]:
    for guard in by_name(choice.guards):
        trends = station.trends.get(guard.config.name)
        for queue, checks in sorted(trends.found.items()) if trends is not None else ():
            for one in (rule for rules in checks.values() for rule in rules if choice.has(queue)):
                if one.error is not None:
                    yield CheckFailure(
                        environment=guard.config.name,
                        queue=queue,
                        check=one.check,
                        sqlstate=one.error,
                        message=clean(one.failure),
                        at=one.at,
                    )


async def _look(seat: Seat, choice: Choice, hours: int) -> _Found:
    found = _Found()
    for target in targets_of(choice, seat.guard):
        found.notes += _lacking(target)
        timeline, latest = reading.timeline(target, hours), reading.latest_failures(target, hours)
        asked = [query for query in (timeline, latest) if query is not None]
        results = await seat.session.read(asked) if asked else []
        for query, result in zip(asked, results, strict=True):
            if isinstance(result, psycopg.Error):
                message = failure(result)
                found.troubles.append(
                    Trouble(environment=target.environment, queue=target.queue, message=message)
                )
            elif query is timeline:
                found.timed = True
                found.hours += [reading.hour(row) for row in result]
            else:
                found.failures += [(target.environment, target.queue, reading.failure(row)) for row in result]
    return found


def _lacking(target: Target) -> Iterator[str]:
    """What a mapping lacks for a full answer."""
    place, jobs = f"{target.environment}/{target.queue}", target.mapping.jobs
    if not target.mapping.states.failed:
        yield f"{place} has no status that says failed: nothing is known of its failures"
        return
    if not reading.end_columns(target):
        yield f"{place} maps no FINISHED_AT: no timeline, and patterns of all times"
    elif jobs.finished_at is None:
        yield f"{place} maps no FINISHED_AT: UPDATED_AT stands for it"
    if jobs.error is None:
        yield f"{place} maps no ERROR: what its failures say is unknown"
