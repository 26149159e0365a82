"""Rows that sweep after sweep are locked elsewhere, and who holds them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from psycopg import sql

from queuewarden.engine.render import compiled
from queuewarden.model import Anomaly
from queuewarden.queues.keys import TEXTS, key_among, key_names
from queuewarden.queues.sqltext import TEXT, Name, cast, commas
from queuewarden.queues.terms import ALIAS, owns, relation, shape

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from psycopg.sql import Composable

    from queuewarden.adapters.db.session import Query, Row
    from queuewarden.model import Key, Table
    from queuewarden.queues.target import Target

BLOCKED_AFTER = 5
"""Sweeps in which a row was found and could not be locked."""

MOST = 20
"""Rows that are asked about in one sweep."""

Place = tuple["Table", "Key"]


@dataclass(slots=True)
class Skips:
    """In how many sweeps each row was skipped; rules that find the same row count it once."""

    _counted: dict[Place, int] = field(default_factory=dict)
    _sweeps: dict[Place, int] = field(default_factory=dict)

    def update(self, counted: Mapping[Place, int]) -> list[Place]:
        """Take in what was counted so far, and tell which rows have been skipped for long.

        Args:
            counted: for each row how often it was skipped without being mended between.
        """
        sweeps = {}
        for place, count in counted.items():
            before = self._counted.get(place, 0)
            known = self._sweeps.get(place, 0) if count >= before else 0
            sweeps[place] = known + (count != before)
        self._counted, self._sweeps = dict(counted), sweeps
        return [place for place, times in sweeps.items() if times >= BLOCKED_AFTER][:MOST]


def holders(target: Target, table: Table, keys: Sequence[Key]) -> Query:
    """Who holds rows (or the workers of jobs) locked: a row for each key and holder; see `anomaly`."""
    alias = ALIAS[table]
    source = sql.SQL("{} AS {}").format(relation(shape(target, table)), Name(alias))
    rows: list[Composable] = [Name(alias, "xmax")]
    if table == "jobs" and target.workers is not None:
        source = sql.SQL("{} LEFT JOIN {} AS w ON {}").format(source, relation(target.workers), owns(target))
        rows.append(Name("w", "xmax"))
    key = cast(
        sql.SQL("ARRAY[{}]").format(commas(cast(part, TEXT) for part in key_names(target, table))), TEXTS
    )
    return compiled(
        sql.SQL(
            "SELECT DISTINCT ON (1) {key}, l.pid, a.application_name, a.usename::text, p.gid,"
            " extract(epoch FROM clock_timestamp() - coalesce(a.xact_start, p.prepared))::int8"
            "\n  FROM {source}"
            "\n  JOIN pg_catalog.pg_locks AS l ON l.locktype = 'transactionid' AND l.granted"
            " AND l.transactionid IN ({rows})"
            "\n  LEFT JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid"
            "\n  LEFT JOIN pg_catalog.pg_prepared_xacts AS p ON p.transaction = l.transactionid"
            "\n WHERE {among}"
        ).format(key=key, source=source, rows=commas(rows), among=key_among(target, table, "skipped", keys))
    )


def anomaly(target: Target, table: Table, row: Row) -> Anomaly:
    """From a row of `holders`."""
    key, pid, application, user, prepared, age = row
    name = ",".join(key)
    told = {
        "job" if table == "jobs" else "worker": name,
        "pid": pid,
        "application": application or None,
        "user": user,
        "prepared": prepared,
        "age": age,
    }
    facts = {word: value for word, value in told.items() if value is not None}
    hint = (
        f"a prepared transaction holds it: COMMIT PREPARED or ROLLBACK PREPARED '{prepared}'"
        if prepared is not None
        else f"a transaction holds it locked: let it end, or SELECT pg_terminate_backend({pid})"
    )
    return Anomaly("blocked", target.environment, target.queue, f"{table}:{name}", facts, hint)
