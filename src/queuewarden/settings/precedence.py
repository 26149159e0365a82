"""Guard settings by precedence: queue in environment, queue, environment, preset, all, profile, default.

``MODE`` is the exception, to the safe side: where environment and queue differ, `observe` wins, and a
preset's gives way to any other.
"""

from __future__ import annotations

from collections import ChainMap
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from queuewarden.model import Limits
from queuewarden.settings.guard_section import Guard

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from queuewarden.queues.presets import Preset


@dataclass(frozen=True, slots=True)
class Setting:
    """A value, and where it comes from."""

    value: Any
    origin: str


Level = dict[str, Setting]
"""The guard settings that were given in one place, by name."""

_PROFILES: Mapping[str, Mapping[str, Any]] = {
    "production": {},
    "development": {"log_level": "debug", "log_format": "console", "mode": "observe"},
    "test": {
        "log_level": "error",
        "interval": timedelta(seconds=1),
        "status_every": timedelta(seconds=10),
        "remind_after": timedelta(minutes=1),
        "alerts": False,
    },
}
_DEFAULTS = {name: Setting(field.default, "default") for name, field in Guard.model_fields.items()}


def profile(name: str) -> Level:
    """What a profile sets: guard settings, log level and log format."""
    return {key: Setting(value, f"profile {name}") for key, value in _PROFILES[name].items()}


def level(section: Guard, origin: Callable[[str], str]) -> Level:
    """The guard settings of one section that were given."""
    given = section.model_fields_set & Guard.model_fields.keys()
    return {name: Setting(getattr(section, name), origin(name)) for name in given}


def preset_level(preset: Preset) -> Level:
    """A preset's own guard settings."""
    return level(Guard.model_validate(dict(preset.guard)), lambda _: f"preset {preset.name}")


@dataclass(frozen=True, slots=True)
class Levels:
    """All places that may decide for one queue in one environment."""

    everywhere: Level
    profile: Level
    environment: Level
    queue: Level
    queue_here: Level
    preset: Level

    def settled(self) -> Level:
        """The setting of every name, most specific first."""
        chain = ChainMap(
            self.queue_here,
            self.queue,
            self.environment,
            self.preset,
            self.everywhere,
            self.profile,
            _DEFAULTS,
        )
        settled = {name: chain[name] for name in Guard.model_fields}
        return settled | {"mode": self._mode()}

    def _mode(self) -> Setting:
        if "mode" in self.queue_here:
            return self.queue_here["mode"]
        either = [place["mode"] for place in (self.queue, self.environment) if "mode" in place]
        careful = [setting for setting in either if setting.value == "observe"]
        if either:
            return (careful or either)[0]
        return ChainMap(self.everywhere, self.profile, self.preset, _DEFAULTS)["mode"]


def limits(settled: Level, *, signs: bool = False) -> Limits:
    """The settled settings as the engine takes them.

    Args:
        settled: the settings.
        signs: the queue maps signs of life, which spare a job unless ``STUCK_AFTER_ALIVE`` is given.
    """
    values = {name: setting.value for name, setting in settled.items()}
    alive = values["stuck_after_alive"]
    unset = None if signs else values["stuck_after"]
    values["stuck_after_alive"] = None if alive == "never" else alive or unset
    values["ledger_keep"] = None if values["ledger_keep"] == "never" else values["ledger_keep"]
    return Limits(**values)


def contradictions(settled: Level) -> list[str]:
    """Settings that are right each by itself and wrong together."""
    return [
        f"{_culprit(settled, small, large)}: {small.upper()} must be shorter than {large.upper()}"
        for small, large in (("lock_timeout", "statement_timeout"), ("connect_timeout", "lease_ttl"))
        if settled[small].value >= settled[large].value
    ]


def _culprit(settled: Level, *names: str) -> str:
    given = [settled[name].origin for name in names if settled[name].origin != "default"]
    return " and ".join(dict.fromkeys(given))
