"""The state of anomalies: ``(state, seen, now) → notices``. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime, timedelta

    from queuewarden.model import Anomaly

Identity = tuple[str, str | None, str]

OF_WORKERS = frozenset({"no_live_worker", "overbusy", "zombie", "wedged"})
"""Anomalies of which nobody can tell anything where nobody knows who is alive."""


@dataclass(frozen=True, slots=True)
class Notice:
    """An anomaly that was raised, cleared, or is still there."""

    change: Literal["raised", "cleared", "reminded"]
    anomaly: Anomaly
    since: datetime


@dataclass(slots=True)
class _Active:
    anomaly: Anomaly
    since: datetime
    told: datetime


@dataclass(slots=True)
class Raised:
    """Anomalies of one environment."""

    _active: dict[Identity, _Active] = field(default_factory=dict)

    @property
    def active(self) -> tuple[Anomaly, ...]:
        """Those that are raised."""
        return tuple(entry.anomaly for entry in self._active.values())

    def update(
        self,
        seen: Iterable[Anomaly],
        now: datetime,
        remind_after: timedelta,
        unknown: Iterable[str | None] = (),
        blind: Iterable[str | None] = (),
    ) -> list[Notice]:
        """Take in what was seen.

        Args:
            seen: anomalies of this sweep.
            now: the database's clock.
            remind_after: how long until one that stays is told again.
            unknown: queues that could not be observed: theirs are neither raised nor cleared.
            blind: queues of which nobody knows who is alive: of theirs, those about workers are not cleared.
        """
        current: Mapping[Identity, Anomaly] = {anomaly.identity: anomaly for anomaly in seen}
        unseen, fleetless = set(unknown), set(blind)
        notices = []
        for identity, entry in list(self._active.items()):
            kind, queue, _ = identity
            lasts = queue in unseen or (queue in fleetless and kind in OF_WORKERS)
            if identity not in current and not lasts:
                del self._active[identity]
                notices.append(Notice("cleared", entry.anomaly, entry.since))
        for identity, anomaly in current.items():
            known = self._active.get(identity)
            if known is None:
                self._active[identity] = _Active(anomaly, now, now)
                notices.append(Notice("raised", anomaly, now))
                continue
            known.anomaly = anomaly
            if abs(now - known.told) >= remind_after:
                known.told = now
                notices.append(Notice("reminded", anomaly, known.since))
        return notices
