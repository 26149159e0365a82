"""Cron expressions of five fields: the moments at which they fire, in a time zone. Pure.

In summer time's missing hour what is given by hour and minute fires when the hour is over; in the hour that
comes twice it fires once, the first time. What has a star for its hour or minute goes by elapsed time.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMED = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
}
"""What some moments are called, too."""

_FIELDS = 5
_CHANGE = timedelta(hours=3)
"""The library loses which of two hours of the same name it was given: it begins beyond the change, and what
is on the wrong side is left out."""


def expression(text: str) -> str:
    """A cron expression as the functions below take it.

    Raises:
        ValueError: it is none, or it never fires.
    """
    spelled = " ".join(text.split())
    spelled = NAMED.get(spelled.lower(), spelled)
    if len(spelled.split()) != _FIELDS:
        raise ValueError("not a cron expression of five fields, such as 0 2 * * *, or @daily")
    try:
        next(CronSim(spelled, datetime(2000, 1, 1, tzinfo=UTC)))
    except CronSimError as error:
        raise ValueError(f"not a cron expression: {str(error).lower()}") from None
    except StopIteration:
        raise ValueError("a cron expression that never fires") from None
    return spelled


def last_fire(cron: str, zone: str, now: datetime) -> datetime | None:
    """The last moment up to now at which an expression fired; None where there was none in 50 years.

    Raises:
        ValueError: the expression or the zone is not understood.
    """
    return next(fires_before(cron, zone, now), None)


def fires_before(cron: str, zone: str, now: datetime) -> Iterator[datetime]:
    """The moments up to now at which an expression fired, the latest first.

    Raises:
        ValueError: the expression or the zone is not understood.
    """
    begin = now + _CHANGE + timedelta(seconds=1)
    return (at for at in _fires(cron, zone, begin, reverse=True) if at <= now)


def next_fire(cron: str, zone: str, now: datetime) -> datetime | None:
    """The first moment after now at which an expression fires; None where there is none in 50 years.

    Raises:
        ValueError: the expression or the zone is not understood.
    """
    return next((at for at in _fires(cron, zone, now - _CHANGE) if at > now), None)


def _fires(cron: str, zone: str, begin: datetime, *, reverse: bool = False) -> Iterator[datetime]:
    try:
        where = ZoneInfo(zone)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"{zone} is no time zone") from None
    try:
        moments = CronSim(cron, begin.astimezone(where), reverse=reverse)
    except CronSimError as error:
        raise ValueError(f"{cron} is no cron expression ({error})") from None
    for moment in moments:
        yield moment.astimezone(UTC)
