"""The SQL of ``prune``: which finished jobs are old enough, and deleting a batch of them.

A batch is two statements in one transaction: the first locks its rows, so that no further row can come to
refer to them; the second looks, by what is committed then, whether one does, and deletes the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

from psycopg import sql

from queuewarden.adapters.db.session import Query
from queuewarden.engine.ledger.alone import VERSION_OF_OURS
from queuewarden.engine.render import compiled
from queuewarden.engine.upkeep.config import Prunable
from queuewarden.engine.upkeep.referrers import referred
from queuewarden.queues.keys import TEXTS, key_columns, key_listed, key_names
from queuewarden.queues.sqltext import INTEGER, TEXT, Name, Value, cast, commas, every, negate, some
from queuewarden.queues.terms import older, relation, role_path, running, status_is, waiting
from queuewarden.queues.times import finite

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from psycopg.sql import Composable

    from queuewarden.engine.upkeep.config import Upkeep
    from queuewarden.engine.upkeep.referrers import Referrer
    from queuewarden.model import Key
    from queuewarden.queues.target import Target

_RIGHTS = b"""
SELECT has_table_privilege(c.oid, 'DELETE') AND has_column_privilege(c.oid, 'xmax', 'SELECT'),
       (SELECT s.reset_val FROM pg_catalog.pg_settings AS s
         WHERE s.name = 'search_path' AND EXISTS (
               SELECT FROM pg_catalog.pg_trigger AS t
                WHERE NOT t.tgisinternal AND t.tgenabled <> 'D' AND t.tgtype & 8 <> 0
                  AND (t.tgrelid = c.oid OR t.tgrelid = ANY(CAST(%(leaves)s AS oid[]))))),
       EXISTS (SELECT FROM pg_catalog.pg_rewrite AS r WHERE r.ev_class = c.oid AND r.ev_type = '4')
  FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE n.nspname = %(schema)s AND c.relname = %(name)s AND c.relkind IN ('r', 'p')"""
"""Bit 8 of a trigger's type is DELETE, event 4 of a rule too. Who has a row locked is told by its xmax."""


_OIDS = ("pg_catalog", "_oid")


@dataclass(frozen=True, slots=True)
class Pruning:
    """What is deleted of a queue.

    Attributes:
        target: the queue, its jobs table with the search_path that triggers of a DELETE need.
        ripe: a job may be deleted, but for what refers to it.
        referrers: see `referrers`.
        keys: oids of the foreign keys that point at the jobs, as these were read.
    """

    target: Target
    ripe: Composable
    referrers: tuple[Referrer, ...]
    keys: tuple[int, ...] = ()


def rights_of(target: Target) -> Query:
    """One row: whether this role may delete jobs, the search_path for triggers, whether a rule interferes.

    None where the jobs are no table.
    """
    jobs = target.jobs
    return Query(_RIGHTS, {"leaves": list(jobs.leaves), "schema": jobs.schema, "name": jobs.name})


def pointing(target: Target) -> Composable:
    """The oids of the foreign keys that point at the jobs, or at a part of them, in order."""
    jobs = target.jobs
    return sql.SQL(
        "ARRAY(SELECT k.oid FROM pg_catalog.pg_constraint AS k"
        " WHERE k.contype = 'f' AND (k.confrelid = ANY({}) OR k.confrelid ="
        " (SELECT p.oid FROM pg_catalog.pg_class AS p"
        " JOIN pg_catalog.pg_namespace AS m ON m.oid = p.relnamespace"
        " WHERE m.nspname = {} AND p.relname = {})) ORDER BY k.oid)"
    ).format(
        Value("jobs_leaves", list(jobs.leaves), _OIDS),
        Value("jobs_schema", jobs.schema, TEXT),
        Value("jobs_name", jobs.name, TEXT),
    )


def keys_of(target: Target) -> Query:
    """One row: what `pointing` says now."""
    return compiled(sql.SQL("SELECT {}").format(pointing(target)))


def ended_at(target: Target, state: Prunable) -> str | None:
    """The column that tells when a job came into a state."""
    jobs = target.mapping.jobs
    return jobs.failure if state == "failed" else jobs.finished_at or jobs.updated_at


def sharing(target: Target, targets: Iterable[Target]) -> list[Target]:
    """Other queues whose jobs are rows of the same table, or of a part of it."""
    return [
        one
        for one in targets
        if one.queue != target.queue
        and (set(one.jobs.leaves) & set(target.jobs.leaves) or one.jobs == target.jobs)
    ]


