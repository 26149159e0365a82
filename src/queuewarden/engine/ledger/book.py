"""Booking: the change is recorded by the statement that makes it, before its images reach this process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import sql

from queuewarden.engine.render import image_columns
from queuewarden.queues.keys import TEXTS, key_columns
from queuewarden.queues.sqltext import INTEGER, TEXT, Value
from queuewarden.queues.terms import shape

if TYPE_CHECKING:
    from collections.abc import Collection

    from psycopg.sql import Composable

    from queuewarden.model import Rule, Table
    from queuewarden.queues.target import Target

CHUNK = 1000
"""Changes that one row of the ledger holds at most: a lane of a million must not become one value."""


@dataclass(frozen=True, slots=True)
class Book:
    """Who writes, and in which sweep.

    Attributes:
        actor: the daemon, or the person who called.
        epoch: of the lease; None for a person.
    """

    sweep: str
    actor: str
    epoch: int | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """What the ledger says of a batch beside the rows themselves.

    Attributes:
        part: the part that the table plays in the queue.
        relation: schema and name of the table.
        columns: the columns of the images.
        estimated: columns whose new value is a guess.
    """

    book: Book
    environment: str
    queue: str
    check: str
    rule: str
    event: str
    reason: str
    part: Table
    relation: tuple[str, str]
    key_columns: tuple[str, ...]
    columns: tuple[str, ...]
    estimated: tuple[str, ...] = ()


def entry_of(target: Target, check: str, rule: Rule, book: Book | None) -> Entry | None:
    """What the ledger says of a batch of a rule; None where there is no ledger, or nothing is written."""
    if book is None or rule.write is None:
        return None
    relation = shape(target, rule.table)
    return Entry(
        book,
        target.environment,
        target.queue,
        check,
        rule.code,
        rule.event,
        rule.reason,
        rule.table,
        (relation.schema, relation.name),
        key_columns(target, rule.table),
        image_columns(target, rule.table, tuple(rule.write.values)),
        tuple(sorted(rule.write.estimated)),
    )


@dataclass(frozen=True, slots=True)
class Booking:
    """What a statement about a lane adds for the ledger.

    Attributes:
        ctes: further CTEs behind ``done``.
        told: two values that they tell.
    """

    ctes: Composable
    told: Composable


NO_BOOKING = Booking(sql.SQL(""), sql.SQL("NULL, NULL"))
"""Where there is no ledger."""


def booking(entry: Entry | None, *, undoes: bool = False) -> Booking:
    """Record what ``done`` wrote; tells the first and the last id."""
    if entry is None:
        return NO_BOOKING
    ids = sql.SQL("(SELECT base + 1 FROM numbered), (SELECT last FROM numbered)")
    return Booking(booked(entry, undoes=undoes), ids)


def correction(entry: Entry, first: int, last: int) -> Booking:
    """Put what ``done`` made of rows that were booked by an earlier statement of this transaction.

    Tells how many changes of the ledger were found again; the caller sees that it is all of them.
    """
    return Booking(
        sql.SQL(
            ",\ncorrected AS (UPDATE queuewarden.changes AS c SET after = f.after\n"
            "  FROM (SELECT k.first_id, array_agg(d.after ORDER BY k.nr) AS after, count(*) AS n\n"
            "          FROM (SELECT c.first_id, (u.o - 1) / {width} AS nr,"
            " array_agg(u.part ORDER BY u.o) AS key\n"
            "                  FROM queuewarden.changes AS c, unnest(c.keys) WITH ORDINALITY AS u(part, o)\n"
            "                 WHERE c.first_id BETWEEN {first} AND {last} GROUP BY 1, 2) AS k\n"
            "          JOIN done AS d ON d.key = k.key GROUP BY k.first_id) AS f\n"
            " WHERE c.first_id = f.first_id AND c.last_id - c.first_id + 1 = f.n RETURNING f.n)"
        ).format(
            width=Value("key_width", len(entry.key_columns), INTEGER),
            first=Value("booked_first", first, INTEGER),
            last=Value("booked_last", last, INTEGER),
        ),
        sql.SQL("(SELECT sum(n)::int8 FROM corrected), NULL"),
    )


def booked(entry: Entry, *, undoes: bool = False) -> Composable:
    """Further CTEs, which record what CTE ``done`` wrote: its columns ``key``, ``before`` and ``after``.

    CTE ``numbered`` has the ids: ``base`` is the last one given before. The counter's row is locked until the
    end of the transaction, so that ids follow each other as the changes do.

    Args:
        entry: what else to record.
        undoes: ``done`` has a column ``undoes``, too: the id of the change that each row takes back.
    """
    schema, table = entry.relation
    values: dict[str, Composable] = {
        "environment": Value("book_environment", entry.environment, TEXT),
        "queue": Value("book_queue", entry.queue, TEXT),
        "check_name": Value("book_check", entry.check, TEXT),
        "rule": Value("book_rule", entry.rule, TEXT),
        "event": Value("book_event", entry.event, TEXT),
        "reason": Value("book_reason", entry.reason, TEXT),
        "sweep": Value("book_sweep", entry.book.sweep, TEXT),
        "actor": Value("book_actor", entry.book.actor, TEXT),
        "epoch": Value("book_epoch", entry.book.epoch, INTEGER),
        "part": Value("book_part", entry.part, TEXT),
        "table_schema": Value("book_schema", schema, TEXT),
        "table_name": Value("book_table", table, TEXT),
        "key_columns": Value("book_key", list(entry.key_columns), TEXTS),
        "columns": Value("book_columns", list(entry.columns), TEXTS),
        "estimated": Value("book_estimated", list(entry.estimated), TEXTS),
        "keys": sql.SQL("array_agg(d.key)"),
        "before": sql.SQL("array_agg(d.before)"),
        "after": sql.SQL("array_agg(d.after)"),
    }
    if undoes:
        values["undoes"] = sql.SQL("array_agg(d.undoes)")
    return sql.SQL(
        ",\nnumbered AS (UPDATE queuewarden.counter AS c SET last_id = c.last_id + n.n\n"
        "  FROM (SELECT count(*) AS n FROM done) AS n WHERE n.n > 0\n"
        "  RETURNING c.last_id - n.n AS base, c.last_id AS last),\n"
        "booked AS (INSERT INTO queuewarden.changes (first_id, last_id, {names})\n"
        "SELECT u.base + min(d.nr), u.base + max(d.nr), {values}\n"
        "  FROM numbered AS u CROSS JOIN (SELECT row_number() OVER () AS nr, d.* FROM done AS d) AS d\n"
        " GROUP BY u.base, (d.nr - 1) / {chunk})"
    ).format(
        names=_names(values),
        values=sql.SQL(", ").join(values.values()),
        chunk=Value("book_chunk", CHUNK, INTEGER),
    )


def _names(values: Collection[str]) -> Composable:
    return sql.SQL(", ").join(map(sql.Identifier, values))
