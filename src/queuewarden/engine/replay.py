"""Replay: put rows from one image to another, where they still are as expected: for plans and undo.

A plan goes from before to after, an undo from after to before. Both compare every column of the image under
the row's lock first, and write only columns that differ.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from queuewarden.engine.lanes import ORDINARY, ORDINARY_SMALL
from queuewarden.engine.ledger.alone import VERSION_OF_OURS, key_text
from queuewarden.engine.ledger.book import NO_BOOKING, booking, correction
from queuewarden.engine.parking import MARK
from queuewarden.engine.render import compiled, texts
from queuewarden.errors import QueuewardenError
from queuewarden.queues.keys import TEXTS
from queuewarden.queues.sqltext import TEXT, Name, Value, cast, commas, every
from queuewarden.queues.terms import relation, role_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg.sql import Composable

    from queuewarden.adapters.db.session import Query, Row, Session
    from queuewarden.adapters.db.transaction import Transaction
    from queuewarden.engine.ledger.book import Booking, Entry
    from queuewarden.engine.pile import Pile, Step
    from queuewarden.queues.target import Column


class LeftParkedError(QueuewardenError):
    """Rows that were put out of the way were changed there by a trigger: nothing of it may stand."""


async def put(transaction: Transaction, pile: Pile, *, parked: bool = False) -> list[Row]:
    """Put the rows that are as expected and that nobody holds locked.

    Args:
        transaction: rolled back by the caller where that is not all he wants.
        pile: the rows.
        parked: put columns under unique indexes that are checked row by row out of the way first.

    Returns:
        For each row that was put: its place among the steps, and its image after.

    Raises:
        LeftParkedError: not all that was put out of the way could be put where it belongs.
        psycopg.Error: as the server reports it, such as a constraint that the rows would violate; or a
            trigger keeps a column of a row as it was.
    """
    book = booking(pile.entry, undoes=pile.alone) if pile.booked else NO_BOOKING
    if not parked:
        rows = await transaction.execute(statement(pile, book))
        return _as_meant(pile, [(row[0], row[1]) for row in rows])
    out = replace(pile, steps=[_parked(pile, at) for at in range(len(pile.steps))])
    first = await transaction.execute(statement(replace(out, alone=False), book))
    if not first:
        return []
    there = [row[0] for row in first]
    # What triggers have made of a row meanwhile is part of what it is now.
    back = [replace(pile.steps[at], expect=tuple(after)) for at, after, *_ in first]
    if pile.booked:
        book = correction(pile.entry, first[0][2], first[0][3])
    second = await transaction.execute(statement(replace(pile, steps=back, guard=None), book))
    if len(second) < len(first) or (pile.booked and second[0][2] != len(first)):
        raise LeftParkedError("a trigger changes rows that were put out of the way of a unique index")
    return _as_meant(pile, [(there[row[0]], row[1]) for row in second])


def _as_meant(pile: Pile, rows: list[Row]) -> list[Row]:
    """The rows that were put; an error, as the server would raise it, where a trigger keeps an old value."""
    for at, after in rows:
        step = pile.steps[at]
        if any(was == now != put for was, now, put in zip(step.expect, after, step.put, strict=True)):
            raise psycopg.errors.RaiseException("a trigger keeps a column as it was")
    return rows


def parkable(pile: Pile) -> bool:
    """Whether a written column stands in a unique index that is checked row by row."""
    return any(name in columns for name in pile.written for columns in pile.shape.instant_unique)


def _parked(pile: Pile, at: int) -> Step:
    step = pile.steps[at]
    values = list(step.expect)
    for number, name in enumerate(pile.entry.columns):
        column = pile.shape.columns[name]
        if step.expect[number] == step.put[number]:
            continue
        if any(name in columns for columns in pile.shape.instant_unique):
            values[number] = _above(column, at) if column.not_null else None
    return replace(step, put=tuple(values))


def _above(column: Column, at: int) -> str:
    if column.family != "number":
        return f"{MARK}{at}"
    return str((ORDINARY_SMALL if column.type[1] == "int2" else ORDINARY) + at)


def statement(pile: Pile, book: Booking) -> Query:
    """The guarded write; rows: place among the steps, image after, what the booking tells."""
    shape, entry, guard = pile.shape, pile.entry, pile.guard
    alias = guard.alias if guard else "j"
    columns = [Name(alias, name) for name in entry.columns]
    at = {name: number for number, name in enumerate(entry.columns)}
    written = pile.written or entry.columns[:1]
    held: list[Composable] = [
        sql.SQL("{} AS tid").format(Name(alias, "ctid")),
        *(Name("u", f"k{number}") for number in range(len(entry.key_columns))),
        sql.SQL("u.n, u.undoes, {} AS before").format(texts(columns)),
        *(Name("u", f"p{at[name]}") for name in written),
        *role_path(shape),
    ]
    conditions = [*_same(pile, alias), *([guard.where] if guard else [])]
    return compiled(
        sql.SQL(
            "{wanted},\n"
            "hit AS MATERIALIZED (SELECT {held}\n  FROM {table} AS {alias} JOIN wanted AS u ON {key}{join}\n"
            " WHERE {where}\n ORDER BY u.n\n   FOR UPDATE OF {locked} SKIP LOCKED),\n"
            "done AS (UPDATE {table} AS {alias} SET {assignments}\n"
            "  FROM hit AS h WHERE {alias}.ctid = h.tid AND {held_key}\n"
            "  RETURNING {row_key} AS key, h.before, {after} AS after, h.undoes, h.n,"
            " {alone_key} AS alone_key){booked}{alone}\n"
            "SELECT d.n, d.after, {told} FROM done AS d ORDER BY d.n"
        ).format(
            wanted=_wanted(pile),
            held=commas(held),
            table=relation(shape),
            alias=Name(alias),
            key=_of_key(pile, alias, "u"),
            join=guard.join if guard else sql.SQL(""),
            where=every(conditions),
            locked=commas(map(Name, (alias, *(guard.locked if guard else ())))),
            assignments=commas(
                sql.SQL("{} = {}").format(Name(name), Name("h", f"p{at[name]}")) for name in written
            ),
            held_key=_of_key(pile, alias, "h"),
            alone_key=key_text(shape, alias, entry.key_columns),
            row_key=texts([Name(alias, name) for name in entry.key_columns]),
            after=texts(columns),
            booked=book.ctes,
            alone=_alone(entry) if pile.alone else sql.SQL(""),
            told=book.told,
        )
    )


def differences(pile: Pile) -> Query:
    """Why rows were not put: place among the steps, whether the row is there, the columns that differ."""
    differ = commas(
        sql.SQL("CASE WHEN {} THEN NULL ELSE {} END").format(condition, Value(f"column_{n}", name, TEXT))
        for n, (condition, name) in enumerate(zip(_same(pile, "j"), pile.entry.columns, strict=True))
    )
    return compiled(
        sql.SQL(
            "{}\nSELECT u.n, {} IS NOT NULL, array_remove(ARRAY[{}], NULL)\n"
            "  FROM wanted AS u LEFT JOIN {} AS j ON {} ORDER BY u.n"
        ).format(
            _wanted(pile),
            Name("j", pile.entry.key_columns[0]),
            differ,
            relation(pile.shape),
            _of_key(pile, "j", "u"),
        )
    )


async def reasons(session: Session, pile: Pile, otherwise: str | None) -> dict[int, str]:
    """For steps that were not, or could not be, taken: why; by their place.

    Args:
        session: the connection.
        pile: the steps.
        otherwise: what to say of a row that is as expected; None: nothing.

    Raises:
        psycopg.Error: as the server reports it.
    """
    told = {}
    for at, there, differing in await session.rows(differences(pile)):
        if not there:
            told[at] = "the row is gone"
        elif differing:
            told[at] = changed(differing)
        elif otherwise is not None:
            told[at] = otherwise
    return told


def changed(columns: Sequence[str]) -> str:
    """What to say of a row that has moved on."""
    return f"it has changed since: {', '.join(columns)}"


def _of_key(pile: Pile, alias: str, other: str) -> Composable:
    """The row is the one that another relation speaks of."""
    return every(
        sql.SQL("{} = {}").format(Name(alias, name), Name(other, f"k{number}"))
        for number, name in enumerate(pile.entry.key_columns)
    )


def _same(pile: Pile, alias: str) -> list[Composable]:
    """For each column of the image: the row's value is the expected one; by text where = is no measure."""
    conditions: list[Composable] = []
    for number, name in enumerate(pile.entry.columns):
        ours: Composable = Name(alias, name)
        if not pile.shape.columns[name].comparable:
            ours = cast(ours, TEXT)
        conditions.append(sql.SQL("{} IS NOT DISTINCT FROM {}").format(ours, Name("u", f"e{number}")))
    return conditions


