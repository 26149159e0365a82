"""The configuration as frozen values: what settings hand to the application."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from queuewarden.engine.upkeep.config import Upkeep

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Mapping as MappingOf
    from datetime import timedelta
    from pathlib import Path

    from queuewarden.engine.alerting.rules import AlertRule
    from queuewarden.model import Limits
    from queuewarden.queues.mapping import Mapping
    from queuewarden.settings.secret import DsnSource, SecretSource


@dataclass(frozen=True, slots=True)
class EnvironmentConfig:
    """One environment: a database, its queues and their limits.

    Attributes:
        limits: the guard settings at the level of the environment.
        queue_limits: the guard settings of each queue by its name.
            Where ``discover`` is set: of each preset by its name.
        discover: no queue is configured at all: look for the tables of known presets.
        ping: the URL that is called after each good sweep of this environment, if any.
        upkeep: what is done by the clock.
        upkeep_dsn: a direct way to the database for upkeep, where ``dsn`` goes through a pooler; None: there
            is only ``dsn``.
        scratch_dsn: another server, where backups are tried out; None: they are on the one that they are of.
    """

    name: str
    dsn: DsnSource
    queues: tuple[Mapping, ...]
    limits: Limits
    queue_limits: MappingOf[str, Limits]
    discover: bool = False
    ping: SecretSource | None = None
    upkeep: Upkeep = field(default_factory=Upkeep)
    upkeep_dsn: DsnSource | None = None
    scratch_dsn: DsnSource | None = None

    def unread(self, read: Iterable[str]) -> tuple[Mapping, ...]:
        """Its queues but for those of some names."""
        names = set(read)
        return tuple(one for one in self.queues if one.name not in names)


@dataclass(frozen=True, slots=True)
class HttpConfig:
    """Where the HTTP API and the page listen, and who may use them.

    Attributes:
        host, port: a TCP address; None and 0 where it is a socket.
        socket: the path of a unix socket.
        read_token, write_token: without one, nobody may read (see ``open_read``), or write.
        open_read: whoever reaches it (from this machine only) may read without a token.
        rate: requests a second that one client may make.
    """

    host: str | None
    port: int
    socket: Path | None = None
    read_token: SecretSource | None = None
    write_token: SecretSource | None = None
    open_read: bool = False
    rate: int = 100


@dataclass(frozen=True, slots=True)
class ChannelConfig:
    """One way to tell people.

    Attributes:
        url: in the grammar of Apprise; it is a secret.
        severities: what is sent there, the word ``escalated`` for whatever was escalated.
        environments: whose alerts are sent there; empty: of all.
        hourly: notices an hour that are sent there at most; those of severity critical have as many more.
        timeout: how long one attempt may take.
    """

    name: str
    url: SecretSource
    severities: frozenset[str]
    environments: frozenset[str]
    hourly: int
    timeout: timedelta


@dataclass(frozen=True, slots=True)
class Configuration:
    """All that was configured.

    Attributes:
        status_file: where the status file is, if somewhere else than the unit's runtime directory.
        source: which source the values came from, as `daemon.started` reports it.
        http: None where there is no HTTP API.
        channels: whom alerts are sent to; none: nobody.
        rules: all alert rules that are enabled, the default ones included.
        ping: the URL that is called after each round in which every environment was swept well.
        backup_dir: where backups lie, a folder for each environment; None: none are made.
    """

    environments: tuple[EnvironmentConfig, ...]
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "console", "json", "journal"] = "auto"
    profile: Literal["production", "development", "test"] = "production"
    status_file: Path | None = None
    source: str = "environment"
    http: HttpConfig | None = None
    channels: tuple[ChannelConfig, ...] = ()
    rules: tuple[AlertRule, ...] = ()
    ping: SecretSource | None = None
    backup_dir: Path | None = None

    @property
    def alerting(self) -> bool:
        """Somebody can hear or see alerts; else none are decided."""
        return self.http is not None or bool(self.channels)
