"""``queuewarden reset``: running jobs back to waiting, by hand."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import click

from queuewarden.application.by_hand import visit
from queuewarden.application.commands.acting import act, unhindered
from queuewarden.application.commands.choice import (
    Duration,
    chosen,
    env_option,
    json_option,
    queue_option,
)
from queuewarden.application.commands.options import with_configuration
from queuewarden.application.commands.paint import waiting
from queuewarden.application.commands.presentation import Presentation
from queuewarden.application.sweeps import narrate
from queuewarden.checks.by_hand import Wanted, reset_rules
from queuewarden.engine.lookup import states_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import timedelta

    from queuewarden.application.by_hand import Place, Visit
    from queuewarden.application.sweeps import Swept
    from queuewarden.model import Key, Rule
    from queuewarden.queues.target import Target
    from queuewarden.settings.configuration import Configuration


@click.command()
@env_option(required=True)
@queue_option
@click.option(
    "--older-than",
    type=Duration(),
    metavar="5m",
    help="Running for longer than this. Without --worker and --job the default is the queue's STUCK_AFTER.",
)
@click.option("--worker", "workers", multiple=True, metavar="W", help="Of this worker; may be repeated.")
@click.option(
    "--job",
    "jobs",
    multiple=True,
    metavar="ID",
    help="This job; commas inside a composite key; may be repeated.",
)
@click.option("--dry-run", is_flag=True, help="List what would be reset, and write nothing.")
@json_option
@with_configuration
@click.pass_context
def reset(
    context: click.Context,
    configuration: Configuration,
    /,
    *,
    environments: tuple[str, ...],
    queues: tuple[str, ...],
    older_than: timedelta | None,
    workers: tuple[str, ...],
    jobs: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
) -> None:
    """Put running jobs back to waiting, alive or not: those that meet all that is given.

    Unlike the daemon's resets these do not count against the rescue budget. Exit code 0: done; 1: something
    left over, a job that was named is not running, or (in a dry run) something to do; 69: a database could
    not be reached.
    """
    places, wanted = chosen(configuration, environments, queues)
    asked = _Asked(older_than, workers, jobs)
    with waiting("looking" if dry_run else "resetting", len(places)) as step:
        visits = visit(
            configuration, places, wanted, lambda place: act(place, asked.of(place), dry=dry_run), step
        )
    if not asked.possible and unhindered(visits):
        raise click.UsageError(asked.remedy)
    if not dry_run:
        narrate(configuration, visits)
    strangers = asked.strangers() if asked.possible else []
    told = [_told(one, strangers) for one in visits]
    code = Presentation("reset", dry=dry_run).tell(told, as_json=as_json)
    context.exit(code or int(bool(strangers)))


@dataclass(slots=True)
class _Asked:
    """What was asked for, and what became of the jobs that were named.

    Attributes:
        possible: some queue maps what it has to go by.
        states: the status of each job that was named, where it exists.
        running: jobs that were named and found running.
    """

    older_than: timedelta | None
    workers: tuple[str, ...]
    jobs: tuple[str, ...]
    possible: bool = False
    states: dict[str, str] = field(default_factory=dict)
    running: set[str] = field(default_factory=set)

    @property
    def remedy(self) -> str:
        if self.jobs:
            return "--job does not fit the key of any queue here: write its values with commas between them"
        if self.workers:
            return "no queue here maps JOBS__WORKER, which --worker goes by"
        return "no queue here maps JOBS__STARTED_AT, __HEARTBEAT or __UPDATED_AT, which an age goes by"

    def of(self, place: Place) -> Callable[[Target], Awaitable[tuple[Rule, ...]]]:
        """The rules for each queue of a place."""
        return functools.partial(self._rules, place)

    def strangers(self) -> list[str]:
        """What to say of jobs that were named and are not running."""
        return [
            f"job {name} is {self.states[name]}, not running"
            if name in self.states
            else f"there is no job {name}"
            for name in self.jobs
            if name not in self.running
        ]

    async def _rules(self, place: Place, target: Target) -> tuple[Rule, ...]:
        older_than = self.older_than
        if older_than is None and not self.workers and not self.jobs:
            older_than = target.limits.stuck_after
        wanted = Wanted(older_than, self.workers)
        if self.jobs:
            self.possible = self.possible or _fit(target, self.jobs)
            wanted = replace(wanted, keys=await self._keys(place, target))
            if not wanted.keys:
                return ()
        rules = reset_rules(target, wanted)
        self.possible = self.possible or bool(rules)
        return rules

    async def _keys(self, place: Place, target: Target) -> tuple[Key, ...]:
        """Of the jobs that were named, those that are running here."""
        columns = len(target.mapping.jobs.id)
        keys: list[Key] = []
        for name in self.jobs:
            asked = tuple(name.split(",")) if columns > 1 else (name,)
            if len(asked) != columns:
                continue
            for key, state in (await states_of(place.session, target, [asked])).items():
                self.states[name] = state
                if state == "running" or state in target.mapping.states.running:
                    self.running.add(name)
                    keys.append(key)
        return tuple(keys)


def _fit(target: Target, names: tuple[str, ...]) -> bool:
    columns = len(target.mapping.jobs.id)
    return columns == 1 or any(name.count(",") + 1 == columns for name in names)


def _told(visit: Visit[Swept], strangers: list[str]) -> Visit[Swept]:
    if visit.result is None:
        return visit
    return replace(visit, result=replace(visit.result, told=tuple(strangers)))
