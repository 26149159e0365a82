"""``/api/consistency``: what the six checks find, read-only; and their repairs, for who may write."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel

from queuewarden.application.by_hand import PatientSession
from queuewarden.application.guard import Guard
from queuewarden.application.http.access import Reader, StationOf, Writer
from queuewarden.application.http.acting import acted
from queuewarden.application.http.choice import Choice, ChoiceOf
from queuewarden.application.http.data.answers import Answers
from queuewarden.application.http.data.desk import Seat
from queuewarden.application.http.data.judging import Judged, judge
from queuewarden.application.http.data.lanes import LaneSearch
from queuewarden.application.http.data.parameters import DeskOf, Trouble, by_name, clean, off_loop, troubles
from queuewarden.application.http.problems import Problem, documented
from queuewarden.application.narrator import Narrator
from queuewarden.application.watching.station import Station
from queuewarden.model import Outcome
from queuewarden.settings.configuration import EnvironmentConfig

router = APIRouter()

_HELD = {
    "observe": "its mode is observe",
    "hold": "its mapping does not fit the database",
    "fleet_unknown": "nobody knows just now which of its workers are alive",
    "grace": "the server has only just started",
    "busy": "another guard was repairing the database",
    "undo": "rows were put back at this very moment",
    "ledger": "the ledger's schema cannot be used",
    "pause": "repairs are paused",
    "maintenance": "a maintenance window holds",
}


class Issue(BaseModel):
    """One row at fault.

    Attributes:
        code: the rule that found it.
        facts: what the check knows of it.
    """

    environment: str
    queue: str
    lane: str | None
    check: str
    code: str
    id: str
    facts: dict[str, str | None]


class Consistency(BaseModel):
    """What the checks found.

    Attributes:
        isValid: nothing is wrong, and all that was asked for could be looked at.
        issues: rows at fault, at most 1000 of each rule; where something was repaired: those that are left.
        fixed: rows that were repaired.
        found: rows that were at fault, counted by each check.
        left: those that still are.
        errors: what could not be looked at, or failed.
    """

    isValid: bool  # noqa: N815 -- the name that callers expect
    issues: list[Issue]
    fixed: int
    found: int
    left: int
    errors: list[Trouble]


class Repaired(Consistency):
    """What was repaired, and what is left.

    Attributes:
        message: in words, with the reason where nothing was written.
    """

    message: str


@router.get("/api/consistency", responses=documented(404, 503), summary="What the six checks find")
async def check(
    request: Request, _: Reader, choice: ChoiceOf, desk: DeskOf, station: StationOf
) -> Consistency:
    """The six checks, in read-only transactions: nothing is written."""
    search = LaneSearch(choice.lane)
    others = _others(station)

    async def work(seat: Seat) -> Judged:
        return await judge(seat, others, choice, search)

    answers: Answers[Judged] = Answers()
    answers.take(await desk.visit(request, by_name(choice.guards), work))
    answers.require_any()
    if not answers.errors:
        search.require()
    return Consistency(**await off_loop(lambda: _document(answers)))


@router.post("/api/consistency", responses=documented(404, 409, 503), summary="Repair what the checks find")
async def repair(
    request: Request, who: Writer, choice: ChoiceOf, desk: DeskOf, station: StationOf
) -> Repaired:
    """One sweep now, by the daemon's own rules; recorded in the ledger. Tells the state after it."""
    guards, search = by_name(choice.guards), LaneSearch(choice.lane)
    names = {guard.config.name for guard in guards}
    if busy := names & desk.repairing:
        raise Problem(409, f"a repair of {', '.join(sorted(busy))} is under way: ask again when it has ended")
    others = _others(station)

    async def work(seat: Seat) -> Judged:
        judged = await judge(seat, others, choice, search, by=who)
        _tell(seat.guard, choice, judged, who)
        return judged

    desk.repairing |= names
    answers: Answers[Judged] = Answers()
    try:
        answers.take(await desk.visit(request, guards, work, kind=PatientSession))
    finally:
        desk.repairing -= names
    answers.require_any()
    if not answers.errors:
        search.require()
    return Repaired(message=_message(answers), **await off_loop(lambda: _document(answers)))


