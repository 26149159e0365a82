"""Reading the ledger: changes by environment, queue, job, check, sweep, id or time, the newest first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg import sql

from queuewarden.engine.render import compiled
from queuewarden.model import Change, Finding
from queuewarden.queues.keys import TEXTS
from queuewarden.queues.sqltext import INTEGER, INTERVAL, TEXT, Name, Value, commas, every

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
    from datetime import timedelta

    from psycopg.sql import Composable

    from queuewarden.adapters.db.session import Query, Row, Session

PAGE = 20
"""Rows of the ledger that are read at a time: at most 20 000 changes."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which changes: those that meet all that is given.

    Attributes:
        ids: change ids; None: any.
        job: a key of a job (or worker), as people write it: values with commas between.
        undos: whether changes that are undos themselves count.
        before: only changes of smaller ids.
    """

    environment: str | None = None
    queues: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    job: str | None = None
    sweep: str | None = None
    since: timedelta | None = None
    ids: tuple[int, ...] | None = None
    undos: bool = True
    before: int | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """One row of the ledger: changes of one kind that were made together.

    Attributes:
        columns: those of the images, whose values are in this order.
    """

    changes: tuple[Change, ...]
    columns: tuple[str, ...]


async def batches(session: Session, wanted: Wanted, page: int = PAGE) -> AsyncIterator[Batch]:
    """The changes that are wanted, a row of the ledger at a time, the newest first.

    Args:
        session: a connection.
        wanted: which changes.
        page: rows of the ledger that are read at a time.

    Raises:
        psycopg.Error: as the server reports it.
    """
    before = wanted.before
    while True:
        rows = await session.rows(_page(wanted, before, page))
        for row in rows:
            batch = _batch(row, wanted)
            if batch.changes:
                yield batch
        if len(rows) < page:
            return
        before = rows[-1][0]


_COLUMNS = (
    "first_id", "at", "environment", "queue", "check_name", "rule", "event", "reason", "sweep", "actor",
    "epoch", "part", "table_schema", "table_name", "key_columns", "columns", "keys", "before", "after",
    "undoes",
)  # fmt: skip
_UNDONE = sql.SQL(
    "ARRAY(SELECT ROW(p.o, x.first_id + p.nr - 1)::text FROM queuewarden.changes AS x,"
    " unnest(x.undoes) WITH ORDINALITY AS p(o, nr)"
    " WHERE x.undoes IS NOT NULL AND x.at >= c.at AND p.o BETWEEN c.first_id AND c.last_id"
    " AND NOT EXISTS (SELECT FROM queuewarden.changes AS y WHERE y.undoes IS NOT NULL AND y.at >= x.at"
    " AND x.first_id + p.nr - 1 = ANY(y.undoes)))"
)
"""Which of a row's changes were taken back, and by which change that was not taken back itself."""


def _page(wanted: Wanted, before: int | None, page: int) -> Query:
    return compiled(
        sql.SQL(
            "SELECT {}, {}\n  FROM queuewarden.changes AS c WHERE {} ORDER BY c.first_id DESC LIMIT {}"
        ).format(
            commas(Name("c", name) for name in _COLUMNS),
            _UNDONE,
            every(_conditions(wanted, before)),
            Value("page", page, INTEGER),
        )
    )


def _conditions(wanted: Wanted, before: int | None) -> Iterator[Composable]:
    for name, column, value in (
        ("environment", "environment", wanted.environment),
        ("sweep", "sweep", wanted.sweep),
    ):
        if value is not None:
            yield sql.SQL("{} = {}").format(Name("c", column), Value(name, value, TEXT))
    for name, column, values in (("queues", "queue", wanted.queues), ("checks", "check_name", wanted.checks)):
        if values:
            yield sql.SQL("{} = ANY({})").format(Name("c", column), Value(name, list(values), TEXTS))
    if wanted.since is not None:
        yield sql.SQL("c.at >= statement_timestamp() - {}").format(Value("since", wanted.since, INTERVAL))
    if wanted.job is not None:
        first, whole = Value("job_first", _key(wanted.job)[0], TEXT), Value("job_whole", wanted.job, TEXT)
        yield sql.SQL("({} = ANY(c.keys) OR {} = ANY(c.keys))").format(first, whole)
    if wanted.ids is not None:
        yield sql.SQL(
            "EXISTS (SELECT FROM unnest({}) AS i(id) WHERE i.id BETWEEN c.first_id AND c.last_id)"
        ).format(Value("ids", list(wanted.ids), ("pg_catalog", "_int8")))
    if not wanted.undos:
        yield sql.SQL("c.undoes IS NULL")
    if before is not None:
        yield sql.SQL("c.first_id < {}").format(Value("before", before, INTEGER))


def _batch(row: Row, wanted: Wanted) -> Batch:
    c: dict[str, Any] = dict(zip(_COLUMNS, row[:-1], strict=True))
    taken_back = dict(_pairs(row[-1]))
    changes = [
        _change(c, number, taken_back) for number in range(len(c["keys"])) if _is_wanted(c, number, wanted)
    ]
    return Batch(tuple(reversed(changes)), tuple(c["columns"]))


def _is_wanted(c: Mapping[str, Any], number: int, wanted: Wanted) -> bool:
    if wanted.ids is not None and c["first_id"] + number not in wanted.ids:
        return False
    if wanted.before is not None and c["first_id"] + number >= wanted.before:
        return False
    return wanted.job is None or tuple(c["keys"][number]) in (_key(wanted.job), (wanted.job,))


def _change(c: Mapping[str, Any], number: int, taken_back: Mapping[int, int]) -> Change:
    before, after = (
        dict(zip(c["columns"], images[number], strict=True)) for images in (c["before"], c["after"])
    )
    key = tuple(c["keys"][number])
    return Change(
        c["first_id"] + number,
        Finding(c["environment"], c["queue"], c["check_name"], c["rule"], c["part"], key, before, after),
        c["event"],
        c["reason"],
        c["sweep"],
        c["at"],
        c["actor"],
        c["epoch"],
        (c["table_schema"], c["table_name"]),
        tuple(c["key_columns"]),
        c["undoes"][number] if c["undoes"] is not None else None,
        taken_back.get(c["first_id"] + number),
    )


def _pairs(undone: Iterable[str]) -> Iterable[tuple[int, int]]:
    """From rows as text, ``(17,42)``: change 17 was taken back by 42."""
    for text in undone:
        change, by = text.strip("()").split(",")
        yield int(change), int(by)


def _key(name: str) -> tuple[str, ...]:
    return tuple(name.split(","))
