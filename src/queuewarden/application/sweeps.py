"""What came of a sweep by hand: all that `check`, `repair`, `reset` and `retry` tell of."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from queuewarden.application.by_hand import caller
from queuewarden.application.narrator import Narrator
from queuewarden.checks import CHECKS, positions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from queuewarden.application.by_hand import Place, Visit
    from queuewarden.engine.report import QueueReport, SweepReport
    from queuewarden.model import Outcome
    from queuewarden.queues.target import Fleet
    from queuewarden.settings.configuration import Configuration

LISTED = 10_000
"""Rows of each rule that JSON lists, and that a dry run compares with those of other rules."""

_MOVES = frozenset({"jobs.reset", "jobs.failed", "orphans.cancelled", "jobs.retried"})


@dataclass(frozen=True, slots=True)
class Swept:
    """One environment after a sweep by hand.

    Attributes:
        faults: what does not fit between mapping and database, by queue.
        writes: whether a rule, ``(queue, check, code)``, writes or only reports.
        told: further things that the caller should know.
        observed: queues in which nothing may be written, whatever a brake says.
        blind: queues of which nobody knows just now which workers are alive.
        broken: why the sweep ended early, if it did; the report tells what was done before.
    """

    report: SweepReport
    faults: Mapping[str, tuple[str, ...]]
    hints: tuple[str, ...] = ()
    writes: Mapping[tuple[str, str, str], bool] = field(default_factory=dict)
    told: tuple[str, ...] = ()
    observed: frozenset[str] = frozenset()
    blind: tuple[str, ...] = ()
    broken: str | None = None

    @property
    def outcomes(self) -> list[Outcome]:
        """Of all queues."""
        return [outcome for queue in self.report.queues for outcome in queue.outcomes]

    @property
    def clean(self) -> bool:
        """Nothing is wrong, or left over."""
        left = any(outcome.found > outcome.mended or outcome.error for outcome in self.outcomes)
        return not left and not self.blind and not any(self.faults.values())

    def reports(self, queue: str, outcome: Outcome) -> bool:
        """Whether the rule behind an outcome only reports."""
        return self.writes.get((queue, outcome.check, outcome.code)) is False


def swept(
    place: Place,
    report: SweepReport,
    *,
    fleets: Mapping[str, Fleet | None] | None = None,
    told: Sequence[str] = (),
    broken: str | None = None,
) -> Swept:
    """What came of a place."""
    targets = [replace(one, fleet=(fleets or {}).get(one.queue)) for one in place.targets]
    return Swept(
        report,
        {queue: resolution.faults for queue, resolution in place.resolutions.items()},
        place.hints,
        {
            (target.queue, check.name, rule.code): rule.write is not None
            for target in targets
            for check in CHECKS.values()
            for rule in check.rules(target)
        },
        tuple(told),
        frozenset(one.queue for one in targets if one.hold is not None or one.limits.mode == "observe"),
        tuple(queue for queue, fleet in (fleets or {}).items() if fleet is None),
        broken,
    )


def planned(visit: Visit[Swept]) -> Visit[Swept]:
    """What a repair would do: a row that an earlier check moves is none of a later one's business."""
    if visit.result is None:
        return visit
    report = visit.result.report
    queues = tuple(replace(one, outcomes=_once(one)) for one in report.queues)
    told = visit.result.told
    numbered = {
        queue
        for (queue, check, _), writes in visit.result.writes.items()
        if check == positions.NAME and writes
    }
    if any(one.queue in numbered and _moves(out) for one in queues for out in one.outcomes):
        told += ("positions in the lanes of jobs that move will be renumbered, too",)
    if any(out.found > len(out.sample) for one in report.queues for out in one.outcomes):
        told += (f"of each check {LISTED} rows were compared: rows behind them may be counted by two checks",)
    return replace(visit, result=replace(visit.result, report=replace(report, queues=queues), told=told))


def _moves(outcome: Outcome) -> bool:
    """Whether a repair would give the rows another status."""
    return outcome.event in _MOVES and outcome.held is None


def _once(queue: QueueReport) -> tuple[Outcome, ...]:
    moved: set[tuple[str, tuple[str, ...]]] = set()
    kept = []
    for outcome in queue.outcomes:
        mine = [row for row in outcome.sample if (row.table, row.key) not in moved]
        gone = len(outcome.sample) - len(mine)
        if _moves(outcome):
            moved |= {(row.table, row.key) for row in mine}
        if outcome.found > gone or outcome.error:
            kept.append(
                replace(
                    outcome, found=outcome.found - gone, skipped=outcome.skipped - gone, sample=tuple(mine)
                )
            )
    return tuple(kept)


def narrate(configuration: Configuration, visits: Sequence[Visit[Swept]]) -> None:
    """Log what was written, as the daemon would, with who called."""
    from queuewarden.adapters import logging

    logging.configure(configuration.log_level, configuration.log_format)
    for visit in visits:
        if visit.result is not None:
            # Brakes do not bind here, and anomalies are shown: neither is an event of this command.
            Narrator(visit.environment, by=caller()).tell(replace(visit.result.report, brakes=(), notices=()))


def failure(visit: Visit[Any]) -> str | None:
    """Why an environment was not reached, or lost on the way."""
    broken = visit.result.broken if isinstance(visit.result, Swept) else None
    return visit.error or broken
