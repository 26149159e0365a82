"""Rendering the guarded write of row rules: lock, repeat the condition, write, return what was changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

from queuewarden.engine.render import compiled, found_columns, locking, texts, work_order
from queuewarden.queues.keys import key_columns, key_names
from queuewarden.queues.sqltext import TEXT, Name, cast, commas, every
from queuewarden.queues.terms import ALIAS, relation, shape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg.sql import Composable

    from queuewarden.adapters.db.session import Query
    from queuewarden.engine.render import Scope
    from queuewarden.model import Put, Rule
    from queuewarden.queues.target import Target


def write(target: Target, rule: Rule, scope: Scope) -> Query:
    """The guarded write: lock what the condition still holds for, write it, return what was changed.

    Rows, in the order of work: key, place in that order, whether it was written, image before, facts,
    image after.
    """
    if rule.write is None:
        raise ValueError(f"rule {rule.code} writes nothing")
    alias = ALIAS[rule.table]
    keys = key_names(target, rule.table)
    numbered = [Name(f"k{number}") for number in range(len(keys))]
    places = work_order(target, rule)
    sorted_by = commas(Name("h", f"o{number}") for number in range(len(places)))
    columns = [Name(alias, name) for name in found_columns(target, rule)] if scope.images else []
    both = every(
        sql.SQL("{} = {}").format(Name("h", f"k{number}"), Name("d", f"k{number}"))
        for number in range(len(keys))
    )
    held = _held(target, rule)
    assignments = _assignments(rule.write)
    return compiled(
        sql.SQL(
            "WITH hit AS MATERIALIZED (\n"
            "SELECT {held}, {place} AS place, {before} AS before, {facts} AS facts\n{locking}),\n"
            "done AS (UPDATE {table} AS {alias} SET {assignments}\n"
            "  FROM hit AS h WHERE {held_row}\n"
            "  RETURNING {returned}, {after} AS after)\n"
            "SELECT {key}, h.place, d.k0 IS NOT NULL, h.before, h.facts, d.after\n"
            "  FROM hit AS h LEFT JOIN done AS d ON {both}\n"
            " ORDER BY {sorted_by}"
        ).format(
            held=held,
            place=texts(places),
            before=texts(columns),
            facts=texts(list(rule.facts.values())),
            locking=locking(target, rule, scope),
            table=relation(shape(target, rule.table)),
            alias=Name(alias),
            assignments=assignments,
            held_row=_held_row(target, rule),
            returned=commas(
                sql.SQL("{} AS {}").format(Name("h", f"k{number}"), name)
                for number, name in enumerate(numbered)
            ),
            after=texts(columns),
            key=texts([Name("h", f"k{number}") for number in range(len(keys))]),
            both=both,
            sorted_by=sorted_by,
        )
    )


def write_lean(target: Target, rule: Rule, scope: Scope) -> Query:
    """The guarded write as `write`, for batches of which no images are wanted.

    One row: how many rows were locked, the place of the last, and of those written an array for each column
    of the key and for each of `lean_facts`.
    """
    if rule.write is None:
        raise ValueError(f"rule {rule.code} writes nothing")
    numbers = range(len(work_order(target, rule)))
    returned = [Name("h", f"k{number}") for number in range(len(key_columns(target, rule.table)))]
    returned += [Name("h", name) for name in lean_facts(rule)]
    facts = [sql.SQL(", {} AS {}").format(rule.facts[name], Name(name)) for name in lean_facts(rule)]
    return compiled(
        sql.SQL(
            "WITH hit AS MATERIALIZED (\n"
            "SELECT {held}{facts}\n{locking}),\n"
            "done AS (UPDATE {table} AS {alias} SET {assignments}\n"
            "  FROM hit AS h WHERE {held_row}\n"
            "  RETURNING {returned})\n"
            "SELECT (SELECT count(*) FROM hit),\n"
            "       (SELECT {place} FROM hit AS h ORDER BY {latest} LIMIT 1),\n"
            "       {arrays}\n  FROM done AS d"
        ).format(
            held=_held(target, rule),
            facts=sql.SQL("").join(facts),
            locking=locking(target, rule, scope),
            table=relation(shape(target, rule.table)),
            alias=Name(ALIAS[rule.table]),
            assignments=_assignments(rule.write),
            held_row=_held_row(target, rule),
            returned=commas(
                sql.SQL("{} AS {}").format(part, Name(f"r{number}")) for number, part in enumerate(returned)
            ),
            place=texts([Name("h", f"o{number}") for number in numbers]),
            latest=commas(sql.SQL("{} DESC").format(Name("h", f"o{number}")) for number in numbers),
            arrays=commas(
                sql.SQL("array_agg({})").format(cast(Name("d", f"r{number}"), TEXT))
                for number in range(len(returned))
            ),
        )
    )


def lean_facts(rule: Rule) -> tuple[str, ...]:
    """The facts that every mended row is remembered by, not only those of the sample."""
    return tuple(name for name in ("worker", "started") if name in rule.facts)


def _held(target: Target, rule: Rule) -> Composable:
    """What both writes keep of a locked row: its key, its place in the order of work, where it lies."""
    parts: list[tuple[str, Sequence[Composable]]] = [
        ("k", key_names(target, rule.table)),
        ("o", work_order(target, rule)),
    ]
    named = [
        sql.SQL("{} AS {}").format(part, Name(f"{letter}{number}"))
        for letter, columns in parts
        for number, part in enumerate(columns)
    ]
    return commas([*named, sql.SQL("{} AS tid, 1 AS held").format(Name(ALIAS[rule.table], "ctid"))])


def _held_row(target: Target, rule: Rule) -> Composable:
    """The row is the locked one: by key, and by where it lies.

    A version that came after the statement's snapshot is left for the next sweep. ``held`` is always 1, which
    the planner cannot know: it then expects few rows, and looks each up rather than read the whole table for
    a thousand. Of a partitioned table every partition has such a place.
    """
    alias = ALIAS[rule.table]
    keys = enumerate(key_names(target, rule.table))
    parts: list[Composable] = [sql.SQL("h.held = 1")]
    if len(shape(target, rule.table).leaves) == 1:
        parts.append(sql.SQL("{} = h.tid").format(Name(alias, "ctid")))
    parts += [sql.SQL("{} = {}").format(key, Name("h", f"k{number}")) for number, key in keys]
    return every(parts)


def _assignments(put: Put) -> Composable:
    return commas(sql.SQL("{} = {}").format(Name(column), value) for column, value in put.values.items())
