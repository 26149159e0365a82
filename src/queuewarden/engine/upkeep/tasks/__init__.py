"""The tasks that are SQL, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from queuewarden.engine.upkeep.config import TaskName
    from queuewarden.engine.upkeep.task import Task

TASKS: Mapping[TaskName, Task] = {}
"""Each module of this package registers here: ``"analyze": analyze``."""
