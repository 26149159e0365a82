"""From settings to the upkeep of one environment: its own settings win over those for all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from queuewarden.engine.upkeep.config import TASKS, Upkeep
from queuewarden.settings.precedence import Setting
from queuewarden.settings.upkeep_section import UpkeepSection

if TYPE_CHECKING:
    from collections.abc import Callable

    from queuewarden.engine.upkeep.config import TaskName
    from queuewarden.settings.precedence import Level
    from queuewarden.settings.sources import VariablePath

_DEFAULTS = {name: Setting(field.default, "default") for name, field in UpkeepSection.model_fields.items()}


def settled(
    everywhere: UpkeepSection, section: UpkeepSection, name: str, origin: Callable[[VariablePath], str]
) -> Level:
    """The upkeep settings of an environment, each with its origin."""
    found = dict(_DEFAULTS)
    for place, path in ((everywhere, ("upkeep",)), (section, ("env", name, "upkeep"))):
        for field in place.model_fields_set:
            found[field] = Setting(getattr(place, field), origin((*path, field)))
    return found


def upkeep(level: Level) -> Upkeep:
    """The settled settings as the engine takes them."""
    values = {name: setting.value for name, setting in level.items()}
    schedule: dict[TaskName, str] = {task: cron for task in TASKS if (cron := values.pop(task)) is not None}
    return Upkeep(schedule=schedule, **values)
