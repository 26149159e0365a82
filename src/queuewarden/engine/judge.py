"""Judging: which brakes hold a queue in this sweep."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from queuewarden.engine.alerting.anomalies import Idle
from queuewarden.engine.alerting.blocked import Skips
from queuewarden.engine.brakes import Deaths, Episode, Threshold
from queuewarden.engine.composed import Composed
from queuewarden.engine.memory import Memory
from queuewarden.engine.observe import CAP
from queuewarden.model import BrakeChange

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from queuewarden.engine.ledger.recall import Recalled
    from queuewarden.engine.observe import Muster, Sight
    from queuewarden.engine.outcomes import Outcomes
    from queuewarden.model import Key, Outcome, Rule
    from queuewarden.queues.target import Target


@dataclass(slots=True)
class QueueState:
    """What is kept of one queue between sweeps.

    Attributes:
        sight: the last look at its jobs; None where that failed.
        seen_at: the database's clock at the start of the sweep that took it.
        muster: the look at its workers in this sweep; None where nobody knows who is alive.
        beaten: when heartbeats were last seen to go on though none was young.
        blind: its workers are mapped, and nobody knows who is alive.
        looked: its workers have been seen before.
        premature: jobs that we reset and their former workers finished, and how long they ran.
        recalled: what the ledger tells; None where there is none: then memory does.
        unrecalled: the ledger is there and could not be asked.
        next_look: when counts that take long may be taken again, in seconds of the daemon's clock.
        next_run_times: the same for run times.
        outcomes: how jobs ended lately; None where nobody watches, or it could not be asked for.
        next_outcomes: when that may be asked again.
    """

    memory: Memory = field(default_factory=Memory)
    composed: Composed = field(default_factory=Composed)
    deaths: Deaths = field(default_factory=Deaths)
    mass_death: Episode = field(default_factory=Episode)
    mass_repair: dict[str, Episode] = field(default_factory=dict)
    threshold: Threshold = field(default_factory=Threshold)
    idle: Idle = field(default_factory=Idle)
    skips: Skips = field(default_factory=Skips)
    sight: Sight | None = None
    seen_at: datetime | None = None
    muster: Muster | None = None
    beaten: datetime | None = None
    blind: bool = False
    looked: bool = False
    premature: dict[Key, timedelta | None] = field(default_factory=dict)
    recalled: Recalled | None = None
    unrecalled: bool = False
    next_look: float = 0.0
    next_run_times: float = 0.0
    outcomes: Outcomes | None = None
    next_outcomes: float = 0.0


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


def nothing_runs(state: QueueState, outcomes: Sequence[Outcome], now: datetime) -> bool:
    """No job is running any more, so that none has to be judged: each look might read a whole table.

    Only a look of this very sweep tells: counts that take long are not taken in each.

    Args:
        state: of the queue.
        outcomes: what this sweep has done so far.
        now: the database's clock at its start.
    """
    running = state.sight.counts.running if state.sight is not None and state.seen_at == now else None
    if running is None or running >= CAP:
        return False
    return running <= sum(one.mended for one in outcomes if one.event in ("jobs.reset", "jobs.failed"))


def spared_looks(state: QueueState, rules: Sequence[Rule], now: datetime) -> tuple[Rule, ...]:
    """The rules that are asked though nothing runs; what the others have seen of jobs is forgotten."""
    asked = []
    for rule in rules:
        if rule.table != "jobs" or not rule.brake:
            asked.append(rule)
        elif rule.patience is not None:
            state.memory.ripe(rule.code, {}, rule.patience, now)
    return tuple(asked)


def mass_death(state: QueueState, target: Target, now: datetime) -> BrakeChange | None:
    """Hold where too many workers would die at once; they may all be alive behind a cut network.

    Or as long as heartbeats go on of which none is young: they come from another clock or time zone.
    """
    if state.muster is None:
        return None
    window, silent, live = target.limits.dead_after, state.muster.silent, state.muster.live
    if state.beaten is not None and live == 0 and abs(now - state.beaten) < window:
        why = "heartbeats go on, but none is young: another clock, or JOBS__TIME_ZONE is not theirs"
        until = state.beaten + window
        return BrakeChange(on=True, kind="mass_death:clock", queue=target.queue, why=why, until=until)
    massive = state.deaths.massive(silent, live, now, window)
    # An episode begins with a worker that would die, and lasts as long as the window is full.
    begun = state.mass_death.until is not None
    if not state.mass_death.update(on=massive and (silent > 0 or begun), now=now, span=window):
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
    recalled = state.recalled
    if recalled is None:
        worn = state.memory.worn(target.limits.rescue_budget, now)
        return replace(target, worn=worn, spare_live=advised(state, target) is not None)
    return replace(
        target,
        worn=recalled.worn,
        left_alone=recalled.left_alone,
        spare_live=advised(state, target) is not None,
    )


def advised(state: QueueState, target: Target) -> timedelta | None:
    """The limit for live workers that would do, where the present one is too close to how long jobs run."""
    if target.limits.trust_threshold:
        return None
    return state.threshold.advised(target.limits.stuck_after_alive)
