"""Looking up what a person names: a lane, a job."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from queuewarden.engine.lane_runner import MOST_LANES
from queuewarden.engine.lanes import in_lane
from queuewarden.engine.render import compiled, texts
from queuewarden.queues.keys import key_among, key_names
from queuewarden.queues.sqltext import INTEGER, Value, some
from queuewarden.queues.terms import job, relation, running, status_text, waiting

if TYPE_CHECKING:
    from collections.abc import Collection

    from queuewarden.adapters.db.session import Session
    from queuewarden.engine.lanes import Lane
    from queuewarden.model import Key
    from queuewarden.queues.target import Target

CONNECTION = b"""
SELECT current_setting('server_version'), current_user,
       (SELECT s.ssl FROM pg_catalog.pg_stat_ssl AS s WHERE s.pid = pg_backend_pid()),
       (SELECT s.version FROM pg_catalog.pg_stat_ssl AS s WHERE s.pid = pg_backend_pid()),
       current_setting('TimeZone'), current_setting('is_superuser') = 'on'"""
"""How we are connected: version, user, TLS and its version, time zone, whether with all rights."""


def lane_name(lane: Lane) -> str:
    """A lane as people write it: its values with commas between them."""
    return ",".join("NULL" if part is None else part for part in lane)


async def find_lane(session: Session, target: Target, name: str) -> tuple[Lane | None, list[str]]:
    """The lane of a name, or None and the names of lanes that have jobs waiting or running.

    Raises:
        psycopg.Error: as the server reports it.
    """
    positions = target.mapping.positions
    columns = positions.lane if positions is not None else ()
    table = relation(target.jobs)
    rows = await session.rows(
        compiled(
            sql.SQL("SELECT DISTINCT {} FROM {} AS j WHERE {} LIMIT {}").format(
                texts([job(column) for column in columns]),
                table,
                some([waiting(target), running(target)]),
                Value("most", MOST_LANES, INTEGER),
            )
        )
    )
    active = {lane_name(tuple(row[0])): tuple(row[0]) for row in rows}
    if name in active:
        return active[name], []
    parts = tuple(name.split(",")) if len(columns) > 1 else (name,)
    if len(parts) == len(columns):
        query = compiled(
            sql.SQL("SELECT 1 FROM {} AS j WHERE {} LIMIT 1").format(table, in_lane(target, columns, parts))
        )
        try:
            if await session.rows(query):
                return parts, []
        except psycopg.DataError:
            pass  # not even a value of that type
    return None, sorted(active)


async def states_of(session: Session, target: Target, keys: Collection[Key]) -> dict[Key, str]:
    """The status of each of some jobs that exist; none where a key is no value of the key's type.

    Raises:
        psycopg.Error: as the server reports it.
    """
    query = sql.SQL("SELECT {}, {} FROM {} AS j WHERE {}").format(
        texts(key_names(target, "jobs")),
        status_text(target),
        relation(target.jobs),
        key_among(target, "jobs", "asked", keys),
    )
    try:
        rows = await session.rows(compiled(query))
    except psycopg.DataError:
        return {}
    return {tuple(row[0]): row[1] for row in rows}
