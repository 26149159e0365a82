"""The status document: what the running daemon last knew, for people and for `queuewarden status`."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from queuewarden import __version__

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from queuewarden.engine.report import SweepReport
    from queuewarden.model import Anomaly, BrakeChange, Counts
    from queuewarden.settings.configuration import Configuration

State = Literal["starting", "up", "down"]


@dataclass(slots=True)
class EnvironmentStatus:
    """What is known of one environment.

    Times here are this process's own; they are shown to people and never compared with one in a table.
    """

    name: str
    state: State = "starting"
    since: datetime = field(default_factory=lambda: datetime.now(UTC))
    reason: str | None = None
    last_sweep: datetime | None = None
    sweep_seconds: float | None = None
    counts: dict[str, Counts | None] = field(default_factory=dict)
    fleets: dict[str, str | None] = field(default_factory=dict)
    holds: dict[str, str | None] = field(default_factory=dict)
    brakes: tuple[BrakeChange, ...] = ()
    anomalies: tuple[Anomaly, ...] = ()
    last_change: tuple[datetime, str] | None = None
    lease: dict[str, Any] | None = None

    def turn(self, state: State, reason: str | None = None) -> bool:
        """Enter a state; whether it is another one than before."""
        changed = self.state != state
        if changed:
            self.since = datetime.now(UTC)
        self.state, self.reason = state, reason
        return changed

    def take(self, report: SweepReport, queues: Container[str]) -> None:
        """Take in a sweep.

        Args:
            report: the sweep; a queue whose interval has not passed is not in it and stays as it was.
            queues: all queues that there are; what was known of others is forgotten.
        """
        now = datetime.now(UTC)
        self.last_sweep, self.sweep_seconds = now, report.seconds
        counts = self.counts | {queue.queue: queue.counts for queue in report.queues}
        holds = self.holds | {queue.queue: queue.hold for queue in report.queues}
        self.counts = {name: counts[name] for name in counts if name in queues}
        self.holds = {name: holds[name] for name in holds if name in queues}
        fleets = self.fleets | {queue.queue: queue.fleet for queue in report.queues}
        self.fleets = {name: fleets[name] for name in fleets if name in queues}
        for event, word in (("jobs.reset", "reset"), ("workers.offline", "offline"), ("", "repaired")):
            count = sum(
                outcome.mended
                for queue in report.queues
                for outcome in queue.outcomes
                if not event or outcome.event == event
            )
            if count:
                self.last_change = (now, f"{count} {word}")
                break

    def totals(self) -> dict[str, int]:
        """Counts over all queues, each fleet once; what is unknown of any queue is absent."""
        fields = {
            "waiting_jobs": "waiting",
            "running_jobs": "running",
            "failed_jobs": "failed",
        }
        known = {queue: counts for queue, counts in self.counts.items() if counts is not None}
        if len(known) < len(self.counts):
            return {}
        totals = {}
        fleets: dict[str, int] = {}
        for queue, counts in known.items():
            if counts.live_workers is not None:
                fleet = self.fleets.get(queue) or queue
                fleets[fleet] = max(counts.live_workers, fleets.get(fleet, 0))
        if fleets:
            totals["active_workers"] = sum(fleets.values())
        for name, attribute in fields.items():
            values = [getattr(counts, attribute) for counts in known.values()]
            values = [value for value in values if value is not None]
            if values:
                totals[name] = sum(values)
        return totals

    def document(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "state": self.state,
            "since": self.since.isoformat(),
            "reason": self.reason,
            "last_sweep": self.last_sweep.isoformat() if self.last_sweep else None,
            "sweep_seconds": round(self.sweep_seconds, 4) if self.sweep_seconds is not None else None,
            **self.totals(),
            "queues": {
                queue: {"observed_only": self.holds.get(queue), **_counts(counts)}
                for queue, counts in self.counts.items()
            },
            "lease": self.lease,
            "brakes": [
                {"kind": brake.kind, "queue": brake.queue, "why": brake.why, "until": _iso(brake.until)}
                for brake in self.brakes
            ],
            "anomalies": [
                {"kind": one.kind, "queue": one.queue, "subject": one.subject, "hint": one.hint, **one.facts}
                for one in self.anomalies
            ],
            "last_change": (
                {"at": self.last_change[0].isoformat(), "what": self.last_change[1]}
                if self.last_change
                else None
            ),
        }

    def short(self) -> str:
        """A few words for the first look."""
        if self.state == "down":
            return f"{self.name} DOWN {brief(datetime.now(UTC) - self.since)} {self.reason}"
        if self.last_change is None:
            return ""
        at, what = self.last_change
        return f"{self.name}: {what} {brief(datetime.now(UTC) - at)} ago"


def longest_interval(configuration: Configuration) -> timedelta:
    """The longest interval of any queue in any environment."""
    return max(
        limits.interval
        for config in configuration.environments
        for limits in (config.limits, *config.queue_limits.values())
    )


def document(
    environments: Iterable[EnvironmentStatus], source: str, pid: int, interval: timedelta
) -> dict[str, Any]:
    """The whole document.

    Args:
        environments: what is known of each.
        source: where the configuration comes from.
        pid: the daemon's.
        interval: the longest one: a document much older tells that the daemon hangs.
    """
    return {
        "version": __version__,
        "pid": pid,
        "source": source,
        "written_at": datetime.now(UTC).isoformat(),
        "interval_seconds": interval.total_seconds(),
        "environments": {status.name: status.document() for status in environments},
    }


def line(environments: Iterable[EnvironmentStatus]) -> str:
    """One line: how many are up, what was done last, what is down."""
    known = list(environments)
    up = sum(status.state == "up" for status in known)
    parts = [f"{up}/{len(known)} up", *(status.short() for status in known)]
    return "; ".join(part for part in parts if part)


def brief(span: timedelta) -> str:
    """A span in one unit: ``12 s``, ``14 m``, ``3 h``, ``2 d``."""
    seconds = int(span.total_seconds())
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def _counts(counts: Counts | None) -> dict[str, Any]:
    if counts is None:
        return {}
    values = {
        "waiting_jobs": counts.waiting,
        "running_jobs": counts.running,
        "failed_jobs": counts.failed,
        "failed_last_hour": counts.failed_last_hour,
        "oldest_waiting_seconds": _seconds(counts.oldest_waiting),
        "active_workers": counts.live_workers,
        "silent_workers": counts.silent_workers,
    }
    return {name: value for name, value in values.items() if value is not None}


def _seconds(span: timedelta | None) -> int | None:
    return int(span.total_seconds()) if span is not None else None


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment is not None else None
