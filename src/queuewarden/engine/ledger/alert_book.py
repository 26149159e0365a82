"""Alerts and suppressions in the ledger's schema, so that they survive a restart and commands can reach them.

Moments are written and read as ages, by the database's clock: no time of this process meets one of a table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import psycopg

from queuewarden.adapters.db.session import Query
from queuewarden.engine.alerting.notices import About, Alert, Suppression

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import timedelta

    from queuewarden.adapters.db.session import Row, Session

T = TypeVar("T")

KEPT = 500
"""Ended alerts that are read at most."""

MOST = 10_000
"""Alerts that fire, or suppressions that hold, which are read at most."""

_AGE = b"extract(epoch FROM clock_timestamp() - %s)::float8"
_ALERT = (
    b"id, rule, severity, environment, queue, subject, value, threshold, summary, hint, "
    + _AGE % b"since"
    + b", "
    + _AGE % b"announced_at"
    + b", escalated, acked_by, "
    + _AGE % b"resolved_at"
)
_FIRING = (
    b"SELECT " + _ALERT + b" FROM queuewarden.alerts WHERE resolved_at IS NULL"
    b" AND (%(environment)s::text IS NULL OR environment = %(environment)s) ORDER BY number LIMIT %(most)s"
)
_ENDED = (
    b"SELECT " + _ALERT + b" FROM queuewarden.alerts WHERE resolved_at IS NOT NULL"
    b" AND (%(environment)s::text IS NULL OR environment = %(environment)s)"
    b" ORDER BY resolved_at DESC LIMIT %(most)s"
)
_SUPPRESSION = (
    b"number::text, extract(epoch FROM until - clock_timestamp())::float8, reason, set_by,"
    b" rule, environment, queue"
)
_HOLDING = (
    b"SELECT " + _SUPPRESSION + b" FROM queuewarden.suppressions"
    b" WHERE ended_at IS NULL AND until > clock_timestamp() ORDER BY number LIMIT %(most)s"
)
_INSERT = b"""
INSERT INTO queuewarden.alerts (id, rule, severity, environment, queue, subject, value, threshold, summary,
                                hint, since, announced_at, escalated, acked_by, resolved_at)
SELECT %(id)s, %(rule)s, %(severity)s, %(environment)s, %(queue)s, %(subject)s, %(value)s::float8,
       %(threshold)s::float8, %(summary)s, %(hint)s,
       clock_timestamp() - make_interval(secs => %(age)s::float8),
       CASE WHEN %(announced)s THEN clock_timestamp() END, %(escalated)s, %(acked_by)s,
       clock_timestamp() - make_interval(secs => %(ended)s::float8)"""
_FIRE = (
    _INSERT
    + b"""
    ON CONFLICT (environment, id) WHERE resolved_at IS NULL DO UPDATE
   SET severity = EXCLUDED.severity, value = EXCLUDED.value, threshold = EXCLUDED.threshold,
       summary = EXCLUDED.summary, hint = EXCLUDED.hint, since = least(alerts.since, EXCLUDED.since),
       announced_at = coalesce(alerts.announced_at, EXCLUDED.announced_at),
       escalated = EXCLUDED.escalated, acked_by = coalesce(alerts.acked_by, EXCLUDED.acked_by)"""
)
_END = (
    b"""
WITH known AS (
    UPDATE queuewarden.alerts
       SET resolved_at = clock_timestamp() - make_interval(secs => %(ended)s::float8),
           value = %(value)s::float8
     WHERE environment = %(environment)s AND id = %(id)s AND resolved_at IS NULL RETURNING 1)"""
    + _INSERT
    + b"\n WHERE NOT EXISTS (SELECT FROM known)"
)
_ACK = (
    b"UPDATE queuewarden.alerts SET acked_by = coalesce(acked_by, %(by)s) WHERE id = %(id)s"
    b" AND resolved_at IS NULL RETURNING " + _ALERT
)
_SUPPRESS = (
    b"INSERT INTO queuewarden.suppressions (rule, environment, queue, until, reason, set_by)"
    b" VALUES (%(rule)s, %(environment)s, %(queue)s,"
    b" clock_timestamp() + make_interval(secs => %(left)s::float8), %(reason)s, %(by)s)"
    b" RETURNING " + _SUPPRESSION
)
_LIFT = (
    b"UPDATE queuewarden.suppressions SET ended_at = clock_timestamp(), ended_by = %(by)s"
    b" WHERE number::text = %(number)s AND ended_at IS NULL AND until > clock_timestamp()"
    b" RETURNING " + _SUPPRESSION
)
_FORGET = b"""
DELETE FROM queuewarden.alerts WHERE number IN (
    SELECT a.number FROM queuewarden.alerts AS a WHERE a.resolved_at < statement_timestamp() - %(keep)s
     ORDER BY a.resolved_at LIMIT 1000)
