"""The configuration as frozen values: what settings hand to the application."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from queuewarden.errors import UnavailableError
from queuewarden.redact import visible

if TYPE_CHECKING:
    from collections.abc import Mapping as MappingOf
    from pathlib import Path

    from queuewarden.model import Limits
    from queuewarden.queues.mapping import Mapping

_LONGEST = 10_000
"""Characters of a DSN."""


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
            UnavailableError: the file or credential cannot be read, or is no DSN; the message names it, not
                its content.
        """
        text = self.value if self.path is None else self._file(self.path)
        place = self.origin if self.path is None else visible(str(self.path))
        if text is None or not text.strip():
            raise UnavailableError(f"{place} is empty; write a libpq URI or keyword string into it")
        try:
            parts = conninfo_to_dict(text)
        except (ProgrammingError, UnicodeError):
            # libpq's own message repeats the string, password and all.
            raise UnavailableError(f"{place} is not a libpq URI or keyword string") from None
        # What follows a sign that should have been encoded lands in host, port and, of a URI, dbname.
        host = f"{parts.get('host', '')}{parts.get('dbname', '') if '://' in text else ''}"
        ports = str(parts.get("port", "")).split(",")
        if "@" in host or not all(port.isdecimal() or not port for port in ports):
            raise UnavailableError(
                f"{place} is a libpq URI or keyword string with a wrong host, port or dbname;"
                " percent-encode the signs @ : / % ? # in a URI's user and password"
            )
        return text

    def _file(self, path: Path) -> str:
        place = visible(str(path))
        try:
            with path.open(encoding="utf-8") as stream:
                text = stream.read(_LONGEST + 1).rstrip("\r\n")
        except OSError as error:
            raise UnavailableError(f"{place} cannot be read: {error.strerror}") from None
        except UnicodeError:
            raise UnavailableError(f"{place} is not UTF-8 text") from None
        if len(text) > _LONGEST:
            raise UnavailableError(f"{place} has more than {_LONGEST} characters, which no DSN has")
        # libpq would silently stop reading there.
        if "\0" in text:
            raise UnavailableError(f"{place} is not text: it has a NUL in it")
        return text


@dataclass(frozen=True, slots=True)
class EnvironmentConfig:
    """One environment: a database, its queues and their limits.

    Attributes:
        limits: the guard settings at the level of the environment.
        queue_limits: the guard settings of each queue by its name.
            Where ``discover`` is set: of each preset by its name.
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
        status_file: where the status file is, if somewhere else than the unit's runtime directory.
        source: which source the values came from, as `daemon.started` reports it.
    """

    environments: tuple[EnvironmentConfig, ...]
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "console", "json", "journal"] = "auto"
    profile: Literal["production", "development", "test"] = "production"
    status_file: Path | None = None
    source: str = "environment"
