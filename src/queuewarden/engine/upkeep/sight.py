"""What is known of the tasks that are switched on, and the readings that alert rules are about."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from queuewarden.engine.alerting.notices import About
from queuewarden.engine.upkeep import proofs, runs
from queuewarden.engine.upkeep.config import TASKS
from queuewarden.engine.upkeep.schedule import due

if TYPE_CHECKING:
    from collections.abc import Mapping

    from queuewarden.adapters.db.session import Session
    from queuewarden.engine.upkeep.config import TaskName, Upkeep
    from queuewarden.engine.upkeep.runs import Known
    from queuewarden.engine.upkeep.schedule import Due

FAILED, OVERDUE, UNPROVEN = "upkeep_failed", "upkeep_overdue_seconds", "backup_verified_age_seconds"
READINGS = frozenset({FAILED, OVERDUE, UNPROVEN})
"""The readings that come from here."""


@dataclass(frozen=True, slots=True)
class Sight:
    """One look.

    Attributes:
        known: each task that is switched on, in the order in which those that are due at once are run.
        dues: what is to be done about them.
        at: the monotonic moment of the look; the database's is in `known`.
        proven_age: seconds since the newest proven backup was taken; None where backups are not switched on.
        proven_within: how many these may be.
    """

    known: tuple[Known, ...]
    dues: Mapping[TaskName, Due]
    at: float
    proven_age: float | None = None
    proven_within: float = 0.0

    def overdue(self, one: Known, now: float) -> float:
        """Seconds, at a monotonic moment, since a task should have begun; 0 where it need not.

        A moment that was missed counts, too, until somebody has recorded that: else a timer that does not
        run would never be noticed.
        """
        due_ = self.dues.get(one.task)
        if due_ is None or due_.verdict == "first":
            return 0.0
        return max(0.0, (one.now - due_.begin).total_seconds()) + now - self.at

    def readings(self, environment: str, now: float) -> dict[str, dict[About, float]]:
        """By metric, at a monotonic moment."""
        return {
            FAILED: {
                About(environment, subject=one.task): float(one.result != "done")
                for one in self.known
                if one.result is not None
            },
            OVERDUE: {About(environment, subject=one.task): self.overdue(one, now) for one in self.known},
            UNPROVEN: (
                {}
                if self.proven_age is None
                else {About(environment): max(0.0, self.proven_age + now - self.at - self.proven_within)}
            ),
        }


NOTHING = Sight((), {}, 0.0)
"""Where no task is switched on, nothing has failed or is overdue."""


async def look(session: Session, environment: str, upkeep: Upkeep) -> Sight:
    """Look at the record.

    Raises:
        psycopg.Error: as the server reports it.
    """
    at = time.monotonic()
    known = await runs.known(session, environment, [task for task in TASKS if task in upkeep.schedule])
    found = (due(upkeep, environment, one.task, one.last, one.now) for one in known)
    dues: dict[TaskName, Due] = {one.task: one for one in found if one is not None}
    age = await proofs.age(session, environment) if {"backup", "verify"} & upkeep.schedule.keys() else None
    return Sight(tuple(known), dues, at, age, upkeep.verified_within.total_seconds())
