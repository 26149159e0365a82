"""Recalling: what the ledger tells of a queue's last day, in one query a sweep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import sql

from queuewarden.checks.by_hand import NAME as BY_HAND
from queuewarden.engine.ledger.alone import of_table
from queuewarden.engine.render import compiled
from queuewarden.queues.sqltext import INTEGER, TEXT, Value, commas, every

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg.sql import Composable

    from queuewarden.adapters.db.session import Query, Row
    from queuewarden.model import Key, Table
    from queuewarden.queues.target import Target

RESET = "jobs.reset"
FILLED = "timestamps.filled"

MOST_FILLED = 20
"""Rows of the ledger whose jobs are remembered for a time that was made up: at most 20 000 jobs."""

LATEST = 100
"""Resets that are looked at for having been premature."""


@dataclass(frozen=True, slots=True)
class Recalled:
    """What the ledger tells.

    Attributes:
        last_hour: jobs that were reset in the last hour, except by hand or undone.
        last_day: the same for the last day.
        worn: jobs whose rescue budget is spent.
        left_alone: tables in which an undo put rows back.
        filled: jobs with a time that was made up in the last day and that was not known yet.
        last_filled: the last of these changes.
    """

    last_hour: int = 0
    last_day: int = 0
    worn: frozenset[Key] = frozenset()
    left_alone: frozenset[Table] = frozenset()
    filled: tuple[Key, ...] = ()
    last_filled: int = 0


_LEDGER = sql.SQL("queuewarden.changes AS c")
_HOUR = sql.SQL("c.at > statement_timestamp() - interval '1 hour'")
_DAY = sql.SQL("c.at > statement_timestamp() - interval '1 day'")
_COUNT = sql.SQL("(SELECT coalesce(sum(c.last_id - c.first_id + 1), 0)::int8 FROM {} WHERE {})")


def recall(target: Target, known_filled: int) -> Query:
    """One row; see `recalled`.

    Args:
        target: the queue.
        known_filled: the last change to a missing time that is known already.
    """
    alone = sql.SQL("EXISTS (SELECT FROM queuewarden.left_alone AS a WHERE {})")
    resets = _of(target, RESET)
    day = _COUNT.format(_LEDGER, every([resets, _DAY]))
    filled = every([_of(target, FILLED), _DAY])
    new = sql.SQL("c.first_id > {}").format(Value("known_filled", known_filled, INTEGER))
    return compiled(
        sql.SQL("SELECT {}").format(
            commas(
                [
                    _COUNT.format(_LEDGER, every([resets, _HOUR])),
                    day,
                    sql.SQL("CASE WHEN {} >= {} THEN {} END").format(day, _budget(target), _worn(target)),
                    alone.format(of_table(target, "jobs")),
                    alone.format(of_table(target, "workers")) if target.workers else sql.SQL("FALSE"),
                    sql.SQL(
                        "(SELECT array_agg(u.part ORDER BY f.first_id, u.o)"
                        " FROM (SELECT c.first_id, c.keys FROM {} WHERE {}"
                        " ORDER BY c.first_id DESC LIMIT {}) AS f,"
                        " unnest(f.keys) WITH ORDINALITY AS u(part, o))"
                    ).format(_LEDGER, every([filled, new]), Value("most_filled", MOST_FILLED, INTEGER)),
                    sql.SQL("(SELECT max(c.last_id) FROM {} WHERE {})").format(_LEDGER, filled),
                ]
            )
        )
    )


def recalled(target: Target, row: Row) -> Recalled:
    """From the row of `recall`."""
    hour, day, worn, jobs, workers, filled, last_filled = row
    tables: tuple[tuple[Table, bool], ...] = (("jobs", jobs), ("workers", workers))
    return Recalled(
        hour,
        day,
        frozenset(_keys(target, worn)),
        frozenset(table for table, any_row in tables if any_row),
        tuple(_keys(target, filled)),
        last_filled or 0,
    )


def latest_resets(target: Target) -> Query:
    """The latest resets, except by hand: key, and worker and start of the job before, as text."""
    jobs = target.mapping.jobs
    return compiled(
        sql.SQL(
            "SELECT array_agg(k.part ORDER BY k.o), min(i.worker), min(i.started)"
            "\n  FROM (SELECT c.*"
            " FROM (SELECT c.*, sum(c.last_id - c.first_id + 1) OVER (ORDER BY c.first_id DESC) AS upto"
            " FROM {ledger} WHERE {resets}) AS c"
            " WHERE c.upto - (c.last_id - c.first_id + 1) < {latest}) AS c"
            "\n CROSS JOIN LATERAL (SELECT (u.o - 1) / cardinality(c.columns) AS nr,"
            " min(u.part) FILTER (WHERE {column} = {worker}) AS worker,"
            " min(u.part) FILTER (WHERE {column} = {started}) AS started"
            " FROM unnest(c.before) WITH ORDINALITY AS u(part, o) GROUP BY 1) AS i"
            "\n  JOIN LATERAL (SELECT (u.o - 1) / {width} AS nr, u.o, u.part"
            " FROM unnest(c.keys) WITH ORDINALITY AS u(part, o)) AS k ON k.nr = i.nr"
            "\n GROUP BY c.first_id, i.nr ORDER BY c.first_id DESC, i.nr DESC LIMIT {latest}"
        ).format(
            ledger=_LEDGER,
            resets=every([_of(target, RESET), _DAY]),
            column=sql.SQL("c.columns[(u.o - 1) %% cardinality(c.columns) + 1]"),
            latest=Value("latest", LATEST, INTEGER),
            worker=Value("worker_column", jobs.worker, TEXT),
            started=Value("started_column", jobs.started_at, TEXT),
            width=Value("key_width", len(jobs.id), INTEGER),
        )
    )


def _of(target: Target, event: str) -> Composable:
    """Changes of one kind in this queue, except those that a person asked for."""
    return sql.SQL(
        "c.table_schema = {} AND c.table_name = {} AND c.queue = {} AND c.event = {} AND c.reason <> {}"
        " AND c.undoes IS NULL"
    ).format(
        Value("of_schema", target.jobs.schema, TEXT),
        Value("of_table", target.jobs.name, TEXT),
        Value("of_queue", target.queue, TEXT),
        Value(f"of_{event.replace('.', '_')}", event, TEXT),
        Value("by_hand", BY_HAND, TEXT),
    )


def _worn(target: Target) -> Composable:
    """The keys, part after part, of jobs that were reset so often; what was undone does not count."""
    return sql.SQL(
        "(SELECT array_agg(p.part ORDER BY w.key, p.o) FROM (SELECT k.key FROM"
        "\n  (SELECT c.first_id + (u.o - 1) / {width} AS id, array_agg(u.part ORDER BY u.o) AS key"
        " FROM {ledger}, unnest(c.keys) WITH ORDINALITY AS u(part, o) WHERE {resets} GROUP BY 1) AS k"
        "\n  WHERE k.id NOT IN (SELECT unnest(c.undoes) FROM {ledger} WHERE c.undoes IS NOT NULL AND {day})"
        "\n  GROUP BY k.key HAVING count(*) >= {budget}) AS w, unnest(w.key) WITH ORDINALITY AS p(part, o))"
    ).format(
        width=Value("key_width", len(target.mapping.jobs.id), INTEGER),
        ledger=_LEDGER,
        resets=every([_of(target, RESET), _DAY]),
        day=_DAY,
        budget=_budget(target),
    )


def _budget(target: Target) -> Composable:
    return Value("budget", target.limits.rescue_budget, INTEGER)


def _keys(target: Target, parts: Sequence[str] | None) -> list[Key]:
    """Keys from their parts, one after the other."""
    width = len(target.mapping.jobs.id)
    return [tuple(parts[at : at + width]) for at in range(0, len(parts), width)] if parts else []
