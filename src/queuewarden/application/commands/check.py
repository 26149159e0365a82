"""``queuewarden check``: the six checks, read-only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from queuewarden.application.by_hand import visit
from queuewarden.application.commands.choice import chosen, env_option, json_option, queue_option
from queuewarden.application.commands.options import with_configuration
from queuewarden.application.commands.paint import waiting
from queuewarden.application.commands.presentation import SHOWN, Presentation
from queuewarden.application.commands.sweeping import sweep, together
from queuewarden.application.sweeps import LISTED
from queuewarden.engine.policy import Policy

if TYPE_CHECKING:
    from queuewarden.settings.configuration import Configuration


@click.command()
@env_option()
@queue_option
@click.option("--lane", metavar="L", help="Only this lane; commas between the values of its columns.")
@json_option
@with_configuration
@click.pass_context
def check(
    context: click.Context,
    configuration: Configuration,
    /,
    *,
    environments: tuple[str, ...],
    queues: tuple[str, ...],
    lane: str | None,
    as_json: bool,
) -> None:
    """Run the six checks and write nothing.

    Anomalies are shown, but do not count. Exit code 0: nothing found; 1: something found, or a mapping does
    not fit; 69: a database could not be reached.
    """
    places, wanted = chosen(configuration, environments, queues)
    policy = Policy(daemon=False, write=False, rows=LISTED if as_json else SHOWN)
    with waiting("checking", len(places)) as step:
        visits = visit(configuration, places, wanted, lambda place: sweep(place, policy, lane), step)
    context.exit(Presentation().tell(together(visits, lane), as_json=as_json))
