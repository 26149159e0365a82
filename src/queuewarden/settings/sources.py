"""Where settings come from: the process environment, a file, systemd's credentials. Plain strings, each
with its origin; what they mean is not decided here.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, replace
from difflib import SequenceMatcher
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic_settings import PydanticBaseSettingsSource

from queuewarden.redact import visible
from queuewarden.settings import envfile

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic.fields import FieldInfo
    from pydantic_settings import BaseSettings

PREFIX = "QUEUEWARDEN_"
DEFAULT_FILE = Path("/etc/queuewarden/queuewarden.env")
CREDENTIALS = Path("/etc/queuewarden/credentials")
SECRETS_FOLDER = "secrets"
"""Beside the directory of DSN files: tokens and URLs, each in a file that is called as its credential."""

# Container platforms inject these for a service of our name.
_INJECTED = ("QUEUEWARDEN_SERVICE_", "QUEUEWARDEN_PORT")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
_COMMENT = re.compile(r"(?:^|\s)#")
_DOUBLE_QUOTED = re.compile(r'"(?:[^"]|"")*"')
_ALIKE = 0.8
_LONGEST = 10_000
"""Characters of one value."""
_LONGEST_PLACE = 300
"""Characters of a path that a fault repeats."""
_LARGEST = 1_000_000
"""Characters of a file."""

SECRETS = ("dsn", "upkeep_dsn", "scratch_dsn", "url", "ping_url", "http_read_token", "http_write_token")
"""Last parts of the variables that hold a secret; with ``_file`` behind it, each names a file instead."""

_OTHER_SPELLINGS = {name: f"{name}_file" for name in SECRETS} | {f"{name}_file": name for name in SECRETS}

VariablePath = tuple[str, ...]
"""A variable's name without prefix, lower-cased, split at ``__``."""


@dataclass(frozen=True, slots=True)
class Given:
    """A value that somebody set.

    Attributes:
        variable: the name as it was spelled.
        origin: ``process environment``, the file and its line, or the preset.
        in_file: it stands in a file, whose grammar has taken the outer quotes away.
        commented: what looks like a comment is part of it.
    """

    variable: str
    text: str = field(repr=False)
    origin: str
    in_file: bool = False
    commented: bool = False

    def __str__(self) -> str:
        return f"{self.variable} ({self.origin})"


@dataclass(slots=True)
class Sources:
    """All that was given, with the faults of form found on the way.

    Attributes:
        credentials: the DSN files of environments, by name.
        credentials_note: why they could not be looked at, if so.
        secrets: the other credentials, by name; outside a unit, the files beside the directory of DSN files.
        secrets_note: why they could not be looked at, if so.
        source: what was read, as `daemon.started` reports it.
    """

    given: dict[VariablePath, Given] = field(default_factory=dict)
    credentials: dict[str, Path] = field(default_factory=dict)
    credentials_note: str = ""
    secrets: dict[str, Path] = field(default_factory=dict)
    secrets_note: str = ""
    source: str = "environment"
    faults: list[str] = field(default_factory=list)


class GivenSource(PydanticBaseSettingsSource):
    """Feeds what was given to pydantic: the tree of plain strings, and nothing else."""

    def __init__(self, settings_cls: type[BaseSettings], given: Mapping[VariablePath, Given]) -> None:
        super().__init__(settings_cls)
        self._tree: dict[str, Any] = {}
        for path, one in given.items():
            branch = self._tree
            for part in path[:-1]:
                branch = branch.setdefault(part, {})
            branch[path[-1]] = one.text

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """One field of the tree, at its root."""
        del field
        return self._tree.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        """The tree."""
        fields = self.settings_cls.model_fields.items()
        return {name: self.get_field_value(field, name)[0] for name, field in fields if name in self._tree}


def collect(
    environ: Mapping[str, str], config_file: Path | None, *, default_file: Path, credentials: Path
) -> Sources:
    """All that is given by the process environment, the file and the credentials.

    Args:
        environ: the process environment.
        config_file: the file named on the command line; without it QUEUEWARDEN_CONFIG_FILE is read, else
            ``default_file`` if it is there.
        default_file: see ``config_file``.
        credentials: where DSN files lie outside a systemd unit.
    """
    sources = Sources()
    variables = _variables((_of_process(name, text) for name, text in environ.items()), sources)
    named = variables.get(("config_file",))
    file = config_file or (Path(named.text) if named else None)
    if file is None and os.path.exists(default_file):  # noqa: PTH110 -- Path.exists raises where it may not look
        file = default_file
    if file is not None and str(file) != os.devnull:
        lines = _file(file, sources)
        sources.given = _variables(lines, sources)
        if useless := sources.given.pop(("config_file",), None):
            sources.faults.append(f"{useless}: has no effect inside a file; remove it")
        name = visible(str(file))
        sources.source = f"environment, {name}" if variables else name
    _override(sources.given, variables)
    _find_credentials(sources, environ.get("CREDENTIALS_DIRECTORY"), credentials)
    return sources


