"""Which backups are kept: the newest of each of the last days, weeks and months that have any. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime, tzinfo

    from queuewarden.application.upkeep.backups.manifest import Manifest

Period = tuple[int, ...]
B = TypeVar("B")


@dataclass(frozen=True, slots=True)
class Keep:
    """How many of each; days begin at midnight in ``zone``."""

    zone: tzinfo
    daily: int = 7
    weekly: int = 4
    monthly: int = 6

    def superfluous(self, backups: Iterable[B], of: Callable[[B], Manifest]) -> list[B]:
        """The backups that need not be kept.

        Of each day, week and month the newest is kept that nobody has found broken; besides, always the
        newest of all and the newest that was proven.

        Args:
            backups: in any order.
            of: the manifest of one.
        """
        newest_first = sorted(backups, key=lambda one: of(one).taken_at, reverse=True)
        kept = newest_first[:1] + [one for one in newest_first if of(one).verified_at][:1]
        # Where all of a period are broken, one of them is better than nothing.
        candidates = sorted(newest_first, key=lambda one: of(one).broken)
        for period, most in ((_day, self.daily), (_week, self.weekly), (_month, self.monthly)):
            best: dict[Period, B] = {}
            for one in candidates:
                best.setdefault(period(of(one).taken_at.astimezone(self.zone)), one)
            kept += [best[key] for key in sorted(best, reverse=True)[:most]]
        return [one for one in newest_first if not any(one is other for other in kept)]


def _day(at: datetime) -> Period:
    return at.year, at.month, at.day


def _week(at: datetime) -> Period:
    return tuple(at.isocalendar()[:2])


def _month(at: datetime) -> Period:
    return at.year, at.month
