"""The checks: one duty a file, pure. They say what is wrong and what to write; the engine does it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from queuewarden.checks import dead_workers, lanes, orphans, positions, stuck_jobs, timestamps

if TYPE_CHECKING:
    from collections.abc import Callable

    from queuewarden.model import Rule
    from queuewarden.queues.target import Target


@dataclass(frozen=True, slots=True)
class Check:
    """One duty.

    Attributes:
        rules: what it finds and writes in a target.
        costly: it may have to read a whole table, so that a sweep paces it.
        by_counters: a table that was not modified since it was last found clean needs no new look.
    """

    name: str
    rules: Callable[[Target], tuple[Rule, ...]]
    costly: bool = False
    by_counters: bool = False


CHECKS = {
    check.name: check
    for check in (
        Check(dead_workers.NAME, dead_workers.rules),
        Check(stuck_jobs.NAME, stuck_jobs.rules),
        Check(orphans.NAME, orphans.rules, costly=True),
        Check(timestamps.NAME, timestamps.rules, costly=True, by_counters=True),
        Check(lanes.NAME, lanes.rules, costly=True, by_counters=True),
        Check(positions.NAME, positions.rules, costly=True, by_counters=True),
    )
}
"""All checks in the order in which a sweep runs them: each feeds the next."""
