"""Advice: the indexes by which a sweep stays cheap, however long the history."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from psycopg import sql

from queuewarden.adapters.db.session import Query
from queuewarden.queues.conditions import Compared, Has, Locked, Null, condition
from queuewarden.queues.presets import library_of
from queuewarden.queues.sqltext import commas
from queuewarden.queues.terms import OPERATORS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from psycopg.sql import Composable

    from queuewarden.queues.conditions import Condition
    from queuewarden.queues.mapping import OrderTerm
    from queuewarden.queues.target import Target


@dataclass(frozen=True, slots=True)
class Index:
    """A partial index of the jobs table, or of the one that notes starts.

    Attributes:
        table: schema and name of the table.
        key: its columns in order, each as it stands in CREATE INDEX.
        ties: how many columns at the end only break ties.
        predicate: which rows it holds.
        include: a column that lets the index alone answer.
        ordered: whether its order is of use, or only its predicate.
        purpose: what gets slow without it.
        asked: which rows another index must at least tell apart to stand in; None: the predicate's.
    """

    table: tuple[str, str]
    key: tuple[Composable, ...]
    predicate: Composable
    purpose: str
    ties: int = 0
    include: str | None = None
    ordered: bool = True
    asked: Composable | None = None

    @property
    def statement(self) -> str:
        """How to create it without stopping writers."""
        return self.on(*self.table)

    def on(self, schema: str, name: str, *, concurrently: bool = True) -> str:
        """How to create it on a table, such as a partition of its own."""
        include = (
            sql.SQL(" INCLUDE ({})").format(sql.Identifier(self.include)) if self.include else sql.SQL("")
        )
        return (
            sql.SQL("CREATE INDEX {}ON {} ({}){} WHERE {};")
            .format(
                sql.SQL("CONCURRENTLY " if concurrently else ""),
                sql.Identifier(schema, name),
                commas(self.key),
                include,
                self.predicate,
            )
            .as_string(None)
        )

    def question(self) -> Query:
        """An EXPLAIN whose plan tells whether some index already serves."""
        wanted = sql.Identifier(self.include) if self.include else sql.SQL("1")
        order = sql.SQL(" ORDER BY {}").format(commas(self.key)) if self.ordered else sql.SQL("")
        text = sql.SQL("EXPLAIN (FORMAT JSON, SETTINGS) SELECT {} FROM {} WHERE {}{}").format(
            wanted, sql.Identifier(*self.table), self.asked or self.predicate, order
        )
        return Query(text.as_bytes(None).replace(b"%", b"%%"), {})


def recommended_indexes(target: Target) -> tuple[Index, ...]:
    """The indexes that the checks and counts of one queue go by."""
    return tuple(_Advisor(target).all())


@dataclass(frozen=True, slots=True)
class _Advisor:
    """Which indexes a queue needs.

    Those of a library's tables are not ours to judge by their order: jobs that wait or run are few, and one
    that tells them from the others, which the library has for its own workers, will do.
    """

    target: Target

    def all(self) -> Iterator[Index]:
        """Every index, none of them twice."""
        mapping = self.target.mapping
        jobs, states = mapping.jobs, mapping.states
        if jobs.status is None and any(isinstance(condition(text), Locked) for text in states.every):
            return  # no index holds locks
        running, waiting = self._in(states.running), self._in(states.waiting)
        loose = library_of(mapping.preset) is not None
        if not self._all_run():
            found = self._index([jobs.started_at], running, "finding stuck jobs")
            yield replace(found, ordered=not loose, asked=self._claimed())
            if jobs.worker is not None and mapping.workers is not None:
                found = self._index([jobs.worker], running, "finding what a dead worker held")
                yield replace(found, asked=self._claimed() or _told(running, jobs.worker))
        found = self._index([jobs.enqueued_at], waiting, "counting waiting jobs, finding orphans")
        yield replace(found, ordered=not loose)
        yield from self._starts()
        yield from self._positions(waiting)
        if states.failed:
            column = jobs.failure
            failed = self._in(states.failed)
            found = self._index([column], failed, "counting failures", tied=column is None)
            yield replace(found, asked=_told(failed, column) if loose and column is not None else None)
        if states.done and jobs.finished_at is not None:
            done = self._in(states.done)
            found = self._index([jobs.finished_at], done, "telling run times and stalls", tied=False)
            yield replace(found, asked=_told(done, jobs.finished_at) if loose else None)
        yield from self._unstamped()

    def _all_run(self) -> bool:
        """The table has nothing but running jobs, so that there are no others to tell them from."""
        if self.target.mapping.jobs.status is not None:
            return False
        columns = self.target.jobs.columns
        each = [condition(text) for text in self.target.mapping.states.running]
        return all(isinstance(one, Null) and not one.wanted and columns[one.column].not_null for one in each)

    def _claimed(self) -> Composable | None:
        """Rows of a library's table that a worker holds, whatever else holds of them; None: nothing tells."""
        jobs = self.target.mapping.jobs
        if jobs.status is not None or jobs.worker is None or library_of(self.target.mapping.preset) is None:
            return None
        held = Null(jobs.worker, wanted=False)
        there = held in map(condition, self.target.mapping.states.running)
        return _condition(held) if there else None

    def _starts(self) -> Iterator[Index]:
        """Each job's notes are looked up by its key."""
        mapped, shape = self.target.mapping.starts, self.target.starts
        if mapped is not None and shape is not None:
            job = sql.Identifier(mapped.job)
            there = sql.SQL("{} IS NOT NULL").format(job)
            yield Index((shape.schema, shape.name), (job,), there, "finding when a job started")

    def _positions(self, waiting: Composable) -> Iterator[Index]:
        positions = self.target.mapping.positions
        if positions is None or positions.column is None:
            return
        terms: dict[str, Composable] = {name: sql.Identifier(name) for name in positions.lane}
        for term in positions.order_by:
            terms.setdefault(term.column, _term(term))
        key = self._key(terms)
        yield Index(
            self._table,
            tuple(key.values()),
            waiting,
            "checking positions",
            ties=len(key) - len(terms),
            include=positions.column if positions.column not in key else None,
        )

    def _unstamped(self) -> Iterator[Index]:
        """Rows without their time; those at the NULL end of an index above need none of their own."""
        jobs, states = self.target.mapping.jobs, self.target.mapping.states
        served = {(state, jobs.started_at) for state in states.running}
        served |= {(state, jobs.finished_at) for state in states.done}
        served |= {(state, jobs.failure) for state in states.failed}
        for state, column in self.target.mapping.timestamps:
            if (state, column) not in served:
                missing = sql.SQL("{} AND {} IS NULL").format(self._in((state,)), sql.Identifier(column))
                yield Index(
                    self._table,
                    tuple(self._key({}).values()),
                    missing,
                    f"finding {state} without {column}",
                    ordered=False,
                )

    def _index(
        self, columns: Iterable[str | None], predicate: Composable, purpose: str, *, tied: bool = True
    ) -> Index:
        first: dict[str, Composable] = {name: sql.Identifier(name) for name in columns if name is not None}
        key = self._key(first) if tied else first
        return Index(self._table, tuple(key.values()), predicate, purpose, ties=len(key) - len(first))

    def _key(self, first: dict[str, Composable]) -> dict[str, Composable]:
        """Some columns and, behind them, the primary key's."""
        return first | {
            name: sql.Identifier(name) for name in self.target.mapping.jobs.id if name not in first
        }

    def _in(self, values: Sequence[str]) -> Composable:
        status = self.target.mapping.jobs.status
        if status is None:
            return sql.SQL(" AND ").join(_condition(condition(text)) for text in values)
        column = sql.Identifier(status)
        number = self.target.jobs.columns[status].family == "number"
        literals = [_literal(value, number=number) for value in values]
        if len(literals) == 1:
            return sql.SQL("{} = {}").format(column, literals[0])
        return sql.SQL("{} IN ({})").format(column, commas(literals))

    @property
    def _table(self) -> tuple[str, str]:
        return self.target.jobs.schema, self.target.jobs.name


