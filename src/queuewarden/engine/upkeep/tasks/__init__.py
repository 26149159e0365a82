"""The tasks that are SQL, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from queuewarden.engine.upkeep.tasks import analyze, full_check, prune, reindex, retention, vacuum

if TYPE_CHECKING:
    from queuewarden.engine.upkeep.config import TaskName
    from queuewarden.engine.upkeep.task import Task

_ALL: tuple[Task, ...] = (analyze, vacuum, reindex, prune, retention, full_check)

TASKS: dict[TaskName, Task] = {task.NAME: task for task in _ALL}
"""Each is a module of this package."""
