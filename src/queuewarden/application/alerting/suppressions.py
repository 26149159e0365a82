"""Suppressions: those of this daemon's memory and those of each environment's ledger, as one."""

from __future__ import annotations

import secrets
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
    environment, and from then on tells of it. The id that it had here goes on to name it.
    """

    _here: dict[str, Suppression] = field(default_factory=dict)
    _kept: dict[str, dict[str, Suppression]] = field(default_factory=dict)
    _lifted: dict[str, dict[str, str]] = field(default_factory=dict)
    _moved: dict[str, str] = field(default_factory=dict)

    def holding(self, now: float) -> list[Suppression]:
        """Those that hold now; the same one of several ledgers once."""
        self._here = {name: one for name, one in self._here.items() if one.until > now}
        found: dict[tuple[str | None, ...], Suppression] = {}
        for one in self._all(now):
            found.setdefault(_content(one), one)
        return list(found.values())

    def set(self, wanted: Suppression) -> Suppression:
        """A new one; the same with an id of its own."""
        name = f"new-{secrets.token_hex(4)}"  # no number, which a restart would give to another one
        self._here[name] = replace(wanted, id=name)
        while len(self._here) > MOST:
            del self._here[next(iter(self._here))]
        return self._here[name]

    def lift(self, name: str, by: str, now: float) -> Suppression:
        """End one, with its likes in other ledgers.

        Raises:
            LookupError: none of this id holds.
        """
        found = next((one for one in self._all(now) if one.id == self._moved.get(name, name)), None)
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
                number = (await alert_book.suppress(session, one, now)).id
                self._moved[name] = f"{environment}-{number}"
                while len(self._moved) > MOST:
                    del self._moved[next(iter(self._moved))]
                if self._here.pop(name, None) is None:  # lifted meanwhile
                    await alert_book.lift(session, number, one.by, now)

    def take(self, environment: str, kept: Iterable[Suppression]) -> None:
        """What one environment's ledger holds."""
        named = {one.id: replace(one, id=f"{environment}-{one.id}") for one in kept}
        self._kept[environment] = named

    def forget(self, environments: Iterable[str]) -> None:
        """Only these environments are left."""
        left = set(environments)
        self._kept = {name: ledger for name, ledger in self._kept.items() if name in left}
        self._lifted = {name: ledger for name, ledger in self._lifted.items() if name in left}

    def _all(self, now: float) -> list[Suppression]:
        kept = (one for ledger in self._kept.values() for one in ledger.values())
        return [one for one in (*self._here.values(), *kept) if one.until > now]


def _content(one: Suppression) -> tuple[str | None, ...]:
    return one.rule, one.environment, one.queue, one.reason, one.by
