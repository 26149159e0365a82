"""From the process environment, a file and credentials to the configuration, or to all its faults."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from queuewarden.errors import ConfigurationError, UnavailableError
from queuewarden.queues.presets import presets
from queuewarden.redact import visible
from queuewarden.settings import alerting, mappings, types
from queuewarden.settings.configuration import Configuration, EnvironmentConfig
from queuewarden.settings.guard_section import Guard
from queuewarden.settings.listening import Secrets, listening
from queuewarden.settings.names import nearest, variable
from queuewarden.settings.precedence import (
    Levels,
    Setting,
    contradictions,
    level,
    limits,
    preset_level,
    profile,
)
from queuewarden.settings.queue_sections import QueueSection
from queuewarden.settings.reading import read
from queuewarden.settings.secret import DsnSource
from queuewarden.settings.sections import EnvironmentSection, Settings
from queuewarden.settings.sources import CREDENTIALS, DEFAULT_FILE, collect
from queuewarden.settings.upkeep import lacking, settled, upkeep

if TYPE_CHECKING:
    from collections.abc import Mapping as MappingOf
    from pathlib import Path

    from pydantic import SecretStr

    from queuewarden.engine.upkeep.config import Upkeep
    from queuewarden.model import Limits
    from queuewarden.queues.mapping import Mapping
    from queuewarden.settings.precedence import Level
    from queuewarden.settings.sources import Given, Sources, VariablePath

NO_ENVIRONMENT = "no environment is configured: set QUEUEWARDEN_DSN, or QUEUEWARDEN_ENV__NAME__DSN for each"
"""The fault of a configuration without any environment."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """The configuration, and how it came about, for those who explain it.

    Attributes:
        given: every value, a preset's included, by its path.
        queues: the mapping of each queue, by name, whether an environment has it or not.
        settled: the guard settings of each environment (queue None) and of each of its queues.
        top: log level and log format.
        upkeep: the upkeep settings of each environment.
    """

    configuration: Configuration
    settings: Settings
    given: MappingOf[VariablePath, Given]
    queues: MappingOf[str, Mapping]
    settled: MappingOf[tuple[str, str | None], Level]
    top: Level
    upkeep: MappingOf[str, Level]


def load(
    environ: MappingOf[str, str],
    config_file: Path | None = None,
    *,
    default_file: Path = DEFAULT_FILE,
    credentials: Path = CREDENTIALS,
) -> Configuration:
    """The configuration; no connection is made.

    Args:
        environ: the process environment.
        config_file: the file named on the command line, if any.
        default_file: the file that is read where none is named, if it is there.
        credentials: where the DSN files of environments lie outside a systemd unit.

    Raises:
        ConfigurationError: with all faults.
    """
    return explain(environ, config_file, default_file=default_file, credentials=credentials).configuration


def explain(
    environ: MappingOf[str, str],
    config_file: Path | None = None,
    *,
    default_file: Path = DEFAULT_FILE,
    credentials: Path = CREDENTIALS,
) -> Loaded:
    """As ``load``, with the origin of each value."""
    sources = collect(environ, config_file, default_file=default_file, credentials=credentials)
    loader = _Loader(sources)
    loaded = loader.loaded()
    if loader.faults:
        raise ConfigurationError(list(dict.fromkeys(loader.faults)))
    return loaded


class _Loader:
    """Collects faults and goes on as far as it can, so that one run shows all of them."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._tree = read(sources.given)
        self.faults = [*sources.faults, *self._tree.faults]
        self._settings, self._given = self._tree.settings, self._tree.given
        # A refused value still tells that its environment or queue is there.
        there = {*self._given, *self._tree.bad}
        self._queues = sorted({path[1] for path in there if path[0] == "queue"})
        self._environments = sorted(
            {path[1] for path in there if path[0] == "env"} | set(sources.credentials)
        )
        self._settled: dict[tuple[str, str | None], Level] = {}
        self._upkeep: dict[str, Level] = {}
        self._profile = profile(self._settings.profile)

    def loaded(self) -> Loaded:
        """All there is; whether it may be used, ``faults`` tells."""
        if not self._environments and not self._sources.faults:
            self.faults.append(NO_ENVIRONMENT)
        mapped = self._mappings()
        secrets = Secrets(self._given, self._sources.secrets, self._sources.secrets_note)
        environments = [self._environment(name, mapped, secrets) for name in self._environments]
        top = {name: self._top(name) for name in ("log_level", "log_format")}
        http, wrong = listening(self._settings, self._given, secrets)
        self.faults += wrong
        alerts = alerting.Reader(self._settings, self._tree.given, self._tree.bad)
        channels = alerts.channels(secrets, self._environments)
        rules = alerts.rules()
        self.faults += alerts.faults
        if not {path[-1] for path in self._tree.bad} & {"backup_dir", "report_to"}:
            place = self._settings.backup_dir is not None
            self.faults += lacking(self._upkeep, alerts.names, place=place)
        ping = secrets.url(("ping_url",), self._settings.ping_url, self._settings.ping_url_file, "ping_url")
        self.faults += secrets.faults
        configuration = Configuration(
            environments=tuple(environments),
            log_level=top["log_level"].value,
            log_format=top["log_format"].value,
            profile=self._settings.profile,
            status_file=self._settings.status_file,
            source=self._sources.source,
            http=http,
            channels=channels,
            rules=rules,
            ping=ping,
            backup_dir=self._settings.backup_dir,
        )
        return Loaded(configuration, self._settings, self._given, mapped, self._settled, top, self._upkeep)

    def _origin(self, *path: str) -> str:
        return str(self._given[path])

    def _top(self, name: str) -> Setting:
        if name in self._settings.model_fields_set:
            return Setting(getattr(self._settings, name), self._origin(name))
        return self._profile.get(name) or Setting(getattr(self._settings, name), "default")

    def _mappings(self) -> dict[str, Mapping]:
        mapped = {}
        for name in self._queues:
            section = self._settings.queue.get(name, QueueSection())
            bad = {path for path in self._tree.bad if path[:2] == ("queue", name)}
            # A queue of unknown preset lacks whatever that preset would have mapped.
            faults = (
                [] if ("queue", name, "preset") in bad else mappings.faults(name, section, self._given, bad)
            )
            self.faults += faults
            registered = section.workers.registered_in
            if registered and registered not in self._environments:
                one = self._origin("queue", name, "workers", "registered_in")
                self.faults.append(f"{one}: unknown environment; {nearest(registered, self._environments)}")
            if not faults and not bad:
                mapped[name] = mappings.build(name, section)
        return mapped

    def _environment(self, name: str, mapped: MappingOf[str, Mapping], secrets: Secrets) -> EnvironmentConfig:
        section = self._settings.env.get(name, EnvironmentSection())
        for queue in section.queue:
            if queue not in self._queues:
                one = next(
                    one for path, one in self._given.items() if path[:4] == ("env", name, "queue", queue)
                )
                self.faults.append(f"{one}: unknown queue; {nearest(queue, self._queues)}")
        for queue in section.queues or ():
            if queue not in self._queues:
                one = self._given["env", name, "queues"]
                self.faults.append(
                    f"{one}: unknown queue {types.shown(queue)}; {nearest(queue, self._queues)}"
                )
        discover = not self._queues
        recognisable = [preset.name for preset in presets().values() if preset.fingerprint]
        wanted = recognisable if discover else section.queues or self._queues
        queues = tuple(mapped[queue] for queue in wanted if queue in mapped)
        self._look_for_overlaps(queues)
        own = self._limits(name, None)
        return EnvironmentConfig(
            name=name,
            dsn=self._dsn(name, section),
            queues=queues,
            limits=own,
            queue_limits={queue: self._limits(name, queue) for queue in wanted},
            discover=discover,
            ping=secrets.url(
                ("env", name, "ping_url"), section.ping_url, section.ping_url_file, f"ping_url_{name}"
            ),
            upkeep=self._upkept(name, section),
            upkeep_dsn=self._other_dsn(
                name, "upkeep_dsn", section.upkeep_dsn, section.upkeep_dsn_file, secrets
            ),
            scratch_dsn=self._other_dsn(
                name, "scratch_dsn", section.scratch_dsn, section.scratch_dsn_file, secrets
            ),
        )

    def _upkept(self, name: str, section: EnvironmentSection) -> Upkeep:
        level = settled(self._settings.upkeep, section.upkeep, name, lambda path: self._origin(*path))
        self._upkeep[name] = level
        return upkeep(level)

    def _other_dsn(
        self, name: str, which: str, value: SecretStr | None, file: Path | None, secrets: Secrets
    ) -> DsnSource | None:
        found = secrets.find(("env", name, which), value, file, f"{which}_{name}")
        if found is None:
            return None
        source = DsnSource(found.origin, found.value, found.path)
        return self._readable(source) if source.value is not None else source

    def _limits(self, environment: str, queue: str | None) -> Limits:
        settings = self._settings
        section = settings.env.get(environment, EnvironmentSection())
        own = settings.queue.get(queue, QueueSection()) if queue else QueueSection()
        here = section.queue.get(queue, Guard()) if queue else Guard()
        # Where tables are yet to be recognised, the queues bear the names of their presets.
        preset = presets().get(own.preset or (queue if queue and not self._queues else ""))
        at = ("env", environment)
        settled = Levels(
            everywhere=self._level(settings),
            profile=self._profile,
            environment=self._level(section, *at),
            queue=self._level(own, "queue", str(queue)),
            queue_here=self._level(here, *at, "queue", str(queue)),
            preset=preset_level(preset) if preset else {},
        ).settled()
        self.faults += contradictions(settled)
        self._settled[environment, queue] = settled
        return limits(settled, signs=any(value is not None for _, value in own.alive))

    def _level(self, section: Guard, *path: str) -> Level:
        return level(section, lambda name: self._origin(*path, name))

    def _dsn(self, name: str, section: EnvironmentSection) -> DsnSource:
        plain, file = ("env", name, "dsn"), ("env", name, "dsn_file")
        if plain in self._given and file in self._given:
            self.faults.append(
                f"{self._given[plain]}: {self._given[file]} stands beside it; keep one of the two"
            )
        if section.dsn is not None:
            return self._readable(DsnSource(self._origin(*plain), value=section.dsn.get_secret_value()))
        if section.dsn_file is not None:
            return DsnSource(self._origin(*file), path=section.dsn_file)
        if name in self._sources.credentials:
            credential = self._sources.credentials[name]
            place = visible(str(credential))
            if not types.NAME.fullmatch(name):
                self.faults.append(f"{place}: {types.NAME_RULE}")
            return DsnSource(f"credential {place}", path=credential)
        if not {plain, file} & self._tree.bad:
            choice = f"set {variable(plain)}, {variable(file)} or the credential dsn_{name}"
            self.faults.append(f"environment {name} has no DSN: {choice}{self._sources.credentials_note}")
        return DsnSource("")

    def _readable(self, source: DsnSource) -> DsnSource:
        try:
            source.read()
        except UnavailableError as error:
            self.faults.append(str(error))
        return source

    def _look_for_overlaps(self, queues: tuple[Mapping, ...]) -> None:
        for one, other in combinations(queues, 2):
            both = sorted(set(one.states.running) & set(other.states.running))
            if both and _rows(one) == _rows(other):
                variables = (variable(("queue", queue.name, "states", "running")) for queue in (one, other))
                clash = f"{types.shown(both[0])} on table {one.jobs.table}"
                self.faults.append(f"{' and '.join(variables)} both have {clash}; a job belongs to one queue")


def _rows(queue: Mapping) -> tuple[str, str, str | None]:
    # Without a schema the role's search_path decides: public, for all that can be told from here.
    table = queue.jobs.table
    return table.schema or "public", table.name, queue.jobs.status
