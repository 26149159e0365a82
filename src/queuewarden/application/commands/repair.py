"""``queuewarden repair``: one sweep now, by the daemon's own rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from queuewarden.application.by_hand import visit
from queuewarden.application.commands.choice import chosen, env_option, json_option, queue_option
from queuewarden.application.commands.options import with_configuration
from queuewarden.application.commands.paint import waiting
from queuewarden.application.commands.presentation import Presentation
from queuewarden.application.commands.sweeping import sweep, together
from queuewarden.application.commands.sweeps import LISTED, narrate, planned
from queuewarden.checks import CHECKS
from queuewarden.engine.policy import Policy

if TYPE_CHECKING:
    from queuewarden.settings.configuration import Configuration


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
    no_grace: bool,
    as_json: bool,
) -> None:
    """Make one sweep now, by the daemon's own rules.

    The mass brakes only warn. Where MODE is observe nothing is repaired, unless
    QUEUEWARDEN_ENV__E__QUEUE__Q__MODE=repair is set, if only for this call. Exit code 0: nothing left;
    1: something left over (in a dry run: something found), or a mapping does not fit; 69: a database could
    not be reached.
    """
    places, wanted = chosen(configuration, environments, queues)
    policy = Policy(
        daemon=False,
        write=not dry_run,
        grace=not no_grace,
        only=only or None,
        rows=LISTED,
    )
    with waiting("looking" if dry_run else "repairing", len(places)) as step:
        made = visit(configuration, places, wanted, lambda place: sweep(place, policy, lane), step)
    visits = together(made, lane)
    if dry_run:
        visits = [planned(one) for one in visits]
    else:
        narrate(configuration, visits)
    context.exit(Presentation("repaired", dry=dry_run).tell(visits, as_json=as_json))
