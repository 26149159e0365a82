"""``queuewarden resume``: the end of a pause."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from queuewarden.application.by_hand import caller, visit
from queuewarden.application.commands.choice import chosen
from queuewarden.application.commands.ledger_view import require_ledger
from queuewarden.application.commands.options import with_configuration
from queuewarden.application.commands.paint import safe, say
from queuewarden.application.commands.presentation import unreached
from queuewarden.engine import pauses

if TYPE_CHECKING:
    from queuewarden.application.by_hand import Place
    from queuewarden.settings.configuration import Configuration


@click.command()
@click.argument("environment", metavar="ENV")
@click.option("--id", "ids", multiple=True, type=int, metavar="N", help="Only this one; may be repeated.")
@with_configuration
@click.pass_context
def resume(
    context: click.Context, configuration: Configuration, /, *, environment: str, ids: tuple[int, ...]
) -> None:
    """End all pauses of a database; maintenance windows only by their id (`queuewarden pause ENV --list`).

    Exit code 0; 1: there was nothing to end; 69: the database could not be reached, or has no ledger.
    """
    places, _ = chosen(configuration, [environment])

    async def work(place: Place) -> list[pauses.Pause]:
        await require_ledger(place)
        return await pauses.end_pauses(place.session, by=caller(), ids=ids or None)

    visits = visit(configuration, places, (), work)
    for one in visits:
        for ended in one.result or ():
            say(f"{one.environment}: {ended.kind} {ended.id} ended ({safe(ended.reason, 200)})", "green")
        if one.result == []:
            say(f"{one.environment}: nothing to end", "yellow")
    unreached(visits)
    if any(one.error is not None for one in visits):
        context.exit(os.EX_UNAVAILABLE)
    context.exit(int(not any(one.result for one in visits)))
