"""Rendering row rules as plain SELECTs, and the parts that the guarded write shares with them.

Both are built from the same `_where`, so that they choose the same rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from psycopg import sql

from queuewarden.adapters.db.session import Query
from queuewarden.engine.ledger.alone import left_alone
from queuewarden.engine.shown import sampled, shown
from queuewarden.queues.keys import (
    TEXTS,
    key_among,
    key_columns,
    key_listed,
    key_names,
    lookups,
    unchanged_among,
)
from queuewarden.queues.sqltext import INTEGER, TEXT, Name, Value, cast, commas, every, negate, parameters
from queuewarden.queues.terms import ALIAS, owns, relation, shape

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from psycopg.sql import Composable

    from queuewarden.model import Key, Rule, Table
    from queuewarden.queues.target import Target


@dataclass(frozen=True, slots=True)
class Scope:
    """Which part of a rule's rows a statement is about.

    Attributes:
        limit: at most so many rows.
        after: go on behind this place in the order of work: values of the order's columns, then the key.
        only: nothing but these keys.
        listed: nothing but these rows, as `listed_by` has them.
        unchanged: nothing but these rows, as long as they are as seen (key to xmin).
        aside: rows to leave out as long as they are as seen (key to xmin).
        images: whether to report the rows' images.
        sample: of how many rows, the first ones, images are wanted; None: of all.
        intended: whether to report what the rows would be, too.
    """

    limit: int
    after: tuple[str, ...] = ()
    only: Collection[Key] | None = None
    listed: Sequence[tuple[str, ...]] | None = None
    unchanged: Mapping[Key, str] | None = None
    aside: Mapping[Key, str] = field(default_factory=dict)
    images: bool = True
    sample: int | None = None
    intended: bool = False


def compiled(query: Composable) -> Query:
    """The text and parameters of a composed statement."""
    return Query(query.as_bytes(None), parameters(query))


def image_columns(target: Target, table: Table, touched: Collection[str] = ()) -> tuple[str, ...]:
    """The columns of an image: the key, the mapped ones, those a write touches; never generated ones.

    What tells a job's state is among them: whoever puts a row back has to see that it has moved on.
    """
    mapping = target.mapping
    columns: list[str | None] = []
    if table == "jobs":
        columns += mapping.jobs.columns
        columns += mapping.state_columns if mapping.jobs.status is None else ()
        if mapping.positions is not None:
            columns += [mapping.positions.column, *mapping.positions.lane]
    elif mapping.workers is not None:
        columns += mapping.workers.columns
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
    """The rows at fault: key, place in the order of work, image, facts, xmin where it matters, and what they
    would become (NULL unless that is wished: `Scope.intended`).
    """
    alias = ALIAS[rule.table]
    xmin = cast(Name(alias, "xmin"), TEXT) if shape(target, rule.table).leaves else sql.SQL("NULL")
    return compiled(
        sql.SQL("SELECT {}, {}, {}, {}, {}, {}\n  FROM {}\n WHERE {}\n ORDER BY {} LIMIT {}").format(
            texts(key_names(target, rule.table)),
            texts(work_order(target, rule)),
            _image(target, rule, scope),
            texts(list(rule.facts.values())),
            xmin,
            intended(target, rule) if scope.intended else sql.SQL("NULL"),
            _from(target, rule),
            _where(target, rule, scope),
            commas(work_order(target, rule)),
            Value("limit", scope.limit, INTEGER),
        )
    )


def listed_by(target: Target, rule: Rule) -> list[Composable]:
    """By what rows are listed ahead: where they lie; or by key, where several tables hold them."""
    if len(shape(target, rule.table).leaves) == 1:
        return [Name(ALIAS[rule.table], "ctid")]
    return list(key_names(target, rule.table))


def ahead(target: Target, rule: Rule, scope: Scope) -> Query:
    """One row about the next rows at fault, of many batches together.

    An array of text for each of `listed_by`, in the order of work; then each value of the place of the last.
    """
    order = work_order(target, rule)
    parts = listed_by(target, rule)
    names = [Name("s", f"l{number}") for number in range(len(parts))]
    places = [Name("s", f"o{number}") for number in range(len(order))]
    columns = [
        sql.SQL("{} AS {}").format(cast(part, TEXT), Name(f"{letter}{number}"))
        for letter, group in (("l", parts), ("o", order))
        for number, part in enumerate(group)
    ]
    # The rows come ordered, and an aggregate takes them as they come.
    return compiled(
        sql.SQL("SELECT {}\n  FROM (SELECT {} FROM {} WHERE {} ORDER BY {} LIMIT {}) AS s").format(
            commas(
                [
                    *(sql.SQL("array_agg({})").format(name) for name in names),
                    *(sql.SQL("(array_agg({}))[count(*)]").format(name) for name in places),
                ]
            ),
            commas(columns),
            _from(target, rule),
            _where(target, rule, scope),
            commas(order),
            Value("limit", scope.limit, INTEGER),
        )
    )


def _image(target: Target, rule: Rule, scope: Scope) -> Composable:
    """The image of a row; exact where it shall be acted on, else as much as people are shown."""
    alias = ALIAS[rule.table]
    columns = [Name(alias, name) for name in found_columns(target, rule)]
    if scope.intended:
        return texts(columns)
    image = texts([shown(cast(column, TEXT)) for column in columns])
    if scope.sample is None:
        return image
    return sampled(image, work_order(target, rule), scope.sample)


def intended(target: Target, rule: Rule) -> Composable:
    """The image of a row as the rule's write would leave it, triggers apart."""
    columns = shape(target, rule.table).columns
    values = rule.write.values if rule.write is not None else {}
    alias = ALIAS[rule.table]
    return texts(
        [
            cast(values[name], columns[name].type) if name in values else Name(alias, name)
            for name in found_columns(target, rule)
        ]
    )


