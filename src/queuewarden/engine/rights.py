"""Rights: which of them the role lacks for a mapping, all at once, each with the GRANT that gives it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from psycopg import sql

from queuewarden.checks import CHECKS
from queuewarden.checks.by_hand import Wanted, reset_rules, retry_rules
from queuewarden.queues.moves import fail
from queuewarden.queues.signs import lock_columns

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from queuewarden.engine.catalog import Relation
    from queuewarden.model import Table
    from queuewarden.queues.mapping import Mapping, Workers
    from queuewarden.queues.target import Target

SYSTEM = ("xmin", "ctid")
"""Columns that tell whether a row has changed, and where it lies; the right to a whole table covers them."""

_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")


@dataclass(slots=True)
class _Need:
    relation: Relation
    read: set[str] = field(default_factory=set)
    written: set[str] = field(default_factory=set)
    locked_by: str | None = None


@dataclass(slots=True)
class Rights:
    """What a mapping needs, table by table: the same table may play several parts."""

    _needs: dict[int, _Need] = field(default_factory=dict)

    def read(self, relation: Relation, columns: Iterable[str]) -> None:
        """Some columns will be read; those that do not exist are somebody else's fault."""
        self._of(relation).read |= set(columns)

    def write(self, relation: Relation, columns: Iterable[str]) -> None:
        """Some columns will be written."""
        self._of(relation).written |= set(columns)

    def lock(self, relation: Relation, column: str) -> None:
        """Rows will be locked, for which the right to write any column will do; ask for this one."""
        self._of(relation).locked_by = column

    def visible(self, relation: Relation) -> bool:
        """All that will be read of a table can be read."""
        need = self._of(relation)
        return relation.usable_schema and not relation.filtered and not need.read & relation.unreadable

    def faults(self) -> Iterator[str]:
        """What is missing, each with its statement."""
        shut = {need.relation.shape.schema: need.relation for need in self._needs.values()}
        for schema, relation in shut.items():
            if not relation.usable_schema:
                yield f"no right to look into schema {schema}: {_grant(relation, 'USAGE')}"
        for need in self._needs.values():
            yield from _faults(need)

    def _of(self, relation: Relation) -> _Need:
        return self._needs.setdefault(relation.oid, _Need(relation))


def _faults(need: _Need) -> Iterator[str]:
    relation = need.relation
    columns = relation.shape.columns
    hidden = sorted(need.read & relation.unreadable)
    if hidden:
        yield f"no right to read {relation.shape}: {_grant(relation, f'SELECT ({listed(hidden)})')}"
    forbidden = sorted(name for name in need.written if not columns[name].writable)
    if forbidden:
        yield f"no right to repair {relation.shape}: {_grant(relation, f'UPDATE ({listed(forbidden)})')}"
    elif need.locked_by is not None and not any(column.writable for column in columns.values()):
        yield (
            f"no right to lock rows of {relation.shape}, without which a heartbeat could be missed:"
            f" {_grant(relation, f'UPDATE ({quoted(need.locked_by)})')}"
        )


def job_columns(mapping: Mapping) -> set[str]:
    """All columns of the jobs table that a mapping names, and what tells the versions of a row apart."""
    positions = mapping.positions
    alive = mapping.alive
    named = {*mapping.jobs.columns, *mapping.state_columns, *SYSTEM}
    named.update(lock_columns(alive.advisory_lock) if alive.advisory_lock is not None else ())
    named.update(one.column for one in (alive.row_lock, alive.backend) if one is not None)
    if positions is not None:
        named.update(positions.lane, (term.column for term in positions.order_by))
        named.update([positions.column] if positions.column is not None else [])
    named.update(reference.column for reference in mapping.references)
    named.update(column for _, column in mapping.timestamps)
    return named


def worker_columns(workers: Workers) -> set[str]:
    """The same for the workers table."""
    return {*workers.columns, *SYSTEM}


def written_columns(target: Target, table: Table) -> frozenset[str]:
    """Columns that the enabled checks write, and a person's `reset` and `retry`."""
    rules = [rule for name in target.limits.checks for rule in CHECKS[name].rules(target)]
    rules += [*reset_rules(target, Wanted()), *retry_rules(target, timedelta(0))]
    # A spent rescue budget fails jobs, too, though no rule says so yet.
    given_up = fail(target, "") if table == "jobs" else None
    return frozenset(given_up.values if given_up is not None else ()) | frozenset(
        column
        for rule in rules
        if rule.table == table and rule.write is not None
        for column in rule.write.values
    )


def _grant(relation: Relation, right: str) -> str:
    schema, name = quoted(relation.shape.schema), quoted(relation.shape.name)
    where = f"SCHEMA {schema}" if right == "USAGE" else f"{schema}.{name}"
    return f"GRANT {right} ON {where} TO {quoted(relation.role)}"


def listed(names: Iterable[str]) -> str:
    """Identifiers with commas between them."""
    return ", ".join(quoted(name) for name in names)


def quoted(name: str) -> str:
    """An identifier as a person would write it in a statement."""
    return name if _PLAIN.fullmatch(name) else sql.Identifier(name).as_string(None)
