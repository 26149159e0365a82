"""What a sweep reports: values that the application turns into lines, status and exit codes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from queuewarden.engine.alerting.alerts import Notice
    from queuewarden.model import BrakeChange, Counts, Outcome, ServerState


@dataclass(frozen=True, slots=True)
class QueueReport:
    """One queue in one sweep.

    Attributes:
        hold: why it is only observed, if it is.
        counts: None where they could not be taken.
    """

    queue: str
    counts: Counts | None
    outcomes: tuple[Outcome, ...]
    hold: str | None = None


@dataclass(frozen=True, slots=True)
class SweepReport:
    """One sweep of one environment."""

    environment: str
    sweep: str
    server: ServerState
    queues: tuple[QueueReport, ...]
    brakes: tuple[BrakeChange, ...]
    notices: tuple[Notice, ...]
    seconds: float
    round_trips: int