def lock(target: Target, rule: Rule, scope: Scope) -> Query:
    """Lock the rows at fault and return their keys: the first statement where absence decides.

    What the write alone may test it does not: that may lock rows of its own, here for all rows at fault.
    """
    return compiled(
        sql.SQL("SELECT {}, {}\n{}").format(
            texts(key_names(target, rule.table)),
            texts(work_order(target, rule)),
            locking(target, replace(rule, cleared=None), scope),
        )
    )


def locking(target: Target, rule: Rule, scope: Scope) -> Composable:
    """The rows in scope, locked where nobody else holds them: from FROM to the lock."""
    locked = [Name(ALIAS[rule.table])]
    if rule.with_worker:
        locked.append(Name("w"))
    conditions = [_where(target, rule, scope)]
    if rule.cleared is not None:
        conditions.append(rule.cleared)
    return sql.SQL("  FROM {}\n WHERE {}\n ORDER BY {} LIMIT {}\n   FOR UPDATE OF {} SKIP LOCKED").format(
        _from(target, rule),
        every(conditions),
        commas(work_order(target, rule)),
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
    if scope.listed is not None:
        conditions.append(_listed(target, rule, scope.listed))
    if scope.unchanged is not None:
        conditions.append(unchanged_among(target, rule.table, "unchanged", scope.unchanged))
    alone = left_alone(target, rule.table)
    if alone is not None and not rule.by_hand:
        conditions.append(negate(alone))
    if scope.aside:
        conditions.append(negate(unchanged_among(target, rule.table, f"aside_{rule.table}", scope.aside)))
    return every(conditions)


def _listed(target: Target, rule: Rule, rows: Sequence[tuple[str, ...]]) -> Composable:
    if len(shape(target, rule.table).leaves) != 1:
        return key_listed(target, rule.table, rows)
    lying = lookups("lying", [[place for (place,) in rows]], [("pg_catalog", "tid")])
    return sql.SQL("{} IN {}").format(Name(ALIAS[rule.table], "ctid"), lying)


def work_order(target: Target, rule: Rule) -> list[Composable]:
    """The columns by which a rule goes through its rows; the key comes last."""
    alias = ALIAS[rule.table]
    return [Name(alias, name) for name in dict.fromkeys((*rule.order, *key_columns(target, rule.table)))]


def _behind(target: Target, rule: Rule, place: tuple[str, ...]) -> Composable:
    columns = shape(target, rule.table).columns
    names = dict.fromkeys((*rule.order, *key_columns(target, rule.table)))
    values = commas(
        Value(f"after_{number}", text, columns[name].type)
        for number, (name, text) in enumerate(zip(names, place, strict=True))
    )
    return sql.SQL("({}) > ({})").format(commas(work_order(target, rule)), values)


def texts(parts: Collection[Composable]) -> Composable:
    """Values as an array of text, as PostgreSQL prints them."""
    inner = commas(cast(part, TEXT) for part in parts)
    return cast(sql.SQL("ARRAY[{}]").format(inner), TEXTS)
