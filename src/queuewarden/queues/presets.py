"""Presets: queues known by name. One TOML file each, in plain strings named like the user's own variables."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    Tables = Mapping[tuple[str, str], Mapping[str, str]]

Match = Literal["full", "partial"]


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """How a preset's tables are recognised.

    Attributes:
        tables: for each table, its columns and the types that each may have, as ``format_type`` prints them.
            A name with a dot is a schema and a table; without one, any schema will do.
        statuses: the status values that the jobs table must know.
    """

    tables: Mapping[str, Mapping[str, tuple[str, ...]]]
    statuses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Preset:
    """A queue known by name: the defaults under the user's own variables.

    Attributes:
        ours: whether its tables are guarded wherever they are recognised; a library's are only observed until
            the preset is named.
        mapping: path below the queue (``("jobs", "table")``) to plain string.
        guard: its own guard settings, by name.
        fingerprint: None where it cannot be recognised.
    """

    name: str
    title: str
    notes: str
    ours: bool
    mapping: Mapping[tuple[str, ...], str]
    guard: Mapping[str, str]
    fingerprint: Fingerprint | None


@cache
def presets() -> Mapping[str, Preset]:
    """All presets by name."""
    files = resources.files("queuewarden.queues").joinpath("presets").iterdir()
    named = sorted((file.name.removesuffix(".toml"), file) for file in files if file.name.endswith(".toml"))
    return MappingProxyType({name: _preset(name, file.read_text(encoding="utf-8")) for name, file in named})


def fingerprint_matches(
    preset: Preset, tables: Tables, statuses: Collection[str] | None = None
) -> Match | None:
    """How well the best schema of a catalog fits a preset; see ``matching_schemas``."""
    found = matching_schemas(preset, tables, statuses).values()
    return "full" if "full" in found else next(iter(found), None)


def matching_schemas(
    preset: Preset, tables: Tables, statuses: Collection[str] | None = None
) -> dict[str, Match]:
    """The schemas in which a preset's jobs table stands, and how well its tables fit there.

    Full: every table has every column, in a type that is expected; further columns do no harm. Partial: the
    jobs table has at least half of them.

    Args:
        preset: the preset to recognise.
        tables: ``(schema, name)`` to columns and their types, as ``format_type`` prints them.
        statuses: the values that the status column may hold, as text, where an enum, a constraint or a lookup
            table tells; a preset whose values are not all among them fits partially at best.
    """
    print_ = preset.fingerprint
    if print_ is None:
        return {}
    jobs = preset.mapping["jobs", "table"]
    known = statuses is None or set(print_.statuses) <= set(statuses)
    matches: dict[str, Match] = {}
    for schema in sorted({schema for schema, _ in tables}):
        shares = {name: _share(name, columns, schema, tables) for name, columns in print_.tables.items()}
        if known and min(shares.values()) == 1:
            matches[schema] = "full"
        elif shares[jobs] >= 0.5:  # noqa: PLR2004 -- half, as said above
            matches[schema] = "partial"
    return matches


def differences(preset: Preset, schema: str, tables: Tables) -> dict[tuple[str, str], str]:
    """What a preset's fingerprint has and a schema has not, or has otherwise.

    Returns:
        ``(table, column)`` to what is wrong with it; the column is empty where the whole table is missing.
    """
    wrong: dict[tuple[str, str], str] = {}
    for name, columns in (preset.fingerprint.tables if preset.fingerprint else {}).items():
        there = tables.get((schema, name.rpartition(".")[2]))
        if there is None:
            wrong[name, ""] = "missing"
            continue
        for column, types in columns.items():
            if column not in there:
                wrong[name, column] = "missing"
            elif there[column] not in types:
                wrong[name, column] = f"{there[column]}, not {' or '.join(types)}"
    return wrong


def _share(name: str, columns: Mapping[str, tuple[str, ...]], schema: str, tables: Tables) -> float:
    fixed, _, table = name.rpartition(".")
    there = tables.get((schema, table), {}) if fixed in {"", schema} else {}
    return sum(there.get(column) in types for column, types in columns.items()) / len(columns)


def _preset(name: str, text: str) -> Preset:
    content = tomllib.loads(text)
    mapping: dict[tuple[str, ...], str] = {}
    for key, value in content["queue"].items():
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
    )


def _fingerprint(content: dict[str, Any] | None) -> Fingerprint | None:
    if content is None:
        return None
    tables = {
        table: MappingProxyType({column: tuple(types.split(" | ")) for column, types in columns.items()})
        for table, columns in content["tables"].items()
    }
    return Fingerprint(MappingProxyType(tables), tuple(content["statuses"]))
