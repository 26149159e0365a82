"""Judging: which brakes hold a queue in this sweep."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from queuewarden.engine.alerting.anomalies import Idle
from queuewarden.engine.brakes import Deaths, Episode, Threshold
from queuewarden.engine.memory import Memory
from queuewarden.model import BrakeChange

if TYPE_CHECKING:
    from datetime import datetime

    from queuewarden.engine.observe import Sight
    from queuewarden.queues.target import Target


@dataclass(slots=True)
class QueueState:
    """What is kept of one queue between sweeps.

    Attributes:
        looked: it has been observed before.
        next_look: when counts that take long may be taken again, in seconds of the daemon's clock.
        next_run_times: the same for run times.
        due: when the queue's own interval has passed, in seconds of the daemon's clock.
    """

    memory: Memory = field(default_factory=Memory)
    deaths: Deaths = field(default_factory=Deaths)
    mass_death: Episode = field(default_factory=Episode)
    mass_repair: dict[str, Episode] = field(default_factory=dict)
    threshold: Threshold = field(default_factory=Threshold)
    idle: Idle = field(default_factory=Idle)
    sight: Sight | None = None
    looked: bool = False
    next_look: float = 0.0
    next_run_times: float = 0.0
    due: float = 0.0


@dataclass(slots=True)
class BrakeBoard:
    """Which brakes are on, so that each change is told once."""

    on: dict[tuple[str, str | None], BrakeChange] = field(default_factory=dict)

    def turn(self, holding: list[BrakeChange], queues: set[str | None]) -> list[BrakeChange]:
        """Take in the brakes that hold now; what has changed.

        Args:
            holding: the brakes that hold.
            queues: queues that were judged (None: the environment): brakes of others stay as they are.
        """
        now = {(change.kind, change.queue): change for change in holding}
        changes = []
        for identity, change in list(self.on.items()):
            if identity not in now and identity[1] in queues:
                del self.on[identity]
                changes.append(replace(change, on=False))
        for identity, change in now.items():
            if identity not in self.on:
                self.on[identity] = change
                changes.append(change)
        return changes


def mass_death(state: QueueState, target: Target, now: datetime) -> BrakeChange | None:
    """Hold where too many workers would die at once; they may all be alive behind a cut network."""
    if state.sight is None:
        return None
    counts, window = state.sight.counts, target.limits.dead_after
    silent, live = counts.silent_workers or 0, counts.live_workers or 0
    massive = state.deaths.massive(silent, live, now, window)
    if not state.mass_death.update(on=massive, now=now, span=window):
        return None
    why = f"{silent} workers silent, {live} alive"
    return BrakeChange(on=True, kind="mass_death", queue=target.queue, why=why, until=state.mass_death.until)


def mass_repair(
    state: QueueState, target: Target, check: str, now: datetime, *, found: int, population: int
) -> BrakeChange | None:
    """Hold where a check would change more than ``BRAKE_ROWS`` rows and more than half of its population."""
    on = found > target.limits.brake_rows and found * 2 > population
    episode = state.mass_repair.setdefault(check, Episode())
    if not episode.update(on=on, now=now, span=target.limits.dead_after):
        return None
    why = f"{check} would change {found} of {population} rows"
    return BrakeChange(on=True, kind=f"mass_repair:{check}", queue=target.queue, why=why, until=episode.until)


def prepared(state: QueueState, target: Target, now: datetime) -> Target:
    """The target with what this sweep knows: spent budgets, and whether live workers are spared."""
    return replace(
        target,
        worn=state.memory.worn(target.limits.rescue_budget, now),
        spare_live=_spares_live(state, target),
    )


def _spares_live(state: QueueState, target: Target) -> bool:
    # A job heartbeat tells a long run from a hang, whatever the limit.
    if target.limits.trust_threshold or target.mapping.jobs.heartbeat is not None:
        return False
    return state.threshold.advised is not None
