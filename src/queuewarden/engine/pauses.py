"""Pauses and maintenance windows: while one holds, no daemon repairs the database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from queuewarden.adapters.db.session import Query
from queuewarden.engine.cron import last_fire
from queuewarden.model import BrakeChange

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime, timedelta

    from queuewarden.adapters.db.session import Row, Session

_COLUMNS = b"id, environment, reason, set_by, set_at, until, cron, zone, lasts"
ACTIVE = Query(
    b"SELECT " + _COLUMNS + b" FROM queuewarden.pauses"
    b" WHERE ended_at IS NULL AND (cron IS NOT NULL OR until > statement_timestamp()) ORDER BY id",
    {},
)
_SET = (
    b"INSERT INTO queuewarden.pauses (environment, reason, set_by, until, cron, zone, lasts)"
    b" VALUES (%(environment)s, %(reason)s, %(set_by)s,"
    b" CASE WHEN %(cron)s::text IS NULL THEN clock_timestamp() + %(lasts)s::interval END,"
    b" %(cron)s, %(zone)s, CASE WHEN %(cron)s::text IS NOT NULL THEN %(lasts)s::interval END)"
    b" RETURNING " + _COLUMNS
)
_END = (
    b"UPDATE queuewarden.pauses SET ended_at = clock_timestamp(), ended_by = %(ended_by)s"
    b" WHERE ended_at IS NULL AND (%(ids)s::int8[] IS NULL AND cron IS NULL AND until > clock_timestamp()"
    b" OR id = ANY(%(ids)s::int8[])) RETURNING " + _COLUMNS
)


@dataclass(frozen=True, slots=True)
class Pause:
    """One pause, or one maintenance window.

    Attributes:
        environment: the name by which it was set: it holds for the database, whatever name others give it.
        until: when a pause ends.
        cron: when a window begins, again and again; None for a pause.
        zone: the time zone of ``cron``.
        lasts: how long each window is.
    """

    id: int
    environment: str
    reason: str
    set_by: str
    set_at: datetime
    until: datetime | None = None
    cron: str | None = None
    zone: str | None = None
    lasts: timedelta | None = None

    @property
    def kind(self) -> str:
        """As the brake is called."""
        return "pause" if self.cron is None else "maintenance"

    def holds_until(self, now: datetime) -> datetime | None:
        """When it will be over, by the database's clock; None where it does not hold now."""
        if self.cron is None or self.zone is None or self.lasts is None:
            return self.until if self.until is not None and self.until > now else None
        begun = last_fire(self.cron, self.zone, now)
        if begun is None or begun + self.lasts <= now:
            return None
        return begun + self.lasts


def pauses(rows: Iterable[Row]) -> tuple[Pause, ...]:
    """From the rows of `ACTIVE`."""
    return tuple(Pause(*row) for row in rows)


def brakes(active: Iterable[Pause], now: datetime) -> list[BrakeChange]:
    """The brakes that hold for the whole environment now: of each kind the one that lasts longest.

    A window that is not understood here, such as one of a time zone that this machine does not know, holds
    until somebody ends it.
    """
    longest: dict[str, BrakeChange] = {}
    for pause in active:
        try:
            until = pause.holds_until(now)
        except ValueError as error:
            why = f"window {pause.id} is not understood: {error} (by {pause.set_by})"
            longest[pause.kind] = BrakeChange(on=True, kind=pause.kind, queue=None, why=why)
            continue
        if until is None:
            continue
        known = longest.get(pause.kind)
        if known is None or (known.until is not None and until > known.until):
            why = f"{pause.reason} (by {pause.set_by})"
            longest[pause.kind] = BrakeChange(on=True, kind=pause.kind, queue=None, why=why, until=until)
    return list(longest.values())


async def set_pause(
    session: Session,
    environment: str,
    *,
    reason: str,
    by: str,
    lasts: timedelta,
    cron: str | None = None,
    zone: str | None = None,
) -> Pause:
    """Pause repairs for a while, or (with ``cron``) whenever it fires.

    When this returns, no repair is under way any more: repairs of all daemons look for a pause as they begin,
    under the lock that is taken here, too.

    Raises:
        BusyError: another guard is repairing this database.
        psycopg.Error: as the server reports it.
    """
    given = {
        "environment": environment,
        "reason": reason,
        "set_by": by,
        "lasts": lasts,
        "cron": cron,
        "zone": zone,
    }
    async with session.transaction() as transaction:
        (row,) = await transaction.execute(Query(_SET, given))
    return Pause(*row)


async def end_pauses(session: Session, *, by: str, ids: Iterable[int] | None = None) -> list[Pause]:
    """End all pauses that hold, or pauses and windows of some ids; those that were ended.

    Raises:
        BusyError: another guard is repairing this database.
        psycopg.Error: as the server reports it.
    """
    given = {"ended_by": by, "ids": list(ids) if ids is not None else None}
    async with session.transaction() as transaction:
        return list(pauses(await transaction.execute(Query(_END, given))))
