"""What is wrong and no write can mend, from one look at a queue. Pure; what is unknown raises nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from queuewarden.model import Anomaly

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from queuewarden.engine.memory import Memory
    from queuewarden.engine.observe import Muster
    from queuewarden.model import Counts, Key
    from queuewarden.queues.target import Target

STALLED_AFTER = timedelta(minutes=5)
"""Nothing finished for so long while jobs wait."""

STORM_WINDOW = timedelta(hours=1)
"""More resets than ``BRAKE_ROWS`` within this window are a storm."""


@dataclass(slots=True)
class Idle:
    """Since when each live worker has been seen without a running job while old jobs waited."""

    since: dict[str, datetime] = field(default_factory=dict)

    def wedged(self, idle: tuple[str, ...], now: datetime, *, jobs_wait: bool) -> list[str]:
        """Workers that beat but have claimed nothing for long although jobs waited all the while."""
        self.since = {name: self.since.get(name, now) for name in idle} if jobs_wait else {}
        return sorted(name for name, since in self.since.items() if now - since >= STALLED_AFTER)


def of_counts(target: Target, counts: Counts, muster: Muster | None) -> Iterator[Anomaly]:
    """From the counts of one look; ``muster`` is None where nobody knows who is alive."""
    limits = target.limits

    def anomaly(kind: str, hint: str, facts: dict[str, int]) -> Anomaly:
        return Anomaly(kind, target.environment, target.queue, "", facts, hint)

    eligible, running = counts.eligible or 0, counts.running or 0
    live = muster.live if muster is not None else None
    if eligible and live == 0:
        yield anomaly(
            "no_live_worker", "start workers; jobs wait and nobody beats", {"waiting_jobs": eligible}
        )
    if live and running > limits.busy_factor * live:
        yield anomaly(
            "overbusy",
            "more jobs run than the workers can hold: look for workers that do not beat",
            {"running_jobs": running, "active_workers": live},
        )
    if (counts.failed_last_hour or 0) > limits.failed_jobs:
        yield anomaly(
            "failures",
            "many jobs failed in the last hour: read their errors; `queuewarden retry` puts them back",
            {"failed_jobs": counts.failed_last_hour or 0},
        )
    oldest = counts.oldest_waiting
    if oldest is not None and oldest > limits.oldest_waiting:
        yield anomaly(
            "oldest_waiting", "a job waits for too long: add workers, or look at its order", _age(oldest)
        )
    waits = eligible and (oldest is None or oldest > STALLED_AFTER)
    if waits and live != 0 and counts.last_finished is not None and counts.last_finished > STALLED_AFTER:
        yield anomaly(
            "stalled", "nothing finishes while jobs wait: look at the workers", _age(counts.last_finished)
        )
    for name in muster.zombies if muster is not None else ():
        yield Anomaly(
            "zombie",
            target.environment,
            target.queue,
            name,
            {"worker": name},
            "a worker marked offline beats again: restart it",
        )


def of_idleness(
    target: Target, counts: Counts, muster: Muster, idle: Idle, now: datetime
) -> Iterator[Anomaly]:
    """Workers whose claim loop hangs while their heart beats."""
    oldest = counts.oldest_waiting
    jobs_wait = bool(counts.eligible) and oldest is not None and oldest > STALLED_AFTER
    for name in idle.wedged(muster.idle, now, jobs_wait=jobs_wait):
        yield Anomaly(
            "wedged",
            target.environment,
            target.queue,
            name,
            {"worker": name},
            "it beats but claims nothing while jobs wait: restart it",
        )


def of_memory(target: Target, memory: Memory, resets: int) -> Iterator[Anomaly]:
    """From what was done so far: storms of resets, and lanes that are renumbered again and again.

    Args:
        target: the queue.
        memory: what is remembered of it.
        resets: within `STORM_WINDOW`.
    """
    if resets > target.limits.brake_rows:
        yield Anomaly(
            "reset_storm",
            target.environment,
            target.queue,
            "",
            {"resets": resets},
            "many jobs are reset: look at the workers, or raise STUCK_AFTER",
        )
    for (_, lane), (_, why) in memory.shunned.items():
        if why == "fight":
            name = ",".join(part or "NULL" for part in lane)
            yield Anomaly(
                "fight",
                target.environment,
                target.queue,
                name,
                {"lane": name},
                "the application numbers this lane differently: check POSITIONS__ORDER_BY",
            )


def threshold(target: Target, advised: timedelta) -> Anomaly:
    """The limit is too close to how long jobs run: live workers' jobs are not reset."""
    return Anomaly(
        "threshold",
        target.environment,
        target.queue,
        "",
        {"advised_seconds": int(advised.total_seconds())},
        f"jobs run long: set STUCK_AFTER to {_minutes(advised)}m or more, or TRUST_THRESHOLD=true",
    )


def premature(target: Target, key: Key, ran: timedelta | None) -> Anomaly:
    """A job that we reset was finished by its former worker, which was alive: it ran for so long."""
    name = ",".join(key)
    facts: dict[str, str | int] = {"job": name}
    limit = "raise STUCK_AFTER or DEAD_AFTER"
    if ran is not None:
        facts["ran_seconds"] = math.ceil(ran.total_seconds())
        limit = f"a STUCK_AFTER of {_minutes(ran)}m would have left it alone"
    return Anomaly(
        "premature_reset",
        target.environment,
        target.queue,
        name,
        facts,
        f"a job that was reset was still being worked on: {limit}",
    )


def drift(environment: str, queue: str, faults: Sequence[str]) -> Anomaly:
    """A mapping does not fit the database."""
    return Anomaly("drift", environment, queue, "", {"faults": len(faults)}, faults[0])


def _minutes(span: timedelta) -> int:
    """Whole minutes that are not less than a span."""
    return max(1, math.ceil(span.total_seconds() / 60))


def _age(span: timedelta) -> dict[str, int]:
    return {"age": int(span.total_seconds())}
