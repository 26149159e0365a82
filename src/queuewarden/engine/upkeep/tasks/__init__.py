"""The tasks that are SQL, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from queuewarden.engine.upkeep.tasks import analyze, full_check, prune, reindex, retention, vacuum

if TYPE_CHECKING:
    from queuewarden.engine.upkeep.config import TaskName
    from queuewarden.engine.upkeep.task import Task

TASKS: dict[TaskName, Task] = {
    "analyze": analyze,
    "vacuum": vacuum,
    "reindex": reindex,
    "prune": prune,
    "retention": retention,
    "full_check": full_check,
}
"""Each is a module of this package."""
