"""One sweep of one environment, as `check` and `repair` make it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from queuewarden.application import sweeping
from queuewarden.application.commands.paint import safe
from queuewarden.engine.lookup import find_lane
from queuewarden.settings.names import nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from queuewarden.application.by_hand import Place, Visit
    from queuewarden.application.sweeps import Swept
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
    if lane is None:
        return await sweeping.sweep(place, policy, place.targets)
    target = _laned(place.targets)
    await place.server()
    found, there = await find_lane(place.session, target, lane)
    if found is None:
        return there
    result = await sweeping.sweep(place, replace(policy, lane=found), [target])
    return replace(result, faults={target.queue: result.faults.get(target.queue, ())})


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
    laned = sweeping.laned(targets)
    if len(laned) == 1:
        return laned[0]
    if laned:
        names = ", ".join(target.queue for target in laned)
        raise click.UsageError(f"several queues have lanes: name one with --queue ({names})")
    raise click.UsageError("no queue here has lanes: map POSITIONS__LANE")