def _others(station: Station) -> dict[str, EnvironmentConfig]:
    return {name: guard.config for name, guard in station.guards.items()}


def _tell(guard: Guard, choice: Choice, judged: Judged, who: str) -> None:
    """Log what was written, as the daemon would tell it. Brakes and anomalies are no events of this."""
    for swept in judged.repairs:
        Narrator(guard.config.name, by=who).tell(replace(swept.report, brakes=(), notices=()))
    acted(
        who,
        "repair",
        environment=guard.config.name,
        queue=choice.queue,
        lane=clean(choice.lane),
        count=judged.fixed,
    )
    if judged.fixed:
        guard.sweep_at_once()


def _document(answers: Answers[Judged]) -> dict[str, Any]:
    results = answers.results
    errors = [
        *troubles(answers),
        *(one for name in sorted(results) for one in _troubles(name, results[name])),
    ]
    fixed = sum(one.fixed for one in results.values())
    left = sum(one.left for one in results.values())
    return {
        "isValid": not answers.errors and all(one.valid for one in results.values()),
        "issues": [issue for name in sorted(results) for issue in issues(results[name])],
        "fixed": fixed,
        "found": sum(_found(one) for one in results.values()),
        "left": left,
        "errors": errors,
    }


def _found(judged: Judged) -> int:
    if not judged.repairs:
        return judged.left
    return sum(outcome.found for swept in judged.repairs for outcome in swept.outcomes)


def issues(judged: Judged) -> Iterator[Issue]:
    """The rows at fault."""
    for outcome in judged.outcomes:
        for finding in outcome.sample:
            facts = {name: clean(value) for name, value in finding.facts.items()}
            yield Issue(
                environment=finding.environment,
                queue=finding.queue,
                lane=facts.get("lane"),
                check=finding.check,
                code=finding.code,
                id=clean(",".join(finding.key)),
                facts=facts,
            )


def _troubles(environment: str, judged: Judged) -> Iterator[Trouble]:
    if judged.broken is not None:
        yield Trouble(environment=environment, message=clean(judged.broken))
    for queue, why in judged.unreadable.items():
        yield Trouble(environment=environment, queue=queue, message=clean(why))
    for swept in judged.looks or judged.repairs:
        for queue, faults in swept.faults.items():
            if queue not in judged.unreadable:
                for fault in faults:
                    yield Trouble(environment=environment, queue=queue, message=clean(fault))
        for queue in swept.blind:
            yield Trouble(environment=environment, queue=queue, message=f"{_HELD['fleet_unknown']}")
        for outcome in swept.outcomes:
            if outcome.error is not None:
                yield Trouble(environment=environment, queue=outcome.queue, message=_failed(outcome))


def _failed(outcome: Outcome) -> str:
    said = f": {clean(outcome.failure)}" if outcome.failure else ""
    return f"check {outcome.check} failed with SQLSTATE {outcome.error}{said}"


def _message(answers: Answers[Judged]) -> str:
    """What was done, in words."""
    fixed = sum(one.fixed for one in answers.results.values())
    left = sum(one.left for one in answers.results.values())
    words = [f"{fixed} rows repaired, {left} left" if fixed else f"nothing was written, {left} rows at fault"]
    for name, judged in sorted(answers.results.items()):
        if judged.pause is not None:
            words.append(f"{name}: {judged.pause.kind}: {clean(judged.pause.why)}")
            continue
        held = {
            (outcome.queue, outcome.held)
            for swept in judged.repairs
            for outcome in swept.outcomes
            if outcome.held is not None
        }
        words += [f"{name}/{queue}: {_HELD.get(why, why)}" for queue, why in sorted(held)]
    words += [f"{name}: {clean(why)}" for name, why in sorted(answers.errors.items())]
    return "; ".join(words)