RETURNING 1"""


async def look(
    session: Session, now: float, environment: str | None = None
) -> tuple[list[Alert], list[Suppression]]:
    """Alerts that fire, and suppressions that hold, in one round trip.

    Args:
        session: on the environment's database.
        now: the monotonic moment, to which ages are turned.
        environment: alerts of this one alone; None: whatever names the database is known by.

    Raises:
        psycopg.Error: as the server reports it.
    """
    firing = Query(_FIRING, {"environment": environment, "most": MOST})
    found = await session.read([firing, Query(_HOLDING, {"most": MOST})])
    rows = []
    for result in found:
        if isinstance(result, psycopg.Error):
            raise result
        rows.append(result)
    fire, hold = rows
    return [_alert(row, now) for row in fire], [_suppression(row, now) for row in hold]


async def ended(session: Session, now: float, environment: str | None = None) -> list[Alert]:
    """Alerts that ended, the latest first; see `look`.

    Raises:
        psycopg.Error: as the server reports it.
    """
    query = Query(_ENDED, {"environment": environment, "most": KEPT})
    return [_alert(row, now) for row in await session.rows(query)]


async def save(session: Session, alerts: Sequence[Alert], now: float) -> None:
    """Write alerts as they are: a new one, one that changed, one that ended; all or none of them.

    Raises:
        psycopg.Error: as the server reports it.
    """
    if alerts:
        await session.together([_written(alert, now) for alert in alerts])


async def acknowledge(session: Session, name: str, by: str, now: float) -> Alert | None:
    """Take note of an alert; None where none of this id fires.

    Raises:
        psycopg.Error: as the server reports it.
    """
    return _first(_alert, await session.together([Query(_ACK, {"id": name, "by": by})]), now)


async def suppress(session: Session, wanted: Suppression, now: float) -> Suppression:
    """Keep alerts from being announced for a while; the same with its number.

    Raises:
        psycopg.Error: as the server reports it.
    """
    given = {
        "rule": wanted.rule,
        "environment": wanted.environment,
        "queue": wanted.queue,
        "left": wanted.until - now,
        "reason": wanted.reason,
        "by": wanted.by,
    }
    ((row,),) = await session.together([Query(_SUPPRESS, given)])
    return _suppression(row, now)


async def lift(session: Session, number: str, by: str, now: float) -> Suppression | None:
    """End a suppression; None where none of this number holds.

    Raises:
        psycopg.Error: as the server reports it.
    """
    return _first(_suppression, await session.together([Query(_LIFT, {"number": number, "by": by})]), now)


async def forget(session: Session, keep: timedelta) -> int:
    """Delete alerts that ended longer ago than ``keep``, 1000 at most; how many they were.

    Raises:
        psycopg.Error: as the server reports it.
    """
    (rows,) = await session.together([Query(_FORGET, {"keep": keep})])
    return len(rows)


def _written(alert: Alert, now: float) -> Query:
    given: dict[str, Any] = {
        "id": alert.id,
        "rule": alert.rule,
        "severity": alert.severity,
        **alert.about._asdict(),
        "value": alert.value,
        "threshold": alert.threshold,
        "summary": alert.summary,
        "hint": alert.hint,
        "age": now - alert.since,
        "announced": alert.announced,
        "escalated": alert.escalated,
        "acked_by": alert.acked_by,
        "ended": None if alert.resolved is None else now - alert.resolved,
    }
    return Query(_FIRE if alert.resolved is None else _END, given)


def _alert(row: Row, now: float) -> Alert:
    name, rule, severity, environment, queue, subject, *values, age, told_ago, escalated, by, ended_ago = row
    value, threshold, summary, hint = values
    return Alert(
        id=name,
        rule=rule,
        severity=severity,
        about=About(environment, queue, subject),
        value=value,
        threshold=threshold,
        summary=summary,
        hint=hint,
        since=now - age,
        announced=told_ago is not None,
        escalated=escalated,
        acked_by=by,
        resolved=None if ended_ago is None else now - ended_ago,
        told=None if told_ago is None else now - told_ago,
    )


def _suppression(row: Row, now: float) -> Suppression:
    number, left, reason, by, rule, environment, queue = row
    return Suppression(number, now + left, reason, by, rule, environment, queue)


def _first(made: Callable[[Row, float], T], found: list[list[Row]], now: float) -> T | None:
    (rows,) = found
    return made(rows[0], now) if rows else None
