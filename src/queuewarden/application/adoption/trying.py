"""Trying a plan: what a sweep would find with it, by the same engine as ``check``; nothing is written."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from queuewarden.application import sweeping
from queuewarden.application.by_hand import visit
from queuewarden.engine.policy import Policy
from queuewarden.engine.resolve import resolve
from queuewarden.settings import load

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path

    from queuewarden.application.adoption.planning import Plan
    from queuewarden.application.by_hand import Place, Visit
    from queuewarden.application.sweeps import Swept
    from queuewarden.settings.configuration import EnvironmentConfig

PATIENCE = timedelta(seconds=10)
"""The longest that one statement runs."""


@dataclass(frozen=True, slots=True)
class Tried:
    """One environment with the plan in force.

    Attributes:
        needed: of each queue, what is missing before it may be repaired.
    """

    swept: Swept
    needed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def hurried(environments: Sequence[EnvironmentConfig]) -> list[EnvironmentConfig]:
    """The environments with statements that may not take long."""
    return [
        replace(
            one, limits=replace(one.limits, statement_timeout=min(PATIENCE, one.limits.statement_timeout))
        )
        for one in environments
    ]


def attempt(
    plan: Plan,
    environments: Collection[str],
    environ: Mapping[str, str],
    config_file: Path | None,
    rows: int,
    told: Callable[[str], None] = lambda _: None,
) -> list[Visit[Tried]]:
    """One sweep over the plan's queues in each of some environments, as they would be configured.

    Args:
        plan: what was proposed.
        environments: where it was found.
        environ: the process environment.
        config_file: the file that was named on the command line, if any.
        rows: how many findings of each rule to list.
        told: called with the name of each environment that is done.
    """
    variables = {**plan.variables, **plan.told}
    rest = {name: text for name, text in environ.items() if name.upper() not in variables}
    configuration = load.explain({**rest, **variables}, config_file).configuration
    policy = Policy(daemon=False, write=False, rows=rows)
    found = {one: {queue.name for queue in plan.queues if one in queue.environments} for one in environments}

    async def work(place: Place) -> Tried:
        names = found[place.config.name]
        place = replace(
            place,
            resolutions={name: one for name, one in place.resolutions.items() if name in names},
            hints=(),
        )
        swept = await sweeping.sweep(place, policy, place.targets)
        needed = {}
        for mapping in place.config.queues:
            if mapping.name in names:
                limits = replace(place.config.queue_limits[mapping.name], mode="repair")
                whole = await resolve(place.session, place.config.name, mapping, limits)
                known = place.resolutions[mapping.name].faults
                needed[mapping.name] = tuple(one for one in whole.faults if one not in known)
        return Tried(swept, needed)

    chosen = hurried([one for one in configuration.environments if found.get(one.name)])
    return visit(configuration, chosen, {one.name for one in plan.queues}, work, told) if chosen else []
