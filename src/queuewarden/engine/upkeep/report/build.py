"""Building a report, one queue after the other: a month of a hundred queues needs little memory. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from queuewarden.engine.reading.patterns import patterns
from queuewarden.engine.upkeep.report import worst
from queuewarden.engine.upkeep.report.advice import advise
from queuewarden.engine.upkeep.report.figures import availability, figures, hours, steps, together
from queuewarden.engine.upkeep.report.growth import growth
from queuewarden.engine.upkeep.report.values import BIN, Report, Step, Totals

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from queuewarden.engine.reading.failures import Failure
    from queuewarden.engine.upkeep.report.values import (
        Frame,
        Growth,
        QueueFigures,
        Repairs,
        Thresholds,
        WorstHour,
    )
    from queuewarden.engine.upkeep.samples import Sample

HOUR = 3600

PATTERNS = 10
"""Error patterns that are told."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the ledger has of a period.

    Attributes:
        by_hour: rows that were repaired, by the beginning of the hour.
        taken_back: rows that were put back by an undo.
    """

    repairs: tuple[Repairs, ...] = ()
    by_hour: Mapping[int, int] = field(default_factory=dict)
    taken_back: int = 0


@dataclass(frozen=True, slots=True)
class Subject:
    """A queue as the catalog has it; of one that is no more, only the name is known.

    Attributes:
        key_limit: the highest key that its type holds, where that may be reached.
        lacks: why figures are missing, in words.
    """

    queue: str
    table: str = ""
    thresholds: Thresholds | None = None
    key_limit: int | None = None
    lacks: tuple[str, ...] = ()


@dataclass(slots=True)
class Builder:
    """Takes in what there is, and makes a report of it in the end.

    Attributes:
        recorded: None where the ledger cannot be read: what was repaired is unknown, not none.
    """

    frame: Frame
    recorded: Recorded | None = field(default_factory=Recorded)
    notes: list[str] = field(default_factory=list)
    _queues: list[QueueFigures] = field(default_factory=list)
    _growth: list[Growth] = field(default_factory=list)
    _worst: list[WorstHour] = field(default_factory=list)
    _failures: list[tuple[str, str, Failure]] = field(default_factory=list)

    def queue(self, subject: Subject, samples: Sequence[Sample], days: Sequence[Sample] = ()) -> None:
        """Take in a queue.

        Args:
            subject: which.
            samples: its samples of the period, none overlapping.
            days: its samples of whole days, whenever.
        """
        name = subject.queue
        repaired = None
        if self.recorded is not None:
            repaired = sum(one.rows for one in self.recorded.repairs if one.queue == name)
        self._queues.append(
            figures(
                self.frame,
                name,
                samples,
                table=subject.table,
                thresholds=subject.thresholds,
                repaired=repaired,
                lacks=subject.lacks,
            )
        )
        self._worst = worst.worst([*self._worst, *worst.of_queue(name, hours(samples))])
        self._growth += growth(
            name,
            subject.table,
            days,
            size_limit=self.frame.size_limit,
            key_limit=subject.key_limit,
        )

    def failed(self, failures: Iterable[tuple[str, str, Failure]]) -> None:
        """Take in failures: environment, queue, failure."""
        self._failures += failures

    def report(self, own: Sequence[Sample]) -> Report:
        """The report; ``own`` are the samples of the environment, none overlapping."""
        frame, recorded = self.frame, self.recorded or Recorded()
        found = availability(frame, own)
        latest = sorted(self._failures, key=lambda one: one[2].at or "", reverse=True)
        return Report(
            frame,
            found,
            self._totals(),
            tuple(self._steps(own)),
            tuple(self._queues),
            recorded.repairs,
            tuple(patterns(latest, PATTERNS)),
            tuple(
                worst.worst(
                    [*self._worst, *worst.of_environment(hours(own), recorded.by_hour, frame.seconds // HOUR)]
                )
            ),
            tuple(self._growth),
            tuple(advise(frame, found, self._queues, recorded.repairs, recorded.taken_back, self._growth)),
            tuple(self.notes),
        )

    def _totals(self) -> Totals:
        done, failed, arrived = (
            sum(counts) if (counts := [value for value in values if value is not None]) else None
            for values in (
                [one.done for one in self._queues],
                [one.failed for one in self._queues],
                [one.arrived for one in self._queues],
            )
        )
        known = self.recorded
        if known is None:
            return Totals(done, failed, arrived, None, None)
        return Totals(done, failed, arrived, sum(one.rows for one in known.repairs), known.taken_back)

    def _steps(self, own: Sequence[Sample]) -> Iterable[Step]:
        frame = self.frame
        whole = together([one.steps for one in self._queues])
        length = BIN[frame.period]
        repaired: dict[int, int] = {}
        for at, count in self.recorded.by_hour.items() if self.recorded is not None else ():
            begun = frame.since + (at - frame.since) // length * length
            repaired[begun] = repaired.get(begun, 0) + count
        for one in steps(frame, own):
            jobs = whole.get(one.at) or Step(one.at)
            rows = repaired.get(one.at, 0) if self.recorded is not None else None
            yield replace(jobs, up=one.up, down=one.down, repaired=rows)
