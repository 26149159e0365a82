"""Presets: queues known by name. One TOML file each, in plain strings named like the user's own variables."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from queuewarden.queues.fingerprints import Fingerprint

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class SchemaVersion:
    """Where a library's schema tells its own version: a column of a table (its greatest value), or a comment.

    Attributes:
        table, column: of the version; the table in the schema of the jobs table, unless it names its own.
        comment: a table, beside the jobs table, whose comment is the version.
        versions: those that the preset was read against.
    """

    versions: tuple[str, ...]
    table: str = ""
    column: str = ""
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Library:
    """A queue library, in words and in what decides about it.

    Attributes:
        versions: the range of its versions that the preset was read against.
        tested: the version on which the conformance suite ran; empty: only its documented schema was read.
        stuck, does, never: what stuck means there, what we do, what we never do.
        effects: what else happens when a job is repaired (triggers, notifications); may be empty.
        rescuer: the library's own remedy, in words; may be empty.
        rescue_after: after how long that acts by itself, as a duration; empty where nothing is automatic.
        rights: what a repair needs beyond reading and updating the mapped columns, as in ``GRANT``.
        sources: where the facts come from.
        moves: the code that puts its jobs back, where data cannot say it; see `queues.calls`.
        version: where the schema tells its version.
        prunable: deleting the rows of its finished jobs does no harm; else it has its own way to do so.
    """

    name: str
    versions: str
    tested: str
    stuck: str
    does: str
    never: str
    effects: str = ""
    rescuer: str = ""
    rescue_after: str = ""
    rights: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    moves: str = ""
    version: SchemaVersion | None = None
    prunable: bool = False


@dataclass(frozen=True, slots=True)
class Preset:
    """A queue known by name: the defaults under the user's own variables.

    Attributes:
        ours: whether its tables are guarded wherever they are recognised; a library's are only observed until
            the preset is named.
        mapping: path below the queue (``("jobs", "table")``) to plain string.
        guard: its own guard settings, by name.
        fingerprint: None where it cannot be recognised.
        library: None where it is no library's.
    """

    name: str
    title: str
    notes: str
    ours: bool
    mapping: Mapping[tuple[str, ...], str]
    guard: Mapping[str, str]
    fingerprint: Fingerprint | None
    library: Library | None = None


@cache
def presets() -> Mapping[str, Preset]:
    """All presets by name."""
    files = resources.files("queuewarden.queues").joinpath("presets").iterdir()
    named = sorted((file.name.removesuffix(".toml"), file) for file in files if file.name.endswith(".toml"))
    return MappingProxyType({name: _preset(name, file.read_text(encoding="utf-8")) for name, file in named})


def library_of(preset: str | None) -> Library | None:
    """The library of a preset, by the preset's name; None where it is no library's."""
    known = presets().get(preset) if preset is not None else None
    return known.library if known is not None else None


def _preset(name: str, text: str) -> Preset:
    content = tomllib.loads(text)
    mapping: dict[tuple[str, ...], str] = {}
    for key, value in content.get("queue", {}).items():
        mapping |= (
            {(key, field): one for field, one in value.items()}
            if isinstance(value, dict)
            else {(key,): value}
        )
    return Preset(
        name=name,
        title=content["title"],
        notes=content["notes"].strip(),
        ours=content["ours"],
        mapping=MappingProxyType(mapping),
        guard=MappingProxyType(content.get("guard", {})),
        fingerprint=_fingerprint(content.get("fingerprint")),
        library=_library(content.get("library")),
    )


def _library(content: dict[str, Any] | None) -> Library | None:
    if content is None:
        return None
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in content.items()
    }
    if told := content.get("version"):
        versions = tuple(part.strip() for part in told["versions"].split(","))
        values["version"] = SchemaVersion(**{**told, "versions": versions})
    return Library(**values)


def _fingerprint(content: dict[str, Any] | None) -> Fingerprint | None:
    if content is None:
        return None
    tables = {
        table: MappingProxyType({column: tuple(types.split(" | ")) for column, types in columns.items()})
        for table, columns in content["tables"].items()
    }
    lists = {
        field.name: tuple(content.get(field.name, ()))
        for field in fields(Fingerprint)
        if field.name != "tables"
    }
    return Fingerprint(tables=MappingProxyType(tables), **lists)
