"""``full_check``: all checks of every queue, read-only, and what they found.

Does: one pass of the checks that are switched on, and says of each queue how many rows each of them found.

Never: writes anything; what is found the next sweep repairs, where it may.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from queuewarden.engine.policy import Policy
from queuewarden.engine.sweep import Sweeper
from queuewarden.engine.upkeep.steps import Steps

if TYPE_CHECKING:
    from queuewarden.engine.report import QueueReport
    from queuewarden.engine.upkeep.config import TaskName
    from queuewarden.engine.upkeep.task import Done, Place

NAME: TaskName = "full_check"

_LOOK = Policy(daemon=False, write=False)


async def run(place: Place) -> Done:
    """See above.

    Raises:
        UnavailableError, psycopg.Error: the database failed before the checks were done.
    """
    steps = Steps(place)
    if not place.targets:
        return steps.done
    # Their liveness is another database's to tell, which only a guard asks.
    elsewhere = {one.queue: None for one in place.targets if one.mapping.workers and one.workers is None}
    sweeper = Sweeper(place.targets[0].environment)
    report = await sweeper.sweep(place.connection.session, place.targets, policy=_LOOK, fleets=elsewhere)
    for queue in report.queues:
        _tell(steps, queue)
        if queue.queue in elsewhere:
            why = "its workers register in another environment, which was not asked"
            steps.note(queue.queue, "workers not judged", "skipped", why)
    return steps.done


def _tell(steps: Steps, queue: QueueReport) -> None:
    """One line for each rule that found something, or failed; one for a queue that is sound."""
    found = [one for one in queue.outcomes if one.found and one.error is None]
    failed = [one for one in queue.outcomes if one.error is not None]
    for one in failed:
        why = one.failure or f"database error {one.error}"
        steps.note(f"{queue.queue}: {one.check}", "not checked", "failed", why)
    for one in found:
        steps.note(queue.queue, f"{one.check}: {one.code} found", "done", amount=one.found)
    if not found and not failed:
        steps.note(queue.queue, "sound", "done", queue.hold or "")
