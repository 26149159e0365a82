"""Measures of upkeep: how the tasks that are switched on stand, whoever runs them, as numbers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from queuewarden.adapters.metrics.instruments import Instruments, Labels
    from queuewarden.engine.upkeep.sight import Sight

ALL = (
    "upkeep_failed",
    "upkeep_overdue_seconds",
    "upkeep_last_run_seconds",
    "upkeep_last_success_timestamp_seconds",
    "backup_verified_age_seconds",
)
"""Every metric of upkeep."""


def show(instruments: Instruments, sight: Sight | None) -> None:
    """Take in what is known; None: nothing, as where another daemon has the lease."""
    found: dict[str, dict[Labels, float | None]] = {name: {} for name in ALL}
    failed, overdue, took, succeeded, proven = found.values()
    now = time.monotonic()
    for one in sight.known if sight is not None else ():
        labels = (one.task,)
        if one.result is not None:
            failed[labels] = float(one.result != "done")
        overdue[labels] = sight.overdue(one, now) if sight is not None else None
        took[labels] = one.seconds
        succeeded[labels] = one.succeeded_at.timestamp() if one.succeeded_at is not None else None
    if sight is not None and sight.proven_age is not None:
        proven[()] = sight.proven_age + now - sight.at
    for name, values in found.items():
        instruments.set(name, values)
