"""``queuewarden retry``: failed jobs back to waiting."""

from __future__ import annotations

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
from queuewarden.checks.by_hand import retry_rules

if TYPE_CHECKING:
    from datetime import timedelta

    from queuewarden.model import Rule
    from queuewarden.queues.target import Target
    from queuewarden.settings.configuration import Configuration


@click.command()
@env_option(required=True)
@queue_option
@click.option(
    "--since",
    type=Duration(),
    default="1d",
    show_default=True,
    metavar="1d",
    help="Failed within this time.",
)
@click.option("--dry-run", is_flag=True, help="List what would be put back, and write nothing.")
@json_option
@with_configuration
@click.pass_context
def retry(
    context: click.Context,
    configuration: Configuration,
    /,
    *,
    environments: tuple[str, ...],
    queues: tuple[str, ...],
    since: timedelta,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Put failed jobs back to waiting, their attempts counted from zero.

    Exit code 0: done; 1: something left over, or (in a dry run) something to do; 69: a database could not be
    reached.
    """
    places, wanted = chosen(configuration, environments, queues)
    possible = False

    async def rules(target: Target) -> tuple[Rule, ...]:
        nonlocal possible
        found = retry_rules(target, since)
        possible = possible or bool(found)
        return found

    with waiting("looking" if dry_run else "putting back", len(places)) as step:
        visits = visit(configuration, places, wanted, lambda place: act(place, rules, dry=dry_run), step)
    if not possible and unhindered(visits):
        raise click.UsageError(
            "no queue here maps STATES__FAILED and JOBS__FAILED_AT (or __FINISHED_AT, or __UPDATED_AT)"
        )
    if not dry_run:
        narrate(configuration, visits)
    context.exit(Presentation("put back", dry=dry_run).tell(visits, as_json=as_json))
