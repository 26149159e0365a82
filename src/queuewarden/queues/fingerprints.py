"""Fingerprints: how a preset's tables are recognised, and what of them may not change."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from queuewarden.queues.presets import Preset

    Tables = Mapping[tuple[str, str], Mapping[str, str]]

Match = Literal["full", "partial"]

_MODIFIER = re.compile(r"\(\d+(?:,\d+)*\)")


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """How a preset's tables are recognised, and what the drift check holds against the database.

    Attributes:
        tables: for each table, its columns and the types that each may have, as ``format_type`` prints them.
            A name with a dot is a schema and a table; without one, any schema will do.
        statuses: the status values that the jobs table must know; of an enum, all there are.
        unique, triggers, constraints: names of unique indexes, of triggers that fire on update and of CHECK
            constraints of the jobs table.
        functions: names of functions, in the schema of the jobs table, that a repair calls.
    """

    tables: Mapping[str, Mapping[str, tuple[str, ...]]]
    statuses: tuple[str, ...]
    unique: tuple[str, ...] = ()
    triggers: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    functions: tuple[str, ...] = ()


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
            elif not fits(there[column], types):
                wrong[name, column] = f"{there[column]}, not {' or '.join(types)}"
    return wrong


def fits(type_: str, expected: Collection[str]) -> bool:
    """Whether a type is one of those expected, whatever its schema, and however long or exact its values.

    A library's types stand in the schema of its tables, and ``format_type`` names that by the search_path.
    """
    return bare(type_) in map(bare, expected)


def bare(type_: str) -> str:
    """A type's own name, without schema and modifier."""
    return _MODIFIER.sub("", type_).rpartition(".")[2]


def _share(name: str, columns: Mapping[str, tuple[str, ...]], schema: str, tables: Tables) -> float:
    fixed, _, table = name.rpartition(".")
    there = tables.get((schema, table), {}) if fixed in {"", schema} else {}
    return sum(column in there and fits(there[column], types) for column, types in columns.items()) / len(
        columns
    )
