"""One sweep of one environment, as `check` and `repair` make it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click
import psycopg

from queuewarden.adapters.db.reasons import reason
from queuewarden.application.commands.paint import safe
from queuewarden.application.commands.sweeps import Swept, swept
from queuewarden.engine.lookup import find_lane
from queuewarden.engine.sweep import Sweeper
from queuewarden.errors import QueuewardenError
from queuewarden.settings.names import nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from queuewarden.application.by_hand import Place, Visit
    from queuewarden.engine.policy import Policy
    from queuewarden.queues.target import Target

LANES_SHOWN = 20
"""Lanes that are named where an unknown one was asked for."""


async def sweep(place: Place, policy: Policy, lane: str | None) -> Swept | list[str]:
    """One pass over the place's queues; names of its lanes where it has none of this name.

    Raises:
        UnavailableError, psycopg.Error: the database failed.
        click.UsageError: several queues, or none, have lanes.
    """
    targets = place.targets
    if lane is not None:
        target = _laned(targets)
        await place.server()
        found, there = await find_lane(place.session, target, lane)
        if found is None:
            return there
        targets, policy = [target], replace(policy, lane=found)
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
        broken = str(error) if isinstance(error, QueuewardenError) else reason(error)
    told = []
    if not policy.grace and sweeper.grace.holds(report.server.now):
        told.append(f"grace was overridden ({sweeper.grace.why})")
    result = swept(place, report, fleets=fleets, told=told, broken=broken)
    if lane is not None:
        result = replace(result, faults={targets[0].queue: result.faults.get(targets[0].queue, ())})
    return result


def together(visits: Sequence[Visit[Swept | list[str]]], lane: str | None) -> list[Visit[Swept]]:
    """The visits of environments that have the lane.

    Raises:
        click.BadParameter: none has it; names the nearest.
    """
    kept: list[Visit[Swept]] = []
    others: set[str] = set()
    for visit in visits:
        if isinstance(visit.result, list):
            others |= set(visit.result)
        else:
            kept.append(replace(visit, result=visit.result))  # type: ignore[arg-type]  # narrowed just above
    if not kept:
        shown = sorted(safe(name) for name in others)[:LANES_SHOWN]
        known = nearest(safe(lane), shown)
        raise click.BadParameter(f"unknown lane {safe(lane)}; {known}", param_hint="--lane")
    return kept


def _laned(targets: Sequence[Target]) -> Target:
    laned = [
        target for target in targets if target.mapping.positions is not None and target.mapping.positions.lane
    ]
    if len(laned) == 1:
        return laned[0]
    if laned:
        names = ", ".join(target.queue for target in laned)
        raise click.UsageError(f"several queues have lanes: name one with --queue ({names})")
    raise click.UsageError("no queue here has lanes: map POSITIONS__LANE")
