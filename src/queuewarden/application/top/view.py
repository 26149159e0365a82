"""Views: what is known of each environment, and what of it deserves a look first. Values only."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, get_args

from queuewarden.application.status import EnvironmentStatus, brief

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from queuewarden.engine.ledger.latest import Repair
    from queuewarden.engine.longest import RunningJob
    from queuewarden.model import Counts, Limits

KEPT = 120
"""Looks whose counts are kept of each queue: as many as the widest small chart shows."""

Order = Literal["problems", "name", "waiting", "running", "failed"]
ORDERS: tuple[Order, ...] = get_args(Order)
_TOTALS = {"waiting": "waiting_jobs", "running": "running_jobs", "failed": "failed_jobs"}


@dataclass(slots=True)
class View:
    """One environment as it was last seen.

    Attributes:
        status: state, counts, holds, brakes and lease, as the daemon has them, too.
        limits: by queue.
        answered: when it last answered, by this process's clock; None: never yet.
        version: of the server.
        uptime: of the server.
        ledger: why nothing can be told of lease, pauses and repairs, if so.
        longest: the jobs that have run longest, of each queue.
        repairs: the latest first.
        hints: tables that were recognised and are not guarded.
        trends: counts of each queue at its last looks; None where it could not be counted.
    """

    status: EnvironmentStatus
    limits: Mapping[str, Limits] = field(default_factory=dict)
    answered: float | None = None
    version: str = ""
    uptime: timedelta | None = None
    ledger: str | None = None
    longest: tuple[RunningJob, ...] = ()
    repairs: tuple[Repair, ...] = ()
    hints: tuple[str, ...] = ()
    trends: dict[str, deque[Counts | None]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The environment's."""
        return self.status.name

    @property
    def late(self) -> timedelta:
        """How long ago it last answered."""
        return timedelta(seconds=time.monotonic() - self.answered if self.answered is not None else 0)

    def lost(self, why: str) -> None:
        """It is down: what was known of it holds no more, but for its trends."""
        self.status.turn("down", why)
        self.status.counts, self.status.lease, self.status.brakes = {}, None, ()
        self.longest, self.repairs, self.ledger, self.uptime = (), (), None, None

    def counted(self, counts: Mapping[str, Counts | None]) -> None:
        """Take in the counts of one look; a queue that is gone is forgotten."""
        self.status.counts = dict(counts)
        self.trends = {queue: self.trends.get(queue) or deque(maxlen=KEPT) for queue in counts}
        for queue, one in counts.items():
            self.trends[queue].append(one)

    def problems(self) -> list[str]:
        """What is wrong in an environment that is up, the worst first."""
        stuck = sum(job.stuck for job in self.longest)
        found = [f"{stuck}{_more(self.longest)} stuck"] if stuck else []
        for queue, counts in self.status.counts.items():
            found += [f"{queue}: {one}" for one in self._wrong(queue, counts)]
        if self.ledger is not None:
            found.append(f"ledger: {self.ledger}")
        return found

    def _wrong(self, queue: str, counts: Counts | None) -> Iterator[str]:
        if self.status.holds.get(queue):
            yield "only observed"
        if counts is None:
            yield "could not be counted"
            return
        limits = self.limits.get(queue)
        if limits is not None:
            if counts.failed_last_hour is not None and counts.failed_last_hour > limits.failed_jobs:
                yield f"{counts.failed_last_hour} failed in the last hour"
            if counts.oldest_waiting is not None and counts.oldest_waiting > limits.oldest_waiting:
                yield f"a job has waited {brief(counts.oldest_waiting)}"
        if counts.live_workers == 0 and (counts.waiting or counts.running):
            yield "no worker beats"
        if counts.silent_workers:
            yield f"{counts.silent_workers} silent worker{'s' if counts.silent_workers > 1 else ''}"

    def document(self) -> dict[str, Any]:
        """For programs: as the status document has it, without what only a daemon knows."""
        known = self.status.document()
        for name in ("last_sweep", "sweep_seconds", "anomalies", "last_change"):
            del known[name]
        return known | {
            "server_version": self.version or None,
            "server_uptime_seconds": _seconds(self.uptime),
            "answered_seconds_ago": round(self.late.total_seconds(), 1) if self.answered else None,
            "problems": self.problems() if self.status.state == "up" else [],
            "longest_running": [
                {
                    "queue": job.queue,
                    "id": job.id,
                    "label": job.label,
                    "worker": job.worker,
                    "seconds": _seconds(job.ran),
                    "stuck": job.stuck,
                }
                for job in self.longest
            ],
            "repairs": [
                {
                    "queue": one.queue,
                    "event": one.event,
                    "reason": one.reason,
                    "count": one.count,
                    "actor": one.actor,
                    "seconds_ago": _seconds(one.ago),
                }
                for one in self.repairs
            ],
        }


def ordered(views: Iterable[View], order: Order) -> list[View]:
    """Sorted by name, by what is wrong, or by a count, the most first."""
    by_name = sorted(views, key=lambda view: view.name)
    if order == "name":
        return by_name
    if order == "problems":
        return sorted(by_name, key=_rank)
    return sorted(by_name, key=lambda view: -view.status.totals().get(_TOTALS[order], -1))


def _rank(view: View) -> tuple[int, int]:
    """Down before unknown before wrong before held before well; of those, the most problems first."""
    if view.status.state != "up":
        return ("down", "starting").index(view.status.state), 0
    problems = len(view.problems())
    return (2, -problems) if problems else (3 if view.status.brakes else 4, 0)


def _more(longest: tuple[RunningJob, ...]) -> str:
    """A plus where more than the shown ones may be stuck."""
    return "+" if all(job.stuck for job in longest) else ""


def _seconds(span: timedelta | None) -> int | None:
    return int(span.total_seconds()) if span is not None else None
