"""The hourly cap of one channel: a storm must not bury what matters, nor cost money. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from queuewarden.engine.alerting.notices import Change
    from queuewarden.engine.alerting.rules import Severity

HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Cap:
    """What one channel was sent within the last hour.

    Attributes:
        hourly: how many notices it takes in any hour; critical ones have as many again of their own.
        swallowed: how many were held back since `taken` was called last.
        sent, critical_sent: when those of the last hour were sent.
    """

    hourly: int
    swallowed: int = 0
    sent: tuple[float, ...] = ()
    critical_sent: tuple[float, ...] = ()

    def taken(self) -> tuple[Cap, int]:
        """How many were held back, told once: the next message says so."""
        return (replace(self, swallowed=0), self.swallowed) if self.swallowed else (self, 0)


def admit(cap: Cap, severity: Severity, change: Change, now: float) -> tuple[Cap, bool]:
    """Whether a notice may be sent now; it is then counted.

    That something is over is always told, and costs nothing: who was called must be let go.
    """
    if change == "resolved":
        return cap, True
    critical = severity == "critical"
    before = cap.critical_sent if critical else cap.sent
    recent = tuple(moment for moment in before if now - moment < HOUR)
    admitted = len(recent) < cap.hourly
    if admitted:
        recent += (now,)
    else:
        cap = replace(cap, swallowed=cap.swallowed + 1)
    return (replace(cap, critical_sent=recent) if critical else replace(cap, sent=recent)), admitted
