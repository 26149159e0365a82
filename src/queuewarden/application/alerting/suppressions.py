"""Suppressions: those of this daemon's memory and those of each environment's ledger, as one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from queuewarden.engine.alerting.suppression import fits
from queuewarden.engine.ledger import alert_book

if TYPE_CHECKING:
    from collections.abc import Iterable

    from queuewarden.adapters.db.session import Session
    from queuewarden.engine.alerting.notices import Suppression

MOST = 1000
"""Suppressions that are kept in memory: the oldest go first."""

LONGEST_REASON = 500
"""Characters of a reason: it stands beside each alert that is muted for it."""


@dataclass(slots=True)
class Suppressions:
    """All that hold, whichever ledger tells of them.

    One that was set here counts at once; the first ledger that it concerns gets it with the next sweep of its
    environment, and from then on tells of it.
    """

    _here: dict[str, Suppression] = field(default_factory=dict)
    _kept: dict[str, dict[str, Suppression]] = field(default_factory=dict)
    _lifted: dict[str, dict[str, str]] = field(default_factory=dict)
    _last: int = 0

    def holding(self, now: float) -> list[Suppression]:
        """Those that hold now; the same one of several ledgers once."""
        self._here = {name: one for name, one in self._here.items() if one.until > now}
        found: dict[tuple[str | None, ...], Suppression] = {}
        kept = [one for ledger in self._kept.values() for one in ledger.values()]
        for one in [*self._here.values(), *kept]:
            if one.until > now:
                found.setdefault(_content(one), one)
        return list(found.values())

    def set(self, wanted: Suppression) -> Suppression:
        """A new one; the same with an id of its own."""
        self._last += 1
        name = f"new-{self._last}"
        self._here[name] = replace(wanted, id=name)
        while len(self._here) > MOST:
            del self._here[next(iter(self._here))]
        return self._here[name]

    def lift(self, name: str, by: str, now: float) -> Suppression:
        """End one, with its likes in other ledgers.

        Raises:
            LookupError: none of this id holds.
        """
        found = next((one for one in self.holding(now) if one.id == name), None)
        if found is None:
            raise LookupError(f"no suppression {name} holds: `queuewarden alerts list` shows those that do")
        alike = _content(found)
        self._here = {key: one for key, one in self._here.items() if _content(one) != alike}
        for environment, ledger in self._kept.items():
            for key in [key for key, one in ledger.items() if _content(one) == alike]:
                del ledger[key]
                self._lifted.setdefault(environment, {})[key] = by
        return found

    async def write(self, session: Session, environment: str, now: float) -> None:
        """Write what was set or lifted here into one environment's ledger.

        Raises:
            psycopg.Error: as the server reports it.
        """
        lifted = self._lifted.get(environment, {})
        for number, by in list(lifted.items()):
            await alert_book.lift(session, number, by, now)
            del lifted[number]
        for name, one in list(self._here.items()):
            if one.until > now and fits(one.environment, environment):
                await alert_book.suppress(session, one, now)
                self._here.pop(name, None)

    def take(self, environment: str, kept: Iterable[Suppression]) -> None:
        """What one environment's ledger holds."""
        named = {one.id: replace(one, id=f"{environment}-{one.id}") for one in kept}
        self._kept[environment] = named

    def forget(self, environments: Iterable[str]) -> None:
        """Only these environments are left."""
        left = set(environments)
        self._kept = {name: ledger for name, ledger in self._kept.items() if name in left}
        self._lifted = {name: ledger for name, ledger in self._lifted.items() if name in left}


def _content(one: Suppression) -> tuple[str | None, ...]:
    return one.rule, one.environment, one.queue, one.reason, one.by
