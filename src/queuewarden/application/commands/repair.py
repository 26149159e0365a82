"""``queuewarden repair``: one sweep now, by the daemon's own rules."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from queuewarden.application import plan_file
from queuewarden.application.by_hand import Visit, caller, visit
from queuewarden.application.commands.choice import chosen, env_option, json_option, queue_option
from queuewarden.application.commands.options import with_configuration
from queuewarden.application.commands.paint import safe, say, waiting
from queuewarden.application.commands.planning import apply_plan, plan_of
from queuewarden.application.commands.presentation import Presentation
from queuewarden.application.commands.sweeping import sweep, together
from queuewarden.application.sweeps import LISTED, Swept, narrate, planned
from queuewarden.checks import CHECKS
from queuewarden.engine.policy import Policy

if TYPE_CHECKING:
    from queuewarden.application.by_hand import Place
    from queuewarden.application.plan_file import EnvironmentPlan
    from queuewarden.settings.configuration import Configuration

EVERY = 10_000_000
"""Rows of each rule that a plan takes in."""


@click.command()
@env_option()
@queue_option
@click.option("--lane", metavar="L", help="Only this lane; commas between the values of its columns.")
@click.option(
    "--only",
    multiple=True,
    metavar="CHECK",
    type=click.Choice(list(CHECKS)),
    help=f"Only this check; may be repeated. {', '.join(CHECKS)}.",
)
@click.option("--dry-run", is_flag=True, help="List what would be repaired, and write nothing.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="With --dry-run: write a plan, which --plan applies later.",
)
@click.option(
    "--plan",
    "plan_path",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    metavar="FILE",
    help="Apply exactly this plan, to rows that have not changed since.",
)
@click.option("--no-grace", is_flag=True, help="Judge at once, even just after the server's start.")
@json_option
@with_configuration
@click.pass_context
def repair(
    context: click.Context,
    configuration: Configuration,
    /,
    *,
    environments: tuple[str, ...],
    queues: tuple[str, ...],
    lane: str | None,
    only: tuple[str, ...],
    dry_run: bool,
    out: Path | None,
    plan_path: Path | None,
    no_grace: bool,
    as_json: bool,
) -> None:
    """Make one sweep now, by the daemon's own rules.

    The mass brakes only warn. Where MODE is observe nothing is repaired, unless
    QUEUEWARDEN_ENV__E__QUEUE__Q__MODE=repair is set, if only for this call. Exit code 0: nothing left;
    1: something left over (in a dry run: something found), or a mapping does not fit; 69: a database could
    not be reached.
    """
    _check(dry_run=dry_run, out=out, plan_path=plan_path, narrowed=bool(lane or only))
    places, wanted = chosen(configuration, environments, queues)
    if plan_path is not None:
        plans = _read(plan_path)
        places = [one for one in places if one.name in plans]
        if not places:
            raise click.UsageError(f"the plan speaks of {', '.join(map(safe, plans)) or 'nothing'} only")
        with waiting("repairing", len(places)) as step:
            visits = visit(
                configuration,
                places,
                wanted,
                lambda place: apply_plan(place, plans[place.config.name], grace=not no_grace),
                step,
            )
        narrate(configuration, visits)
        context.exit(Presentation("repaired").tell(visits, as_json=as_json))
    policy = Policy(
        daemon=False,
        write=not dry_run,
        grace=not no_grace,
        only=only or None,
        rows=EVERY if out is not None else LISTED,
        intend=out is not None,
    )
    made_plans: dict[str, EnvironmentPlan] = {}

    async def work(place: Place) -> Swept | list[str]:
        result = await sweep(place, policy, lane)
        if out is not None and isinstance(result, Swept):
            once = planned(Visit(place.config.name, result)).result or result
            made_plans[place.config.name] = await plan_of(place, once)
        return result

    with waiting("looking" if dry_run else "repairing", len(places)) as step:
        made = visit(configuration, places, wanted, work, step)
    visits = together(made, lane)
    if dry_run:
        visits = [planned(one) for one in visits]
    else:
        narrate(configuration, visits)
    code = Presentation("repaired", dry=dry_run).tell(visits, as_json=as_json)
    if out is not None:
        _write(out, made_plans)
    context.exit(code)


def _check(*, dry_run: bool, out: Path | None, plan_path: Path | None, narrowed: bool) -> None:
    if out is not None and not dry_run:
        raise click.UsageError("--out goes with --dry-run: a plan is what has not been done yet")
    if plan_path is not None and (dry_run or narrowed):
        raise click.UsageError("--plan applies a plan as it is, without --dry-run, --lane or --only")


def _read(path: Path) -> dict[str, EnvironmentPlan]:
    try:
        return plan_file.read(path)
    except plan_file.PlanError as error:
        raise click.BadParameter(safe(error, 500), param_hint="--plan") from None


def _write(path: Path, plans: dict[str, EnvironmentPlan]) -> None:
    try:
        plan_file.write(path, plans, caller())
    except OSError as error:
        raise click.BadParameter(f"{path} cannot be written: {error.strerror}", param_hint="--out") from None
    count = sum(len(one.findings) for one in plans.values())
    say(f"plan of {count} changes written to {path}; to apply it: queuewarden repair --plan {path}", err=True)
