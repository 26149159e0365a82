"""Undo: rows go back to what they were before a change, where they still are what it made of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import psycopg

from queuewarden.adapters.db.session import Query
from queuewarden.engine import replay
from queuewarden.engine.catalog import read_relation
from queuewarden.engine.ledger.book import Entry
from queuewarden.engine.ledger.entries import batches
from queuewarden.engine.pile import Pile, Step
from queuewarden.engine.replay import LeftParkedError
from queuewarden.engine.violations import TRANSIENT, violates
from queuewarden.queues.mapping import TableName

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from queuewarden.adapters.db.session import Session
    from queuewarden.engine.ledger.book import Book
    from queuewarden.engine.ledger.entries import Batch, Wanted
    from queuewarden.model import Change, Image, Key
    from queuewarden.queues.target import Shape

EVENT = "changes.undone"

LOCKED = "somebody holds it locked: try again"
FOUGHT = "a trigger of its table changes it again"


@dataclass(frozen=True, slots=True)
class Made:
    """A row that this undo has put back already.

    Attributes:
        put: what it was put back to.
        now: what it is since: triggers may have had their say, and a dry run writes nothing.
    """

    put: Image
    now: Image


Rows = dict[tuple[tuple[str, str], "Key"], Made]


@dataclass(frozen=True, slots=True)
class Undone:
    """What came of one change.

    Attributes:
        refused: why the row was left as it is; None where it was put back (or would be, in a dry run).
    """

    change: Change
    refused: str | None = None


async def undo(session: Session, wanted: Wanted, book: Book, *, dry: bool) -> AsyncIterator[Undone]:
    """Take changes back, the newest first; each row of the ledger in a transaction of its own.

    Args:
        session: the connection.
        wanted: which changes.
        book: who does it.
        dry: only tell what would be done.

    Raises:
        BusyError: another guard is repairing this database.
        psycopg.Error: the connection was lost.
    """
    shapes: dict[tuple[str, str], Shape | None] = {}
    made: Rows = {}
    async for batch in batches(session, wanted):
        standing = [one for one in batch.changes if not one.undone_by]
        for one in batch.changes:
            if one.undone_by:
                yield Undone(one, f"already undone by {one.undone_by}")
        if not standing:
            continue
        name = standing[0].relation
        if name not in shapes:
            found = await read_relation(session, TableName(name[1], name[0]))
            shapes[name] = found.shape if found is not None else None
        one_row = replace(batch, changes=tuple(standing))
        for undone in await _batch(session, shapes[name], one_row, book, made, dry=dry):
            yield undone


async def _batch(
    session: Session, shape: Shape | None, batch: Batch, book: Book, made: Rows, *, dry: bool
) -> list[Undone]:
    """What came of one row of the ledger."""
    gone = _gone(shape, batch)
    if shape is None or gone is not None:
        return [Undone(one, gone) for one in batch.changes]
    broken = {one.id: _broken(one, made) for one in batch.changes}
    told = [Undone(one, replay.changed(broken[one.id])) for one in batch.changes if broken[one.id]]
    whole = [one for one in batch.changes if not broken[one.id]]
    if whole:
        pile = _pile(shape, batch, whole, book, made)
        told += await (_would_take_back if dry else _take_back)(session, pile, whole, made)
    return told


def _broken(one: Change, made: Rows) -> list[str]:
    """Where a later change of the row was taken back just now: the columns in which it did not follow."""
    known = made.get((one.relation, one.finding.key))
    if known is None:
        return []
    after = one.finding.after or {}
    return [name for name, text in after.items() if known.put.get(name, text) != text]


def _gone(shape: Shape | None, batch: Batch) -> str | None:
    if shape is None:
        return f"there is no table {'.'.join(batch.changes[0].relation)} any more"
    lost = [name for name in batch.columns if name not in shape.columns]
    return f"{shape} has no column {lost[0]} any more" if lost else None


def _pile(shape: Shape, batch: Batch, changes: Sequence[Change], book: Book, made: Rows) -> Pile:
    first = changes[0]
    entry = Entry(
        book,
        first.finding.environment,
        first.finding.queue,
        first.finding.check,
        first.finding.code,
        EVENT,
        "undo",
        first.finding.table,
        first.relation,
        first.key_columns,
        batch.columns,
    )
    steps = [
        Step(
            _key(one, made),
            tuple(_expected(one, made).get(name) for name in batch.columns),
            tuple(one.finding.before.get(name) for name in batch.columns),
            one.id,
        )
        for one in changes
    ]
    return Pile(shape, entry, steps, alone=True)


def _expected(one: Change, made: Rows) -> Image:
    """What the row must be now: what the change made of it, or what came of taking later ones back."""
    after = one.finding.after or {}
    known = made.get((one.relation, one.finding.key))
    return after if known is None else {**after, **known.now}


def _key(one: Change, made: Rows) -> Key:
    """The key that the row has now: where tables are divided by status, the change has moved it."""
    now = _expected(one, made)
    parts = zip(one.key_columns, one.finding.key, strict=True)
    return tuple(now.get(name) or part for name, part in parts)


def _note(one: Change, now: Image, made: Rows) -> None:
    row = (one.relation, one.finding.key)
    known = made.get(row, Made({}, {}))
    made[row] = Made({**known.put, **one.finding.before}, {**known.now, **now})


async def _would_take_back(
    session: Session, pile: Pile, changes: Sequence[Change], made: Rows
) -> list[Undone]:
    """What an undo would do, constraints and locks of others apart."""
    refused = await replay.reasons(session, pile, None)
    for at, one in enumerate(changes):
        if at not in refused:
            _note(one, dict(zip(pile.entry.columns, pile.steps[at].expect, strict=True)), made)
    return [Undone(one, refused.get(at)) for at, one in enumerate(changes)]


async def _take_back(session: Session, pile: Pile, changes: Sequence[Change], made: Rows) -> list[Undone]:
    try:
        done = await _put(session, pile)
    except LeftParkedError:
        return [Undone(one, FOUGHT) for one in changes]
    except psycopg.Error as error:
        if error.sqlstate in TRANSIENT:
            return [Undone(one, LOCKED) for one in changes]
        if not violates(error):
            raise
        if len(changes) == 1:
            return [Undone(changes[0], f"refused by the database with SQLSTATE {error.sqlstate}")]
        middle = len(changes) // 2
        halves = (slice(None, middle), slice(middle, None))
        return [
            one
            for half in halves
            for one in await _take_back(session, replace(pile, steps=pile.steps[half]), changes[half], made)
        ]
    for at, image in done.items():
        _note(changes[at], dict(zip(pile.entry.columns, image, strict=True)), made)
    left = [at for at in range(len(changes)) if at not in done]
    refused = {}
    if left:
        rest = replace(pile, steps=[pile.steps[at] for at in left])
        told = await replay.reasons(session, rest, LOCKED)
        refused = {left[at]: why for at, why in told.items()}
    return [Undone(one, refused.get(at)) for at, one in enumerate(changes)]


async def _put(session: Session, pile: Pile) -> dict[int, Sequence[str | None]]:
    """Put rows back; where a unique index is in the way row by row, in two steps: place to image since."""
    for parked in (False, True):
        try:
            async with session.transaction(role_path=pile.shape.role_path) as transaction:
                rows = await replay.put(transaction, pile, parked=parked)
                if rows:
                    await transaction.execute(Query(replay.UNDID, {}))
                return {row[0]: row[1] for row in rows}
        except psycopg.errors.UniqueViolation:
            if parked or len(pile.steps) == 1 or not replay.parkable(pile):
                raise
    raise AssertionError  # the second round returns or raises