def ripe(target: Target, upkeep: Upkeep, others: Iterable[Target] = ()) -> Composable:
    """A job is in one of the named states, has been for long enough, and is in no state that is to be kept.

    Nor does it wait or run for a queue that shares the table.
    """
    states, kept = [], [negate(running(target)), negate(waiting(target))]
    for word in get_args(Prunable):
        values, column = getattr(target.mapping.states, word), ended_at(target, word)
        if not values:
            continue
        held = status_is(target, word, values)
        if word not in upkeep.prune_states:
            kept.append(negate(held))
        elif column is not None:
            old = older(target, column, upkeep.prune_after, name="prune_after")
            states.append(every([held, old, _noted(target, column)]))
    for number, other in enumerate(others, start=1):
        for word in ("waiting", "running"):
            values = getattr(other.mapping.states, word)
            kept.append(negate(status_is(other, f"{word}_there_{number}", values)))
    return every([some(states), *kept])


def _noted(target: Target, column: str) -> Composable:
    """A time is one: neither an infinity nor the 0 that stands for none where times are numbers."""
    if target.jobs.columns[column].family == "number":
        return sql.SQL("{} > 0").format(Name("j", column))
    return finite(target.jobs, "j", column)


def listing(pruning: Pruning, after: Key, limit: int) -> Query:
    """Ripe jobs behind a key, in the key's order: the key, and whether some row refers to the job."""
    target = pruning.target
    names = key_names(target, "jobs")
    parts = [pruning.ripe]
    if after:
        types = [target.jobs.columns[column].type for column in key_columns(target, "jobs")]
        place = commas(
            cast(Value(f"after_{number}", text, TEXT), type_)
            for number, (text, type_) in enumerate(zip(after, types, strict=True))
        )
        parts.append(sql.SQL("({}) > ({})").format(commas(names), place))
    return compiled(
        sql.SQL("SELECT {}, {}\n  FROM {} AS j\n WHERE {}\n ORDER BY {} LIMIT {}").format(
            _text(names),
            referred(target, pruning.referrers),
            relation(target.jobs),
            every(parts),
            commas(names),
            Value("limit", limit, INTEGER),
        )
    )


def deletion(pruning: Pruning, keys: Sequence[Key]) -> list[Query]:
    """Lock those of some jobs that still are ripe and nobody has locked; delete those nothing refers to.

    The second tells how many these were, and how many are gone: a trigger may keep one without an error; and
    whether the foreign keys are still those that are known: if not, nothing is deleted. Its lock on the table
    keeps another one away from then on.
    """
    target = pruning.target
    names = key_names(target, "jobs")
    chosen = every([key_listed(target, "jobs", keys), pruning.ripe])
    lock = sql.SQL("SELECT 1\n  FROM {} AS j\n WHERE {}\n ORDER BY {} FOR UPDATE OF j SKIP LOCKED").format(
        relation(target.jobs), chosen, commas(names)
    )
    locked = sql.SQL("{} = {}").format(cast(Name("j", "xmax"), TEXT), VERSION_OF_OURS)
    numbered = [sql.SQL("{} AS {}").format(name, Name(f"k{number}")) for number, name in enumerate(names)]
    known = sql.SQL("({} = {})").format(pointing(target), Value("keys", list(pruning.keys), _OIDS))
    delete = sql.SQL(
        "WITH hit AS MATERIALIZED (\nSELECT {held}\n  FROM {table} AS j\n WHERE {chosen}),\n"
        "gone AS (DELETE FROM {table} AS j USING hit AS h\n WHERE {same}\nRETURNING 1)\n"
        "SELECT (SELECT count(*) FROM hit), (SELECT count(*) FROM gone), {known}"
    ).format(
        held=commas([*numbered, *role_path(target.jobs)]),
        table=relation(target.jobs),
        known=known,
        chosen=every([known, chosen, locked, negate(referred(target, pruning.referrers))]),
        same=every(
            sql.SQL("{} = {}").format(name, Name("h", f"k{number}")) for number, name in enumerate(names)
        ),
    )
    return [compiled(lock), compiled(delete)]


def _text(names: Sequence[Composable]) -> Composable:
    return cast(sql.SQL("ARRAY[{}]").format(commas(cast(name, TEXT) for name in names)), TEXTS)
