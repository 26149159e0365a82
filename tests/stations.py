"""A station without a daemon around it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kit import LIMITS, MAPPING

from queuewarden.application.guard import Guard
from queuewarden.application.watching.station import Station
from queuewarden.settings.configuration import Configuration, EnvironmentConfig
from queuewarden.settings.secret import DsnSource

if TYPE_CHECKING:
    from queuewarden.settings.configuration import HttpConfig


def station(http: HttpConfig | None, *names: str) -> Station:
    """One with these environments, whose guards do not run."""
    environments = {
        name: EnvironmentConfig(name, DsnSource("D", value="host=x"), (MAPPING,), LIMITS, {"mail": LIMITS})
        for name in names or ("prod",)
    }
    guards: dict[str, Guard] = {}
    made = Station(Configuration(tuple(environments.values()), http=http), guards)
    for name, config in environments.items():
        guards[name] = Guard(config, environments, made, "test")
        guards[name].announce(3600)
    return made
