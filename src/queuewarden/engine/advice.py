"""Advice: the indexes by which a sweep stays cheap, however long the history. Never creates one itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from queuewarden.adapters.db.session import Query
from queuewarden.queues.conditions import Compared, Has, Locked, Null, condition
from queuewarden.queues.sqltext import commas
from queuewarden.queues.terms import OPERATORS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from psycopg.sql import Composable

    from queuewarden.adapters.db.session import Session
    from queuewarden.queues.conditions import Condition
    from queuewarden.queues.mapping import OrderTerm
    from queuewarden.queues.target import Target


@dataclass(frozen=True, slots=True)
class Index:
    """A partial index of the jobs table.

    Attributes:
        table: schema and name of the table.
        key: its columns in order, each as it stands in CREATE INDEX.
        ties: how many columns at the end only break ties.
        predicate: which rows it holds.
        include: a column that lets the index alone answer.
        ordered: whether its order is of use, or only its predicate.
        purpose: what gets slow without it.
    """

    table: tuple[str, str]
    key: tuple[Composable, ...]
    predicate: Composable
    purpose: str
    ties: int = 0
    include: str | None = None
    ordered: bool = True

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
            wanted, sql.Identifier(*self.table), self.predicate, order
        )
        return Query(text.as_bytes(None).replace(b"%", b"%%"), {})


def recommended_indexes(target: Target) -> tuple[Index, ...]:
    """The indexes that the checks and counts of one queue go by."""
    return tuple(_Advisor(target).all())


@dataclass(frozen=True, slots=True)
class Inspection:
    """What a look at the indexes found.

    Attributes:
        missing: recommended indexes that no existing index stands in for.
        unseen: those of which the planner would not tell.
    """

    missing: tuple[Index, ...]
    unseen: tuple[Index, ...]


async def inspected(session: Session, target: Target) -> Inspection:
    """Hold the recommended indexes against the existing ones, by the planner's own word.

    Raises:
        psycopg.Error: the connection was lost.
    """
    missing, unseen = [], []
    for index in recommended_indexes(target):
        # One by one: after an error the session repeats each query without what was set before it.
        _, answer = await session.read([_PLANNER, index.question()])
        told = None if isinstance(answer, psycopg.Error) else answer[0][0][0]
        if told is None or told.get("Settings", {}).get("enable_seqscan") != "off":
            unseen.append(index)
        elif not _serves(index, told["Plan"]):
            missing.append(index)
    return Inspection(tuple(missing), tuple(unseen))


async def statements(session: Session, target: Target, index: Index) -> tuple[str, ...]:
    """What to run for an index. A partitioned table takes it partition by partition; it then adopts them.

    Raises:
        psycopg.Error: the catalog could not be read.
    """
    rows = await session.rows(Query(_LEAVES, {"oids": list(target.jobs.leaves)}))
    if all((schema, name) == index.table for schema, name in rows):
        return (index.statement,)
    each = (index.on(schema, name) for schema, name in rows)
    return (*each, index.on(*index.table, concurrently=False))


_LEAVES = b"""
SELECT n.nspname, c.relname
  FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.oid = ANY(CAST(%(oids)s AS oid[])) ORDER BY 1, 2"""

# With these a small table shows the plan that a large one would have.
_PLANNER = Query(
    b"SELECT set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true),"
    b" set_config('enable_sort', 'off', true), set_config('max_parallel_workers_per_gather', '0', true)",
    {},
)
_CONTAINERS = frozenset({"Append", "Merge Append", "Result"})
_SCANS = frozenset({"Index Scan", "Index Only Scan"})


def _serves(index: Index, plan: dict[str, Any]) -> bool:
    """Whether a plan reads the index's rows, only them, and in its order."""
    kind = plan["Node Type"]
    inner = plan.get("Plans", [])
    if kind == "Incremental Sort" and len(plan["Presorted Key"]) < len(index.key) - index.ties:
        return False
    if kind in _CONTAINERS or kind == "Incremental Sort":
        return all(_serves(index, each) for each in inner)
    wanted = {"Index Only Scan"} if index.include else _SCANS
    return kind in wanted and "Filter" not in plan


@dataclass(frozen=True, slots=True)
class _Advisor:
    target: Target

    def all(self) -> Iterator[Index]:
        """Every index, none of them twice."""
        jobs, states = self.target.mapping.jobs, self.target.mapping.states
        running, waiting = self._in(states.running), self._in(states.waiting)
        if jobs.status is None and any(isinstance(condition(text), Locked) for text in states.every):
            return  # no index holds locks
        yield self._index([jobs.started_at], running, "finding stuck jobs")
        if jobs.worker is not None:
            yield self._index([jobs.worker], running, "finding what a dead worker held")
        yield self._index([jobs.enqueued_at], waiting, "counting waiting jobs, finding orphans")
        yield from self._positions(waiting)
        if states.failed:
            column = jobs.failure
            yield self._index([column], self._in(states.failed), "counting failures", tied=column is None)
        if states.done and jobs.finished_at is not None:
            yield self._index(
                [jobs.finished_at], self._in(states.done), "telling run times and stalls", tied=False
            )
        yield from self._unstamped()

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
