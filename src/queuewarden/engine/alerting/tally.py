"""The tally of one environment: what its sweeps tell, as the readings that alert rules are about. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from queuewarden.engine.alerting.notices import About, Observation

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from queuewarden.engine.report import SweepReport
    from queuewarden.model import Anomaly, BrakeChange


@dataclass(slots=True)
class Tally:
    """One environment's.

    Args:
        environment: its name.
    """

    environment: str

    def swept(
        self,
        report: SweepReport,
        anomalies: Sequence[Anomaly],
        brakes: Sequence[BrakeChange],
        lease: Mapping[str, object] | None,
        critical: Collection[str],
        now: float,
    ) -> None:
        """A sweep ended.

        Args:
            report: what it did; a queue whose interval has not passed is not in it and stays as it was.
            anomalies: those that are raised.
            brakes: those that hold.
            lease: who has it, as the status document says it; None where there is no lease.
            critical: queues whose failures are told at once.
            now: a monotonic moment.
        """

    def failed(self, now: float) -> None:
        """Connecting, or a sweep, failed."""

    def observation(self, now: float, *, down: bool, queues: Collection[str]) -> Observation:
        """What is known now.

        Args:
            now: a monotonic moment.
            down: the database cannot be used: nothing but that is known.
            queues: all that there are.
        """
        return Observation(
            self.environment,
            {"environment_down": {About(self.environment): float(down)}},
            frozenset({"environment_down"}),
            queues=None if down else frozenset(queues),
        )
