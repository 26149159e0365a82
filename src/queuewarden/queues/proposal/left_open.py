"""What a proposed mapping leaves open: things that only a person, or a later look, can tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from queuewarden.queues.proposal.choices import AHEAD, spelled, zone
from queuewarden.queues.proposal.choices import span as spoken
from queuewarden.queues.proposal.names import normal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from queuewarden.queues.proposal.choices import Answers, Draft
    from queuewarden.queues.proposal.fleet import Fleet

_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Open:
    """What could not be decided: the variable, and what a person should know."""

    variable: str
    why: str


def left_open(draft: Draft, answers: Answers) -> Iterator[Open]:
    """All of it, in the order of the reference."""
    if draft.role("started_at") is None:
        yield Open(
            "JOBS__STARTED_AT", "no column tells the start: it counts since when a job is seen running"
        )
    yield from _times(draft, answers)
    yield from _attempts(draft)
    yield from (Open("JOBS", f"{doubt}: not mapped") for doubt in draft.columns.doubtful)
    yield from _states(draft)
    yield from _workers(draft, answers.fleet)
    if draft.numbered is not None and isinstance(answers.lanes, str):
        yield Open("POSITIONS__COLUMN", f"{spelled(draft.numbered.column)}? {answers.lanes}")
    if (lease := draft.columns.lease) is not None:
        yield Open("STUCK_AFTER", f"{lease} looks like the end of a lease: keep the limit above its length")


def _times(draft: Draft, answers: Answers) -> Iterator[Open]:
    if draft.naive and zone(draft, answers) is None:
        odd = f", but the latest is {spoken(draft.ahead)} ahead of it" if draft.ahead > AHEAD else ""
        yield Open("JOBS__TIME_ZONE", f"times without a zone are taken as UTC{odd}")


def _attempts(draft: Draft) -> Iterator[Open]:
    column, most = draft.role("attempts"), draft.role("max_attempts")
    if column is not None:
        groups = draft.table.sample.groups if draft.table.sample else ()
        running = [one for one in groups if draft.states.of(one) == "running" and column in one.numbers]
        if not running:
            yield Open(
                "JOBS__ATTEMPTS_COUNTED", "no row runs to show when they are counted: claim is assumed"
            )
        elif min(one.numbers[column][0] for one in running) == 0:
            yield Open(
                "JOBS__ATTEMPTS_COUNTED",
                "jobs run with 0 attempts, so the end of a run counts them: set finish if a lost run is to"
                " count, too",
            )
    if most is not None and "retr" in normal(most):
        yield Open("JOBS__MAX_ATTEMPTS", f"perhaps the first run is not one of {most}")


def _states(draft: Draft) -> Iterator[Open]:
    states = draft.states
    if states.left:
        values = ", ".join(map(repr, states.left[:_SHOWN]))
        yield Open("STATES", f"which state is {values}? Rows of none are neither counted nor judged")
    if "failed" not in states.values:
        yield Open("STATES__FAILED", "no sign of it: jobs whose attempts are spent are only reported")


def _workers(draft: Draft, fleet: Fleet | None) -> Iterator[Open]:
    if fleet is None:
        if draft.role("worker") is not None:
            yield Open("WORKERS__TABLE", "none was found in which workers beat: only run times tell")
        return
    if fleet.status is None and fleet.has_status is not None:
        why = f"no word for a worker that is gone in {fleet.has_status}: the dead are not marked"
        yield Open("WORKERS__STATUS", why)
    if fleet.younger:
        yield Open("WORKERS__STARTED_AT", "running jobs began before it: it is not when a life began")