def _literal(value: str, *, number: bool) -> Composable:
    """A status as it stands in DDL: the server gives a quoted literal the column's own type."""
    return sql.Literal(int(value) if number and value.lstrip("-").isdecimal() else value)


def _told(predicate: Composable, column: str) -> Composable:
    """Those rows that are looked for by a column, which then is not NULL."""
    return sql.SQL("{} AND {} IS NOT NULL").format(predicate, sql.Identifier(column))


def _condition(one: Condition) -> Composable:
    """A condition on columns as it stands in DDL."""
    match one:
        case Null(column, wanted):
            return sql.SQL("{} IS NULL" if wanted else "{} IS NOT NULL").format(sql.Identifier(column))
        case Compared(column, operator, value, other):
            theirs = sql.Identifier(other) if other is not None else sql.Literal(value)
            return sql.SQL(OPERATORS[operator]).format(sql.Identifier(column), theirs)
        case Has(column, key):
            return sql.SQL("{} ? {}").format(sql.Identifier(column), sql.Literal(key))
        case Locked():
            raise ValueError("no index holds locks")


def _term(term: OrderTerm) -> Composable:
    direction = sql.SQL(" DESC" if term.descending else "")
    nulls = {"first": sql.SQL(" NULLS FIRST"), "last": sql.SQL(" NULLS LAST"), None: sql.SQL("")}[term.nulls]
    return sql.Identifier(term.column) + direction + nulls
