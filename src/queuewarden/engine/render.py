"""Rendering row rules: each condition once as a plain SELECT, once as the guarded write.

Both are built from the same `_where`, so that they choose the same rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from psycopg import sql

from queuewarden.adapters.db.session import Query
from queuewarden.queues.keys import TEXTS, key_among, key_columns, key_names, unchanged_among
from queuewarden.queues.sqltext import INTEGER, TEXT, Name, Value, cast, commas, every, negate, parameters
from queuewarden.queues.terms import ALIAS, owns, relation, shape

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from psycopg.sql import Composable

    from queuewarden.model import Key, Put, Rule, Table
    from queuewarden.queues.target import Target


@dataclass(frozen=True, slots=True)
class Scope:
    """Which part of a rule's rows a statement is about.

    Attributes:
        limit: at most so many rows.
        after: go on behind this place in the order of work: values of the order's columns, then the key.
        only: nothing but these keys.
        unchanged: nothing but these rows, as long as they are as seen (key to xmin).
        aside: rows to leave out as long as they are as seen (key to xmin).
        images: whether to report the rows' images.
    """

    limit: int
    after: tuple[str, ...] = ()
    only: Collection[Key] | None = None
    unchanged: Mapping[Key, str] | None = None
    aside: Mapping[Key, str] = field(default_factory=dict)
    images: bool = True


def compiled(query: Composable) -> Query:
    """The text and parameters of a composed statement."""
    return Query(query.as_bytes(None), parameters(query))


def image_columns(target: Target, table: Table, touched: Collection[str] = ()) -> tuple[str, ...]:
    """The columns of an image: the key, the mapped ones, those a write touches; never generated ones."""
    mapping = target.mapping
    columns: list[str | None] = list(key_columns(target, table))
    if table == "jobs":
        jobs = mapping.jobs
        columns += [
            jobs.status,
            jobs.worker,
            jobs.started_at,
            jobs.heartbeat,
            jobs.enqueued_at,
            jobs.scheduled_at,
            jobs.finished_at,
            jobs.updated_at,
            jobs.attempts,
            jobs.error,
            *jobs.label,
            *jobs.clear,
        ]
        if mapping.positions is not None:
            columns += [mapping.positions.column, *mapping.positions.lane]
    elif mapping.workers is not None:
        workers = mapping.workers
        columns += [workers.status, workers.heartbeat, workers.current_job, workers.started_at]
    known = shape(target, table).columns
    wanted = dict.fromkeys(name for name in (*columns, *touched) if name is not None)
    return tuple(name for name in wanted if not known[name].generated)


def found_columns(target: Target, rule: Rule) -> tuple[str, ...]:
    """The image columns of a rule's findings, in the order in which they are reported."""
    return image_columns(target, rule.table, tuple(rule.write.values) if rule.write else ())


def probe(
    target: Target, rules: Collection[Rule], cap: int, aside: Mapping[Table, Mapping[Key, str]]
) -> Query:
    """One row: how many rows each rule finds, counted up to a cap."""
    counts = commas(
        sql.SQL("(SELECT count(*) FROM (SELECT 1 FROM {} WHERE {} LIMIT {}) AS s)").format(
            _from(target, rule),
            _where(target, rule, Scope(cap, aside=aside[rule.table])),
            Value("cap", cap, INTEGER),
        )
        for rule in rules
    )
    return compiled(sql.SQL("SELECT {}").format(counts))


def find(target: Target, rule: Rule, scope: Scope) -> Query:
    """The rows at fault: key, place in the order of work, image, facts, xmin where it matters."""
    alias = ALIAS[rule.table]
    xmin = cast(Name(alias, "xmin"), TEXT) if shape(target, rule.table).leaves else sql.SQL("NULL")
    return compiled(
        sql.SQL("SELECT {}, {}, {}, {}, {}\n  FROM {}\n WHERE {}\n ORDER BY {} LIMIT {}").format(
            texts(key_names(target, rule.table)),
            texts(_order(target, rule)),
            texts([Name(alias, name) for name in found_columns(target, rule)]),
            texts(list(rule.facts.values())),
            xmin,
            _from(target, rule),
            _where(target, rule, scope),
            commas(_order(target, rule)),
            Value("limit", scope.limit, INTEGER),
        )
    )


def lock(target: Target, rule: Rule, scope: Scope) -> Query:
    """Lock the rows at fault and return their keys: the first statement where absence decides."""
    return compiled(
        sql.SQL("SELECT {}, {}\n{}").format(
            texts(key_names(target, rule.table)), texts(_order(target, rule)), _locking(target, rule, scope)
        )
    )


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
    places = _order(target, rule)
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
            locking=_locking(target, rule, scope),
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
    numbers = range(len(_order(target, rule)))
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
            locking=_locking(target, rule, scope),
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
        ("o", _order(target, rule)),
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


def _locking(target: Target, rule: Rule, scope: Scope) -> Composable:
    locked = [Name(ALIAS[rule.table])]
    if rule.with_worker:
        locked.append(Name("w"))
    conditions = [_where(target, rule, scope)]
    if rule.cleared is not None:
        conditions.append(rule.cleared)
    return sql.SQL("  FROM {}\n WHERE {}\n ORDER BY {} LIMIT {}\n   FOR UPDATE OF {} SKIP LOCKED").format(
        _from(target, rule),
        every(conditions),
        commas(_order(target, rule)),
        Value("limit", scope.limit, INTEGER),
        commas(locked),
    )


def _from(target: Target, rule: Rule) -> Composable:
    source = sql.SQL("{} AS {}").format(relation(shape(target, rule.table)), Name(ALIAS[rule.table]))
    if not rule.with_worker:
        return source
    return sql.SQL("{} JOIN {} AS w ON {}").format(source, relation(shape(target, "workers")), owns(target))


def _where(target: Target, rule: Rule, scope: Scope) -> Composable:
    conditions = [rule.where]
    if rule.absent is not None:
        conditions.append(rule.absent)
    if scope.after:
        conditions.append(_behind(target, rule, scope.after))
    if scope.only is not None:
        conditions.append(key_among(target, rule.table, "only", list(scope.only)))
    if scope.unchanged is not None:
        conditions.append(unchanged_among(target, rule.table, "unchanged", scope.unchanged))
    if scope.aside:
        conditions.append(negate(unchanged_among(target, rule.table, f"aside_{rule.table}", scope.aside)))
    return every(conditions)


def _order(target: Target, rule: Rule) -> list[Composable]:
    alias = ALIAS[rule.table]
    return [Name(alias, name) for name in dict.fromkeys((*rule.order, *key_columns(target, rule.table)))]


def _behind(target: Target, rule: Rule, place: tuple[str, ...]) -> Composable:
    columns = shape(target, rule.table).columns
    names = dict.fromkeys((*rule.order, *key_columns(target, rule.table)))
    values = commas(
        Value(f"after_{number}", text, columns[name].type)
        for number, (name, text) in enumerate(zip(names, place, strict=True))
    )
    return sql.SQL("({}) > ({})").format(commas(_order(target, rule)), values)


def texts(parts: Collection[Composable]) -> Composable:
    """Values as an array of text, as PostgreSQL prints them."""
    inner = commas(cast(part, TEXT) for part in parts)
    return cast(sql.SQL("ARRAY[{}]").format(inner), TEXTS)
