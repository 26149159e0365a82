"""What a sweep reports: values that the application turns into lines, status and exit codes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from queuewarden.engine.fleet import fleet_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from queuewarden.engine.alerting.raised import Notice
    from queuewarden.engine.judge import QueueState
    from queuewarden.engine.outcomes import Load
    from queuewarden.engine.queue_pass import QueuePass
    from queuewarden.model import BrakeChange, Counts, Outcome, ServerState


@dataclass(frozen=True, slots=True)
class QueueReport:
    """One queue in one sweep.

    Attributes:
        hold: why it is only observed, if it is.
        counts: None where they could not be taken.
        fleet: names the table where its workers register: queues that share one share its workers.
        looked: the checks that looked; others had nothing new to see, or were paced.
    """

    queue: str
    counts: Counts | None
    outcomes: tuple[Outcome, ...]
    hold: str | None = None
    fleet: str | None = None
    looked: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class SweepReport:
    """One sweep of one environment.

    Attributes:
        probe_seconds: how long the first round trip took.
        load: the server's, where somebody watches and it could be asked for.
    """

    environment: str
    sweep: str
    server: ServerState
    queues: tuple[QueueReport, ...]
    brakes: tuple[BrakeChange, ...]
    notices: tuple[Notice, ...]
    seconds: float
    round_trips: int
    probe_seconds: float = 0.0
    load: Load | None = None


def told(pass_: QueuePass, failures: Sequence[Outcome] = ()) -> QueueReport:
    """What a pass did, behind what failed before it."""
    target = pass_.target
    outcomes = (*failures, *pass_.outcomes)
    return QueueReport(
        target.queue, _counts(pass_.state), outcomes, target.hold, fleet_name(target), pass_.looked
    )


def _counts(state: QueueState) -> Counts | None:
    """Counts of jobs and of workers; None where the jobs could not be counted."""
    if state.sight is None:
        return None
    counts = state.sight.counts if state.outcomes is None else state.outcomes.onto(state.sight.counts)
    return counts if state.muster is None else state.muster.onto(counts)
