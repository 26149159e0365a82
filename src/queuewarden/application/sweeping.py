"""One sweep of one environment for somebody who asked for it, by hand or over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

from queuewarden.adapters.db.reasons import reason
from queuewarden.application.sweeps import Swept, swept
from queuewarden.engine.sweep import Sweeper
from queuewarden.errors import QueuewardenError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from queuewarden.application.by_hand import Place
    from queuewarden.engine.policy import Policy
    from queuewarden.queues.target import Target


async def sweep(place: Place, policy: Policy, targets: Sequence[Target]) -> Swept:
    """One pass over some of the place's queues.

    Raises:
        UnavailableError, psycopg.Error: the database failed before anything was done.
    """
    sweeper = Sweeper(place.config.name)
    fleets = await place.liveness.fleets(place.session, targets)
    broken = None
    try:
        report = await sweeper.sweep(
            place.session,
            targets,
            policy=policy,
            standing=place.standing,
            confirm=place.liveness.confirm,
            fleets=fleets,
        )
    except (QueuewardenError, psycopg.Error) as error:
        if sweeper.interrupted is None:
            raise
        report = sweeper.interrupted
        broken = reason(error)
    told = []
    if not policy.grace and sweeper.grace.holds(report.server.now):
        told.append(f"grace was overridden ({sweeper.grace.why})")
    return swept(place, report, fleets=fleets, told=told, broken=broken)


def laned(targets: Sequence[Target]) -> list[Target]:
    """The queues that have lanes."""
    return [one for one in targets if one.mapping.positions is not None and one.mapping.positions.lane]
