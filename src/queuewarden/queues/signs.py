"""Signs of life of a running job beside heartbeats: an advisory lock, a locked row, its worker's session.

Locks and sessions are read once a statement, not once a row: as lists that each job is held against.
"""

from __future__ import annotations

from string import Formatter
from typing import TYPE_CHECKING

from psycopg import sql

from queuewarden.queues.sqltext import INTEGER, TEXT, Name, Value, cast, some

if TYPE_CHECKING:
    from psycopg.sql import Composable

    from queuewarden.queues.target import Target

_ADVISORY = sql.SQL(
    "(SELECT (l.classid::int8 << 32) | l.objid::int8 FROM pg_catalog.pg_locks AS l"
    " WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted AND l.database ="
    " (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = current_database()))"
)
_LOCKERS = sql.SQL(
    "(SELECT l.transactionid FROM pg_catalog.pg_locks AS l"
    " WHERE l.locktype = 'transactionid' AND l.granted AND l.mode = 'ExclusiveLock'"
    " AND l.pid IS DISTINCT FROM pg_backend_pid())"
)
_SESSIONS = {
    "application_name": sql.SQL("SELECT a.application_name FROM pg_catalog.pg_stat_activity AS a"),
    "pid": sql.SQL("SELECT a.pid::text FROM pg_catalog.pg_stat_activity AS a"),
}
WORDS = {"advisory_lock": "no advisory lock", "row_lock": "no row lock", "backend": "no backend"}
"""How a log says that a sign is absent."""


def signs(target: Target) -> dict[str, Composable]:
    """The signs that are mapped, by name, each as a condition on the job: it is there."""
    alive = target.mapping.alive
    found: dict[str, Composable] = {}
    if alive.advisory_lock is not None:
        found["advisory_lock"] = advisory_locked(target)
    if alive.row_lock is not None and target.row_lock is not None:
        found["row_lock"] = sql.SQL("EXISTS (SELECT FROM {} AND k.xmax IN {})").format(_row(target), _LOCKERS)
    if alive.backend is not None:
        found["backend"] = _session(target)
    return found


def sign_of_life(target: Target) -> Composable | None:
    """The job shows one of its signs of life; None where none is mapped."""
    found = list(signs(target).values())
    return some(found) if found else None


def unlocked(target: Target) -> Composable | None:
    """The row that a living worker would hold locked is free, and ours now; None where none is mapped.

    It locks, which the write alone may do. It sees what a plain look at locks does not: several lockers.
    """
    if target.row_lock is None:
        return None
    row = _row(target)
    return sql.SQL(
        "NOT EXISTS (SELECT FROM {row}) OR EXISTS (SELECT FROM {row} FOR UPDATE OF k SKIP LOCKED)"
    ).format(row=row)


def advisory_locked(target: Target) -> Composable:
    """Somebody holds the job's advisory lock."""
    template = target.mapping.alive.advisory_lock
    if template is None:
        raise ValueError(f"queue {target.queue} maps no ALIVE__ADVISORY_LOCK")
    key = _hashed(template) if "{" in template else cast(Name("j", template), INTEGER)
    return sql.SQL("{} IN {}").format(key, _ADVISORY)


def lock_columns(template: str) -> tuple[str, ...]:
    """The columns that the key of an advisory lock is made of."""
    if "{" not in template:
        return (template,)
    return tuple(name for _, name, _, _ in Formatter().parse(template) if name is not None)


def _hashed(template: str) -> Composable:
    """The first 64 bits of a text's md5, as applications make a lock's key of a name."""
    parts: list[Composable] = []
    for number, (text, column, _, _) in enumerate(Formatter().parse(template)):
        if text:
            parts.append(Value(f"lock_{number}", text, TEXT))
        if column is not None:
            parts.append(cast(Name("j", column), TEXT))
    return sql.SQL("CAST(CAST('x' || left(md5({}), 16) AS bit(64)) AS int8)").format(
        sql.SQL(" || ").join(parts)
    )


def _row(target: Target) -> Composable:
    """The lock row of the job, from the table's name to the condition."""
    mapped, shape = target.mapping.alive.row_lock, target.row_lock
    if mapped is None or shape is None:
        raise ValueError(f"queue {target.queue} maps no ALIVE__ROW_LOCK")
    return sql.SQL("{} AS k WHERE {} = {}").format(
        Name(shape.schema, shape.name), Name("k", mapped.key), Name("j", mapped.column)
    )


def _session(target: Target) -> Composable:
    backend = target.mapping.alive.backend
    if backend is None:
        raise ValueError(f"queue {target.queue} maps no ALIVE__BACKEND")
    named: Composable = cast(Name("j", backend.column), TEXT)
    if backend.by == "application_name":
        # The server cuts the names of sessions off where it cuts all names off.
        named = cast(cast(named, ("pg_catalog", "name")), TEXT)
    there = sql.SQL("{} IN ({} WHERE a.datname = current_database())").format(named, _SESSIONS[backend.by])
    return some([there, _respelled(named)]) if backend.by == "application_name" else there


def _respelled(name: Composable) -> Composable:
    """A session may have the name: it begins alike, up to a character that is none of printable ASCII.

    In names of sessions the server has ``?`` for each byte of such a one, since version 16 a backslash, an x
    and its code.
    """
    return sql.SQL(
        "(({name} COLLATE \"C\") ~ '[^ -~]' AND EXISTS (SELECT FROM pg_catalog.pg_stat_activity AS a,"
        " substring({name} COLLATE \"C\" FROM '^[ -~]*') AS p(part) WHERE a.datname = current_database()"
        " AND starts_with(a.application_name, p.part)"
        " AND substr(a.application_name, length(p.part) + 1, 1) IN ('?', chr(92))))"
    ).format(name=name)