def _wanted(pile: Pile) -> Composable:
    """The steps as rows: their place, key, expected and new values in the columns' own types."""
    steps, types = pile.steps, pile.shape.columns
    integers = ("pg_catalog", "_int8")
    arrays: dict[str, Composable] = {
        "n": Value("step_n", list(range(len(steps))), integers),
        "undoes": Value("step_undoes", [step.undoes for step in steps], integers),
    }
    typed: list[Composable] = [sql.SQL("u.n, u.undoes")]

    def add(name: str, values: list[str | None], type_: tuple[str, str]) -> None:
        arrays[name] = Value(f"step_{name}", values, TEXTS)
        typed.append(sql.SQL("{} AS {}").format(cast(Name("u", name), type_), Name(name)))

    for number, name in enumerate(pile.entry.key_columns):
        add(f"k{number}", [step.key[number] for step in steps], types[name].type)
    for number, name in enumerate(pile.entry.columns):
        column = types[name]
        add(f"e{number}", [step.expect[number] for step in steps], column.type if column.comparable else TEXT)
        add(f"p{number}", [step.put[number] for step in steps], column.type)
    return sql.SQL("WITH wanted AS MATERIALIZED (SELECT {} FROM unnest({}) AS u({}))").format(
        commas(typed), commas(arrays.values()), commas(map(Name, arrays))
    )


def _alone(entry: Entry) -> Composable:
    """Note the rows as put back; sweeps that looked before are told by the count of undos."""
    schema, table = entry.relation
    return sql.SQL(
        ",\nalone AS (INSERT INTO queuewarden.left_alone AS a (table_schema, table_name, key, version)\n"
        "  SELECT {schema}, {table}, d.alone_key, {version} FROM done AS d\n"
        "  ON CONFLICT (table_schema, table_name, key) DO UPDATE\n"
        "  SET version = excluded.version, at = excluded.at)"
    ).format(
        schema=Value("alone_schema", schema, TEXT),
        table=Value("alone_table", table, TEXT),
        version=VERSION_OF_OURS,
    )


UNDID = b"UPDATE queuewarden.counter SET undos = undos + 1"
"""Run in the transaction of an undo: repairs of sweeps that looked before it are held."""
