"""Time passing: all that stands in the database, or is remembered of it, becomes so much older."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import rows as queue_rows
from model.tables import COLUMNS, TIMES
from psycopg import sql

if TYPE_CHECKING:
    import datetime as dt

    import psycopg
    from model.tables import Place

    from queuewarden.engine.judge import QueueState
    from queuewarden.engine.sweep import Sweeper
    from queuewarden.model import Finding

_PUT_BACK = """
SELECT a.table_name, a.key[1] FROM queuewarden.left_alone AS a
  JOIN (SELECT 'jobs', id::text, xmin::text FROM jobs
        UNION ALL SELECT 'workers', id, xmin::text FROM workers) AS r(name, key, version)
    ON r.name = a.table_name AND r.key = a.key[1] AND r.version = a.version"""

_LEDGER = (
    """UPDATE queuewarden.changes SET at = at - %(span)s,
    before = aged(before, columns, %(span)s), after = aged(after, columns, %(span)s)""",
    "UPDATE queuewarden.lease SET until = until - %(span)s, since = since - %(span)s",
    """UPDATE queuewarden.pauses SET set_at = set_at - %(span)s, until = until - %(span)s,
    ended_at = ended_at - %(span)s""",
)
_STILL_ALONE = """
UPDATE queuewarden.left_alone SET at = at - %(span)s,
       version = CASE WHEN (table_name, key[1]) IN
                           (SELECT * FROM unnest(%(tables)s::text[], %(keys)s::text[]))
                      THEN pg_current_xact_id()::xid::text ELSE version END"""


def age_tables(connection: psycopg.Connection[Any], span: dt.timedelta) -> None:
    """Set all times back.

    This writes every row, which is no change of it: what was left alone as long as it does not change is so
    under its new version.
    """
    with connection.transaction():
        put_back = connection.execute(_PUT_BACK).fetchall()
        for table, names in COLUMNS.items():
            times = [sql.Identifier(name) for name in TIMES if name in names]
            connection.execute(
                sql.SQL("UPDATE {} SET {}").format(
                    sql.Identifier(table),
                    sql.SQL(", ").join(sql.SQL("{0} = {0} - %(span)s").format(time) for time in times),
                ),
                {"span": span},
            )
        for statement in _LEDGER:
            connection.execute(statement, {"span": span})
        tables, keys = ([row[at] for row in put_back] for at in (0, 1))
        connection.execute(_STILL_ALONE, {"span": span, "tables": tables, "keys": keys})


def age_sweeper(
    sweeper: Sweeper, span: dt.timedelta, before: dict[Place, str], after: dict[Place, str]
) -> None:
    """Set back what a daemon remembers.

    Args:
        sweeper: whose memory.
        span: by how much.
        before: the versions of all rows as they were.
        after: the versions as they are now.
    """
    queue_rows.age_memory(sweeper, span)
    state = sweeper.state("mail")
    _renew_versions(state, before, after)
    state.memory.alone = {lane: last - span for lane, last in state.memory.alone.items()}
    state.deaths.marked[:] = [(time - span, count) for time, count in state.deaths.marked]
    for episode in (state.mass_death, *state.mass_repair.values()):
        if episode.until is not None:
            episode.until -= span


def _renew_versions(state: QueueState, before: dict[Place, str], after: dict[Place, str]) -> None:
    """Rows that are set aside until they change are so under their new versions."""
    for table, aside in state.memory.aside.items():
        for key, version in aside.items():
            if before.get((table, key[0])) == version:
                aside[key] = after[table, key[0]]
    for (code, key), (version, since) in state.memory.seen.items():
        if before.get(("jobs", key[0])) == version:
            state.memory.seen[code, key] = (after["jobs", key[0]], since)


def age_plan(
    connection: psycopg.Connection[Any], plan: tuple[Finding, ...], span: dt.timedelta
) -> tuple[Finding, ...]:
    """A plan whose rows are so much older."""

    def aged(image: dict[str, str | None]) -> dict[str, str | None]:
        given = ([list(image.values())], list(image), span)
        ((values,),) = connection.execute("SELECT aged(%s::text[], %s::text[], %s)", given).fetchall()
        return dict(zip(image, values[0], strict=True))

    return tuple(
        replace(one, before=aged(one.before), after=aged(one.after) if one.after is not None else None)
        for one in plan
    )
