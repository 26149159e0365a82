"""From settings to the upkeep of one environment: its own settings win over those for all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from queuewarden.engine.upkeep.config import TASKS, Upkeep
from queuewarden.settings.names import nearest
from queuewarden.settings.precedence import Setting
from queuewarden.settings.upkeep_section import UpkeepSection

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

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


def lacking(levels: Mapping[str, Level], channels: Collection[str], *, place: bool) -> Iterator[str]:
    """What tasks that are switched on would fail without, at their first moment.

    Args:
        levels: the settled settings of each environment, by its name.
        channels: all alert channels.
        place: whether there is a place for backups.
    """
    for name, level in levels.items():
        for task in ("backup", "verify"):
            if level[task].value is not None and not place:
                yield f"{level[task].origin}: there is no place for backups; set QUEUEWARDEN_BACKUP_DIR"
        report, to = level["report"], level["report_to"]
        if to.value is None:
            if report.value is not None:
                yield f"{report.origin}: the report would go nowhere; set QUEUEWARDEN_UPKEEP__REPORT_TO"
        elif "/" not in to.value:
            if to.value not in channels:
                yield f"{to.origin}: unknown channel {to.value}; {nearest(to.value, channels)}"
        elif report.value is not None and "{environment}" not in to.value:
            others = [one for one in levels if one != name and levels[one]["report_to"].value == to.value]
            if others:
                yield f"{to.origin}: {others[0]} has the same file; put {{environment}} into its name"
