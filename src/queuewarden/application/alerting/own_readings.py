"""What the daemon knows of itself, as the readings that alert rules are about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from queuewarden.adapters import memory
from queuewarden.engine.alerting.notices import About

if TYPE_CHECKING:
    from queuewarden.application.alerting.dispatch import Dispatch
    from queuewarden.application.http.counts import Counts

SETTLED = frozenset({"channel_failing", "config_rejected", "http_errors", "http_refused"})
"""Of these all is known at any time: what is missing, such as a channel that was taken away, is over."""


@dataclass(slots=True)
class OwnReadings:
    """The daemon's.

    Attributes:
        dispatch: None while there is no channel.
        http: counts of the API; None while there is none.
        config_rejected: the last reload was refused.
    """

    dispatch: Dispatch | None = None
    http: Counts | None = None
    config_rejected: bool = False

    def readings(self) -> dict[str, dict[About, float]]:
        """By metric; what is unknown is absent."""
        found: dict[str, dict[About, float]] = {"config_rejected": {About(): float(self.config_rejected)}}
        used, allowed = memory.resident(), memory.allowed()
        if used is not None and allowed:
            found["memory_used"] = {About(): used / allowed}
        if self.dispatch is not None:
            found["channel_failing"] = {
                About(subject=name): float(not state.ok) for name, state in self.dispatch.states().items()
            }
        if self.http is not None:
            found["http_refused"] = {About(): float(self.http.refused_lately())}
            share = self.http.error_share()
            found["http_errors"] = {} if share is None else {About(): share}
        return found
