"""The tree of settings: every variable, its type, its default and what it means.

The tree is the single place where a variable exists: unknown names, the reference and `config show` all
go by it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, PlainValidator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from queuewarden.settings.addresses import listen
from queuewarden.settings.alert_sections import ChannelSection, RuleSection
from queuewarden.settings.fields import Boolean, FilePath, Names, Secret, number, unset, words
from queuewarden.settings.guard_section import Guard
from queuewarden.settings.queue_sections import QueueSection
from queuewarden.settings.sources import GivenSource
from queuewarden.settings.upkeep_section import UpkeepSection

if TYPE_CHECKING:
    from collections.abc import Mapping

    from queuewarden.settings.sources import Given, VariablePath


class EnvironmentSection(Guard):
    """One environment: a database."""

    dsn: Secret | None = unset(
        "libpq URI or keyword string; QUEUEWARDEN_DSN alone is environment `default`",
        "postgresql://queuewarden@db.example.com/app",
    )
    dsn_file: FilePath | None = unset("a file that holds the DSN, instead of DSN", "/run/secrets/prod_dsn")
    ping_url: Secret | None = unset(
        "a URL that is called after each good sweep of this environment", "https://ping.example.com/prod"
    )
    ping_url_file: FilePath | None = unset("a file that holds it, instead", "/run/secrets/prod_ping")
    queues: Names | None = unset("the queues that this environment has (unset: all)", "mail")
    upkeep_dsn: Secret | None = unset(
        "a direct way to the database for upkeep, where DSN goes through a pooler",
        "postgresql://queuewarden@db.example.com:5432/app",
    )
    upkeep_dsn_file: FilePath | None = unset("a file that holds it, instead", "/run/secrets/prod_upkeep_dsn")
    scratch_dsn: Secret | None = unset(
        "another server, where backups are restored to prove them (unset: the one that was backed up)",
        "postgresql://queuewarden@scratch.example.com/postgres",
    )
    scratch_dsn_file: FilePath | None = unset(
        "a file that holds it, instead", "/run/secrets/prod_scratch_dsn"
    )
    upkeep: UpkeepSection = UpkeepSection()
    queue: dict[str, Guard] = Field(default_factory=dict)


class Settings(BaseSettings, Guard):
    """The whole tree, from plain strings by path; it reads nothing by itself."""

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, validate_default=False
    )

    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        words("debug", "info", "warning", "error", also={"warn": "warning"}),
    ] = Field(default="info", description="debug, info, warning or error")
    log_format: Annotated[
        Literal["auto", "console", "json", "journal"], words("auto", "console", "json", "journal")
    ] = Field(default="auto", description="auto, console, json or journal")
    profile: Annotated[
        Literal["production", "development", "test"], words("production", "development", "test")
    ] = Field(default="production", description="sets defaults: production, development (observe) or test")
    config_file: Path | None = unset(
        "the configuration file, as --config; only in the process environment",
        "/etc/queuewarden/queuewarden.env",
    )
    status_file: FilePath | None = unset("where the daemon writes its status", "/run/queuewarden/status.json")
    http: Annotated[str | None, PlainValidator(listen)] = unset(
        "where the HTTP API and the page listen: host:port, or unix:/path (unset: nowhere)", "127.0.0.1:9753"
    )
    http_read_token: Secret | None = unset(
        "what readers send as `Authorization: Bearer`, at least 16 characters", "a-long-random-word"
    )
    http_read_token_file: FilePath | None = unset("a file that holds it, instead", "/run/secrets/read_token")
    http_write_token: Secret | None = unset(
        "the same for those who repair, acknowledge and suppress; it reads, too", "another-random-word"
    )
    http_write_token_file: FilePath | None = unset(
        "a file that holds it, instead", "/run/secrets/write_token"
    )
    http_open_read: Boolean = Field(
        default=False, description="whoever is on this machine may read without a token"
    )
    http_rate: Annotated[int, number(50, 100_000)] = Field(
        default=100, description="requests a second that one client may make"
    )
    ping_url: Secret | None = unset(
        "a URL that is called after each round in which every environment was swept well",
        "https://ping.example.com/all",
    )
    ping_url_file: FilePath | None = unset("a file that holds it, instead", "/run/secrets/ping")
    backup_dir: FilePath | None = unset(
        "where backups lie, a folder for each environment (unset: none are made)", "/var/backups/queuewarden"
    )
    upkeep: UpkeepSection = UpkeepSection()
    env: dict[str, EnvironmentSection] = Field(default_factory=dict)
    queue: dict[str, QueueSection] = Field(default_factory=dict)
    alert: dict[str, ChannelSection] = Field(default_factory=dict)
    rule: dict[str, RuleSection] = Field(default_factory=dict)

    def __init__(self, given: Mapping[VariablePath, Given]) -> None:
        super().__init__(given=given)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what was given: pydantic-settings' own sources expand, guess and ignore."""
        del env_settings, dotenv_settings, file_secret_settings
        return (GivenSource(settings_cls, init_settings()["given"]),)
