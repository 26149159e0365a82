"""The configuration as frozen values: what settings hand to the application."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping as MappingOf
    from pathlib import Path

    from queuewarden.model import Limits
    from queuewarden.queues.mapping import Mapping


@dataclass(frozen=True, slots=True)
class DsnSource:
    """Where an environment's DSN comes from; read anew for each attempt to connect, never shown.

    Attributes:
        origin: the variable, file or credential, as `config show` names it.
    """

    origin: str
    value: str | None = field(default=None, repr=False)
    path: Path | None = None

    def read(self) -> str:
        """The DSN.

        Raises:
            UnavailableError: the file or credential cannot be read; the message names it, not its content.
        """
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class EnvironmentConfig:
    """One environment: a database, its queues and their limits.

    Attributes:
        limits: the guard settings at the level of the environment.
        queue_limits: the guard settings of each queue by its name.
        discover: no queue is configured at all: look for the tables of known presets.
    """

    name: str
    dsn: DsnSource
    queues: tuple[Mapping, ...]
    limits: Limits
    queue_limits: MappingOf[str, Limits]
    discover: bool = False


@dataclass(frozen=True, slots=True)
class Configuration:
    """All that was configured.

    Attributes:
        source: which source the values came from, as `daemon.started` reports it.
    """

    environments: tuple[EnvironmentConfig, ...]
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "console", "json", "journal"] = "auto"
    profile: Literal["production", "development", "test"] = "production"
    source: str = "environment"
