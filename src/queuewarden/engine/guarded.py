"""Rendering the guarded write of row rules: lock, repeat the condition, write, return what was changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

from queuewarden.engine.effect import missed
from queuewarden.engine.ledger.book import NO_BOOKING, booked, booking, correction
from queuewarden.engine.render import compiled, found_columns, locking, texts, work_order
from queuewarden.engine.shown import sampled, shown_image
from queuewarden.queues.keys import key_among, key_columns, key_names
from queuewarden.queues.sqltext import TEXT, Name, cast, commas, every, negate
from queuewarden.queues.terms import ALIAS, relation, role_path, running, shape
from queuewarden.writes import Call

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg.sql import Composable

    from queuewarden.adapters.db.session import Query
    from queuewarden.engine.ledger.book import Entry
    from queuewarden.engine.render import Scope
    from queuewarden.model import Key, Rule
    from queuewarden.queues.target import Target
    from queuewarden.writes import Put


def write(target: Target, rule: Rule, scope: Scope, entry: Entry | None = None) -> Query:
    """The guarded write: lock what the condition still holds for, write it, return what was changed.

    Rows, in the order of work: key, place in that order, whether it was written (NULL: with no effect, see
    `missed`), image before, facts, image after.

    Args:
        target: the queue.
        rule: what to write.
        scope: the batch.
        entry: what the ledger says of it; None where there is no ledger.
    """
    keys = key_names(target, rule.table)
    places = work_order(target, rule)
    both = every(
        sql.SQL("{} = {}").format(Name("h", f"k{number}"), Name("d", f"k{number}"))
        for number in range(len(keys))
    )
    return compiled(
        sql.SQL(
            "{written}\nSELECT {key}, h.place, CASE WHEN d.kept IS NOT TRUE THEN d.k0 IS NOT NULL END,"
            " {before}, h.facts, {after}\n"
            "  FROM hit AS h LEFT JOIN done AS d ON {both}\n"
            " ORDER BY {sorted_by}"
        ).format(
            written=_written(
                target,
                rule,
                scope,
                entry,
                held=[
                    sql.SQL("{} AS place").format(texts(places)),
                    sql.SQL("{} AS facts").format(texts(list(rule.facts.values()))),
                ],
                returned=[],
            ),
            key=texts([Name("h", f"k{number}") for number in range(len(keys))]),
            before=_shown(target, rule, scope, Name("h", "before")),
            after=_shown(target, rule, scope, Name("d", "after")),
            both=both,
            sorted_by=commas(Name("h", f"o{number}") for number in range(len(places))),
        )
    )


def write_lean(
    target: Target,
    rule: Rule,
    scope: Scope,
    entry: Entry | None = None,
    *,
    facts: Sequence[str] = (),
    keys: bool = True,
) -> Query:
    """The guarded write as `write`, for batches of which no images are wanted here.

    One row: how many rows were locked, the place of the last, how many were written (NULL: one of them
    with no effect, see `missed`), and of those an array for each column of the key (where ``keys``) and for
    each of the ``facts``.
    """
    numbers = range(len(work_order(target, rule)))
    told = [Name("h", f"k{number}") for number in range(len(key_columns(target, rule.table)))] if keys else []
    told += [Name("h", name) for name in facts]
    arrays = [
        sql.SQL(", array_agg({})").format(cast(Name("d", f"r{number}"), TEXT)) for number in range(len(told))
    ]
    return compiled(
        sql.SQL(
            "{written}\nSELECT (SELECT count(*) FROM hit),\n"
            "       (SELECT {place} FROM hit AS h ORDER BY {latest} LIMIT 1),\n"
            "       CASE WHEN bool_or(d.kept) IS NOT TRUE THEN count(*) END{arrays}\n  FROM done AS d"
        ).format(
            written=_written(
                target,
                rule,
                scope,
                entry,
                held=[sql.SQL("{} AS {}").format(rule.facts[name], Name(name)) for name in facts],
                returned=[
                    sql.SQL("{} AS {}").format(part, Name(f"r{number}")) for number, part in enumerate(told)
                ],
            ),
            place=texts([Name("h", f"o{number}") for number in numbers]),
            latest=commas(sql.SQL("{} DESC").format(Name("h", f"o{number}")) for number in numbers),
            arrays=sql.SQL("").join(arrays),
        )
    )


def _written(
    target: Target,
    rule: Rule,
    scope: Scope,
    entry: Entry | None,
    *,
    held: Sequence[Composable],
    returned: Sequence[Composable],
) -> Composable:
    """CTEs ``hit``, the rows that were locked, and ``done``, those written; and what books them.

    Only what was written counts beside: a trigger may have refused a row, or somebody changed it just before.
    """
    if rule.write is None:
        raise ValueError(f"rule {rule.code} writes nothing")
    alias = ALIAS[rule.table]
    imaged = scope.images or entry is not None
    columns = [Name(alias, name) for name in found_columns(target, rule)]
    before = [sql.SQL("{} AS before").format(texts(columns))] if imaged else []
    after = [sql.SQL("h.before, {} AS after").format(texts(columns))] if imaged else []
    key = [Name("h", f"k{number}") for number in range(len(key_columns(target, rule.table)))]
    named = [sql.SQL("{} AS key").format(texts(key))] if entry is not None else []
    beside = rule.write.beside
    aside = beside.held if beside is not None else {}
    besides = [sql.SQL("{} AS {}").format(part, Name(name)) for name, part in aside.items()]
    kept = sql.SQL("{} AS kept").format(missed(target, rule.event))
    returned = [*key, kept, *returned, *after, *named, *(Name("h", name) for name in aside)]
    freed = sql.SQL(",\nfreed AS ({})").format(beside.statement) if beside else sql.SQL("")
    return sql.SQL(
        "WITH hit AS MATERIALIZED (\nSELECT {held}\n{locking}),\n"
        "done AS (UPDATE {table} AS {alias} SET {assignments}\n"
        "  FROM hit AS h WHERE {held_row}\n  RETURNING {returned}){freed}{booked}"
    ).format(
        held=commas([_held(target, rule), *before, *held, *besides, *role_path(shape(target, rule.table))]),
        freed=freed,
        locking=locking(target, rule, scope),
        table=relation(shape(target, rule.table)),
        alias=Name(alias),
        assignments=_assignments(rule.write),
        held_row=_held_row(target, rule),
        returned=commas(returned),
        booked=booked(entry) if entry is not None else sql.SQL(""),
    )


def call(target: Target, rule: Rule, scope: Scope, entry: Entry | None = None) -> Query:
    """Lock the rows as `write` does, and have the library's own function change each of them.

    Rows: key, place in the order of work, whether it was called for, image before, facts; the first and the
    last id under which the ledger has them. What came of it, `called` tells.
    """
    if not isinstance(rule.write, Call):
        raise TypeError(f"rule {rule.code} calls nothing")
    alias = ALIAS[rule.table]
    width = range(len(key_columns(target, rule.table)))
    columns = [Name(alias, name) for name in found_columns(target, rule)]
    places = work_order(target, rule)
    book = booking(entry)
    return compiled(
        sql.SQL(
            "WITH hit AS MATERIALIZED (\nSELECT {held}\n{locking}),\n"
            "done AS MATERIALIZED (SELECT {key} AS key, h.before, h.before AS after, {call} AS called"
            " FROM hit AS h){booked}\n"
            "SELECT {key}, h.place, true, {before}, h.facts, {told}\n"
            "  FROM hit AS h WHERE (SELECT count(*) FROM done) > 0 ORDER BY {sorted_by}"
        ).format(
            held=commas(
                [
                    _held(target, rule),
                    sql.SQL("{} AS before").format(texts(columns)),
                    sql.SQL("{} AS place").format(texts(places)),
                    sql.SQL("{} AS facts").format(texts(list(rule.facts.values()))),
                    *role_path(shape(target, rule.table)),
                ]
            ),
            locking=locking(target, rule, scope),
            key=texts([Name("h", f"k{number}") for number in width]),
            call=rule.write.call,
            booked=book.ctes,
            before=_shown(target, rule, scope, Name("h", "before")),
            told=book.told,
            sorted_by=commas(Name("h", f"o{number}") for number in range(len(places))),
        )
    )


def called(
    target: Target, rule: Rule, scope: Scope, entry: Entry | None, keys: Sequence[Key], ids: tuple[int, int]
) -> Query:
    """What the calls made of the rows: key, image after, whether it runs no more, how many are booked so.

    Args:
        target: as for `call`.
        rule: as for `call`.
        scope: as for `call`.
        entry: as for `call`; its images after are corrected.
        keys: those that `call` told.
        ids: the first and the last id that it told.
    """
    alias = ALIAS[rule.table]
    columns = [Name(alias, name) for name in found_columns(target, rule)]
    book = correction(entry, *ids) if entry is not None else NO_BOOKING
    return compiled(
        sql.SQL(
            "WITH done AS MATERIALIZED (SELECT {key} AS key, {after} AS after, {over} AS over\n"
            "  FROM {table} AS {alias} WHERE {among}){booked}\n"
            "SELECT d.key, {shown}, d.over, {told} FROM done AS d"
        ).format(
            key=texts(key_names(target, rule.table)),
            after=texts(columns),
            over=negate(rule.where) if rule.by_hand else negate(running(target)),
            table=relation(shape(target, rule.table)),
            alias=Name(alias),
            among=key_among(target, rule.table, "called", keys),
            booked=book.ctes,
            shown=shown_image(Name("d", "after")) if scope.images else sql.SQL("NULL"),
            told=book.told,
        )
    )


def _shown(target: Target, rule: Rule, scope: Scope, image: Name) -> Composable:
    """An image as people are shown it, of as many rows as they are shown; the ledger has it whole."""
    if not scope.images:
        return sql.SQL("NULL")
    order = [Name("h", f"o{number}") for number in range(len(work_order(target, rule)))]
    whole = shown_image(image)
    return whole if scope.sample is None else sampled(whole, order, scope.sample)


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
