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
from queuewarden.engine.replay import Pile, Step
from queuewarden.engine.runner import violates
from queuewarden.queues.mapping import TableName

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from queuewarden.adapters.db.session import Session
    from queuewarden.engine.ledger.book import Book
    from queuewarden.engine.ledger.entries import Batch, Wanted
    from queuewarden.model import Change, Image, Key
    from queuewarden.queues.target import Shape

EVENT = "changes.undone"

Imagined = dict[tuple[tuple[str, str], "Key"], "Image"]
"""Rows as they would be after what a dry run has told so far."""


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
    imagined: Imagined | None = {} if dry else None
    async for batch in batches(session, wanted):
        for one in batch.changes:
            if one.undone_by:
                yield Undone(one, f"already undone by {one.undone_by}")
        changes = [one for one in batch.changes if not one.undone_by]
        if not changes:
            continue
        name = changes[0].relation
        if name not in shapes:
            found = await read_relation(session, TableName(name[1], name[0]))
            shapes[name] = found.shape if found is not None else None
        shape = shapes[name]
        gone = _gone(shape, batch)
        if shape is None or gone is not None:
            for one in changes:
                yield Undone(one, gone)
            continue
        pile = _pile(shape, batch, changes, book)
        if imagined is None:
            told = await _take_back(session, pile, changes)
        else:
            told = await _would_take_back(session, pile, changes, imagined)
        for undone in told:
            yield undone


def _gone(shape: Shape | None, batch: Batch) -> str | None:
    if shape is None:
        return f"there is no table {'.'.join(batch.changes[0].relation)} any more"
    lost = [name for name in batch.columns if name not in shape.columns]
    return f"{shape} has no column {lost[0]} any more" if lost else None


def _pile(shape: Shape, batch: Batch, changes: Sequence[Change], book: Book) -> Pile:
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
            one.finding.key,
            tuple((one.finding.after or {}).get(name) for name in batch.columns),
            tuple(one.finding.before.get(name) for name in batch.columns),
            one.id,
        )
        for one in changes
    ]
    return Pile(shape, entry, steps, alone=True)


async def _would_take_back(
    session: Session, pile: Pile, changes: Sequence[Change], imagined: Imagined
) -> list[Undone]:
    """What an undo would do; a row that a later change has is then as that one found it."""
    refused = await replay.reasons(session, pile, None)
    told = []
    for at, one in enumerate(changes):
        row = (one.relation, one.finding.key)
        image = imagined.get(row)
        if image is not None:
            after = one.finding.after or {}
            differing = [name for name, text in after.items() if image.get(name, text) != text]
            refused.pop(at, None)
            if differing:
                refused[at] = replay.changed(differing)
        if at not in refused:
            imagined[row] = {**(image or {}), **one.finding.before}
        told.append(Undone(one, refused.get(at)))
    return told


async def _take_back(session: Session, pile: Pile, changes: Sequence[Change]) -> list[Undone]:
    try:
        done = await _put(session, pile)
    except psycopg.Error as error:
        if not violates(error):
            raise
        if len(changes) == 1:
            return [Undone(changes[0], f"refused by the database with SQLSTATE {error.sqlstate}")]
        middle = len(changes) // 2
        halves = (slice(None, middle), slice(middle, None))
        return [
            one
            for half in halves
            for one in await _take_back(session, replace(pile, steps=pile.steps[half]), changes[half])
        ]
    left = [at for at in range(len(changes)) if at not in done]
    refused = {}
    if left:
        rest = replace(pile, steps=[pile.steps[at] for at in left])
        told = await replay.reasons(session, rest, "somebody holds it locked: try again")
        refused = {left[at]: why for at, why in told.items()}
    return [Undone(one, refused.get(at)) for at, one in enumerate(changes)]


async def _put(session: Session, pile: Pile) -> set[int]:
    """Put rows back; where a unique index is in the way row by row, in two steps."""
    for parked in (False, True):
        try:
            async with session.transaction(role_path=pile.shape.role_path) as transaction:
                rows = await replay.put(transaction, pile, parked=parked)
                if rows:
                    await transaction.execute(Query(replay.UNDID, {}))
                return {row[0] for row in rows}
        except psycopg.errors.UniqueViolation:
            if parked or not replay.parkable(pile):
                raise
    raise AssertionError  # the second round returns or raises