def _override(given: dict[VariablePath, Given], stronger: Mapping[VariablePath, Given]) -> None:
    for path in stronger:
        # The two spellings of a secret are one setting: whichever the environment has replaces the file's.
        other = _OTHER_SPELLINGS.get(path[-1])
        if other and (*path[:-1], other) not in stronger:
            given.pop((*path[:-1], other), None)
    given.update(stronger)


def _of_process(name: str, text: str) -> Given:
    # A secret may have such a sign; elsewhere double quotes, which all readers of names know, keep it.
    commented = _path(name)[-1] not in SECRETS and _COMMENT.search(_DOUBLE_QUOTED.sub('"', text)) is not None
    return Given(name, text, "process environment", commented=commented)


def _variables(assignments: Iterable[Given], sources: Sources) -> dict[VariablePath, Given]:
    found: dict[VariablePath, Given] = {}
    for assignment in assignments:
        name, text = assignment.variable, assignment.text
        if not name.upper().startswith(PREFIX):
            if _resembles_ours(name):
                sources.faults.append(f"{_printable(name)}: unknown variable; did you mean {PREFIX}…?")
            continue
        if name.upper().startswith(_INJECTED):
            continue
        one = replace(assignment, variable=_printable(name))
        if not re.fullmatch(r"[\w.-]+", name, re.ASCII):
            sources.faults.append(f"{one}: not a variable name; write NAME=value, nothing before or between")
        elif _CONTROL.search(text):
            sources.faults.append(f"{one}: control characters or text that is not UTF-8")
        elif len(text) > _LONGEST:
            sources.faults.append(f"{one}: a value of more than {_LONGEST} characters")
        else:
            path = _path(name)
            before = found.get(path, one)
            if before.text != text and before.variable != name:
                sources.faults.append(f"{one}: also given as {before.variable}, with another value")
            found[path] = one
    return found


def _path(name: str) -> VariablePath:
    path = tuple(name[len(PREFIX) :].lower().split("__"))
    # QUEUEWARDEN_DSN alone is environment `default`.
    return ("env", "default", *path) if path in {("dsn",), ("dsn_file",)} else path


def _printable(name: str) -> str:
    # A line such as `QUEUEWARDEN_DSN postgresql://…?a=b` has its secret in front of the first `=`.
    spelled = re.match(r"[\w.-]*", name, re.ASCII)
    return spelled.group()[:100] if spelled else ""


def _resembles_ours(name: str) -> bool:
    head = name.upper().partition("_")[0]
    return bool(head) and (
        head == PREFIX.rstrip("_") or SequenceMatcher(None, head, PREFIX.rstrip("_")).ratio() > _ALIKE
    )


def _file(file: Path, sources: Sources) -> list[Given]:
    place = visible(str(file))
    if len(place) > _LONGEST_PLACE:
        place = f"{place[:_LONGEST_PLACE]}…"
    try:
        with file.open(encoding="utf-8-sig") as stream:
            text = stream.read(_LARGEST + 1)
        if len(text) > _LARGEST:
            raise envfile.EnvFileError(f"more than {_LARGEST} characters, which no configuration has")
        assignments = envfile.parse(text)
    except (OSError, ValueError) as error:
        # Anything may have been pasted where the path of a file belongs, a DSN above all.
        name = "the configuration file" if re.search(r":/|[@=]", str(file)) else place
        sources.faults.append(f"{name}: {_why(error)}")
    else:
        return [
            Given(one.key, one.value, f"{place}, line {one.line}", in_file=True, commented=one.commented)
            for one in assignments
        ]
    return []


def _why(error: OSError | ValueError) -> str:
    match error:
        case OSError():
            return f"cannot be read: {error.strerror}; --config or {PREFIX}CONFIG_FILE names another file"
        case envfile.EnvFileError():
            return str(error)
        case UnicodeError():
            return "not UTF-8 text"
        case _:
            return "not the path of a file"


def _find_credentials(sources: Sources, directory: str | None, outside: Path) -> None:
    if directory:
        inside, sources.credentials_note = _files(Path(directory))
        sources.secrets_note = sources.credentials_note
        if inside is not None:
            dsn = "dsn_"
            sources.credentials = {
                name.removeprefix(dsn): file for name, file in inside.items() if name.startswith(dsn)
            }
            sources.secrets = {name: file for name, file in inside.items() if not name.startswith(dsn)}
            return
    # A reload's own validation runs in the unit, but without its credentials: then it is outside, too.
    files, note = _files(outside)
    sources.credentials, sources.credentials_note = files or {}, sources.credentials_note + note
    files, note = _files(outside.with_name(SECRETS_FOLDER))
    sources.secrets, sources.secrets_note = files or {}, sources.secrets_note + note


def _files(place: Path) -> tuple[dict[str, Path] | None, str]:
    """The files of a directory by their names, lower-cased; None where there is none, or why it is hidden."""
    try:
        files = [file for file in sorted(place.iterdir()) if not file.name.startswith(".") and file.is_file()]
    except FileNotFoundError:
        return None, ""
    except OSError as error:
        return None, f"; {visible(str(place))} cannot be read: {error.strerror}"
    return {file.name.lower(): file for file in files}, ""
