"""The tally of one queue: its last counts, and what its checks left over and failed at lately. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from queuewarden.engine.alerting.windows import Window

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import timedelta

    from queuewarden.engine.report import QueueReport
    from queuewarden.model import Counts, Outcome

SHORT = 600.0
HOUR = 3600.0

STALE = 2 * HOUR
"""What a check found is forgotten if it has not looked for so long; an idle one looks each hour."""

LEAST_JOBS = 5
"""Finished jobs below which the share of failed ones says nothing."""

CHECK_READINGS = ("left_over", "set_aside", "check_seconds")
"""Readings whose subject is a check."""


@dataclass(slots=True)
class _Found:
    """What one check found when it looked last; `seconds` is None where it found nothing to work on."""

    at: float
    left_over: int
    seconds: float | None


@dataclass(slots=True)
class QueueTally:
    """One queue's.

    Attributes:
        broken: checks that failed when they looked last: what they would find is unknown.
    """

    counts: Counts | None = None
    broken: frozenset[str] = frozenset()
    given_up: Window = field(default_factory=lambda: Window(SHORT))
    failures: Window = field(default_factory=lambda: Window(SHORT))
    _known: Counts | None = None
    _found: dict[str, _Found] = field(default_factory=dict)
    _aside: dict[str, Window] = field(default_factory=dict)

    def take(self, report: QueueReport, now: float) -> None:
        """Take in a sweep of the queue."""
        by_check: dict[str, list[Outcome]] = {}
        for outcome in report.outcomes:
            by_check.setdefault(outcome.check, []).append(outcome)
        failed = {check for check, found in by_check.items() if any(one.error for one in found)}
        looked = {"observe"} | report.looked | by_check.keys()
        self.broken = (self.broken - looked) | failed
        for check in looked - {"observe"}:
            self._look(check, by_check.get(check, []), now)
        self.given_up.add(sum(one.mended for one in report.outcomes if one.event == "jobs.failed"), now)
        if report.counts is not None:
            if self._known is not None:
                self.failures.add(_risen(self._known, report.counts), now)
            self._known = report.counts
        self.counts = report.counts

    def readings(self, now: float) -> Iterator[tuple[str, str, float | None]]:
        """Reading, subject and value; None where it is known that there is nothing to read.

        What is unknown is left out.
        """
        yield "given_up", "", float(self.given_up.total(now))
        if self.counts is not None:
            yield from _of_jobs(self.counts)
            yield from _of_workers(self.counts)
            yield from _of_outcomes(self.counts)
        for check, found in self._found.items():
            if check in self.broken:
                continue
            stale = now - found.at >= STALE
            yield "left_over", check, None if stale else float(found.left_over)
            yield "check_seconds", check, None if stale else found.seconds
        for check, window in self._aside.items():
            yield "set_aside", check, float(window.total(now))

    def _look(self, check: str, outcomes: list[Outcome], now: float) -> None:
        aside = sum(one.set_aside for one in outcomes)
        if aside or check in self._aside:
            self._aside.setdefault(check, Window(HOUR)).add(aside, now)
        self._found[check] = _Found(
            now,
            sum(max(0, one.found - one.mended - one.set_aside) for one in outcomes),
            sum(one.seconds for one in outcomes) if outcomes else None,
        )


def _risen(before: Counts, after: Counts) -> int:
    """How many jobs have failed between two looks, at least: either count may also have lost some."""
    pairs = ((before.failed, after.failed), (before.failed_last_hour, after.failed_last_hour))
    return max([0, *(new - old for old, new in pairs if old is not None and new is not None)])


def _of_jobs(counts: Counts) -> Iterator[tuple[str, str, float | None]]:
    """Counts of jobs are known all together: what is missing among them is not mapped, or not there."""
    yield "waiting_jobs", "", _number(counts.waiting)
    yield "running_jobs", "", _number(counts.running)
    oldest = _seconds(counts.oldest_waiting)
    yield "oldest_waiting_seconds", "", 0.0 if oldest is None and counts.eligible == 0 else oldest
    yield "failed_last_hour", "", _number(counts.failed_last_hour)


def _of_workers(counts: Counts) -> Iterator[tuple[str, str, float | None]]:
    live, silent = counts.live_workers, counts.silent_workers
    if live is None:
        return
    yield "active_workers", "", float(live)
    if silent is not None:
        yield "silent_workers", "", float(silent)
    yield "busy_ratio", "", counts.running / live if live and counts.running is not None else None


def _of_outcomes(counts: Counts) -> Iterator[tuple[str, str, float | None]]:
    done, failed = counts.done_last_hour, counts.failed_last_hour
    if done is None:
        return
    enough = failed is not None and done + failed >= LEAST_JOBS
    yield "failure_share", "", failed / (done + failed) if failed is not None and enough else None
    yield "failed_in_a_row", "", _number(counts.failed_in_a_row)
    yield "average_run_seconds", "", _seconds(counts.average_run)
    yield "run_time_ratio", "", counts.run_time_ratio


def _number(count: int | None) -> float | None:
    return None if count is None else float(count)


def _seconds(span: timedelta | None) -> float | None:
    return None if span is None else span.total_seconds()
