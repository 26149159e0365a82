"""Keys in SQL: the columns that identify a row, and membership in a list of keys held as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

from queuewarden.queues.sqltext import TEXT, Name, Value, cast, commas
from queuewarden.queues.terms import ALIAS, shape, workers_id

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from psycopg.sql import Composable

    from queuewarden.model import Key, Table
    from queuewarden.queues.target import Target

TEXTS = ("pg_catalog", "_text")


def key_columns(target: Target, table: Table) -> tuple[str, ...]:
    """The columns of a table's key, as mapped."""
    return target.mapping.jobs.id if table == "jobs" else (workers_id(target),)


def key_names(target: Target, table: Table) -> list[Name]:
    """The key columns, qualified."""
    return [Name(ALIAS[table], column) for column in key_columns(target, table)]


def key_among(target: Target, table: Table, name: str, keys: Collection[Key]) -> Composable:
    """The row's key is one of a list."""
    return _among(target, table, name, keys, None)


def key_listed(target: Target, table: Table, keys: Collection[Key]) -> Composable:
    """The row's key is one of a batch, to be looked up key by key."""
    columns = key_columns(target, table)
    types = [shape(target, table).columns[column].type for column in columns]
    arrays = [[key[number] for key in keys] for number in range(len(columns))]
    return sql.SQL("({}) IN {}").format(commas(key_names(target, table)), lookups("listed", arrays, types))


def lookups(name: str, arrays: Sequence[Sequence[str]], types: Sequence[tuple[str, str]]) -> Composable:
    """A batch of values to look up one by one, as a subquery: each column's values as text, and its type.

    Every ordinal is a multiple of 1, which the planner cannot know: it then expects few rows, and looks each
    up rather than read the whole table for a thousand.
    """
    names = [Name(f"t{number}") for number in range(len(arrays))]
    return sql.SQL("(SELECT {} FROM unnest({}) WITH ORDINALITY AS t({}, o) WHERE t.o %% 1 = 0)").format(
        commas(cast(part, type_) for part, type_ in zip(names, types, strict=True)),
        commas(Value(f"{name}_{number}", list(values), TEXTS) for number, values in enumerate(arrays)),
        commas(names),
    )


def unchanged_among(target: Target, table: Table, name: str, seen: Mapping[Key, str]) -> Composable:
    """The row is one of a list and has not been written since: its xmin is the one that was seen."""
    return _among(target, table, name, list(seen), list(seen.values()))


def _among(
    target: Target, table: Table, name: str, keys: Collection[Key], versions: list[str] | None
) -> Composable:
    columns = key_columns(target, table)
    types = [shape(target, table).columns[column].type for column in columns]
    row: list[Composable] = list(key_names(target, table))
    arrays: list[Composable] = [
        Value(f"{name}_{number}", [key[number] for key in keys], TEXTS) for number in range(len(columns))
    ]
    names = [Name(f"t{number}") for number in range(len(columns))]
    casts = [cast(part, type_) for part, type_ in zip(names, types, strict=True)]
    if versions is not None:
        row.append(cast(Name(ALIAS[table], "xmin"), TEXT))
        arrays.append(Value(f"{name}_xmin", versions, TEXTS))
        names.append(Name("x"))
        casts.append(Name("x"))
    return sql.SQL("({}) IN (SELECT {} FROM unnest({}) AS t({}))").format(
        commas(row), commas(casts), commas(arrays), commas(names)
    )
