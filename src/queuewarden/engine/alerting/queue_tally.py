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

OBSERVE = "observe"
"""What counts that fail are told as: no check, and with nothing to find."""

CHECK_READINGS = ("left_over", "set_aside", "check_seconds")
"""Readings whose subject is a check."""


@dataclass(slots=True)
class _Found:
    """What one check found when it looked last.

    Attributes:
        left_over: None where the check failed: what it would have found is unknown.
        seconds: None where it found nothing to work on.
    """

    at: float
    left_over: int | None
    seconds: float | None

    def stale(self, now: float) -> bool:
        """It is so long ago that the check is none any more."""
        return now - self.at >= STALE


@dataclass(slots=True)
class QueueTally:
    """One queue's.

    Attributes:
        given_up, failures: jobs that the daemon sent to failed, and all that failed, lately.
    """

    counts: Counts | None = None
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
        for check in (report.looked | by_check.keys()) - {OBSERVE}:
            self._look(check, by_check.get(check, []), now)
        self.given_up.add(sum(one.mended for one in report.outcomes if one.event == "jobs.failed"), now)
        if report.counts is not None:
            if self._known is not None:
                self.failures.add(_risen(self._known, report.counts), now)
            self._known = report.counts
        self.counts = report.counts

    def lose(self, now: float) -> None:
        """Its mapping fits no more: what was known of it is unknown."""
        self.counts = None
        self._found = {check: _Found(now, None, None) for check in self._found}

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
            if found.stale(now):
                yield "left_over", check, None
                yield "check_seconds", check, None
            elif found.left_over is not None:
                yield "left_over", check, float(found.left_over)
                yield "check_seconds", check, found.seconds
        for check, window in self._aside.items():
            yield "set_aside", check, float(window.total(now))

    def whole(self, now: float) -> bool:
        """Whether each check that looked lately could."""
        return all(found.left_over is not None or found.stale(now) for found in self._found.values())

    def _look(self, check: str, outcomes: list[Outcome], now: float) -> None:
        aside = sum(one.set_aside for one in outcomes)
        if aside or check in self._aside:
            self._aside.setdefault(check, Window(HOUR)).add(aside, now)
        left_over = sum(max(0, one.found - one.mended - one.set_aside) for one in outcomes)
        failed = any(one.error for one in outcomes)
        seconds = sum(one.seconds for one in outcomes) if outcomes else None
        self._found[check] = _Found(now, None if failed else left_over, seconds)


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
