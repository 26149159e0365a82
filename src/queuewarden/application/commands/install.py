"""``queuewarden install``: the schema for ledger, lease and pauses."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click
import psycopg

from queuewarden.adapters.db.reasons import primary_message
from queuewarden.application.by_hand import visit
from queuewarden.application.commands.choice import chosen, env_option
from queuewarden.application.commands.options import with_configuration
from queuewarden.application.commands.paint import safe, say
from queuewarden.application.commands.presentation import unreached
from queuewarden.engine.ledger import schema
from queuewarden.errors import UnavailableError

if TYPE_CHECKING:
    from queuewarden.application.by_hand import Place
    from queuewarden.settings.configuration import Configuration


@click.command()
@env_option()
@click.option(
    "--print", "only_print", is_flag=True, help="Print the SQL, for whoever applies it; connect nowhere."
)
@with_configuration
@click.pass_context
def install(
    context: click.Context,
    configuration: Configuration,
    /,
    *,
    environments: tuple[str, ...],
    only_print: bool,
) -> None:
    """Create, or upgrade, schema queuewarden: the ledger, the lease, pauses.

    It takes the right to create a schema in the database, which a guard's own role need not have; then print
    the SQL and let an administrator apply it. Safe to repeat, and to run twice at once. Exit code 0: it is
    there; 1: refused by the database; 69: a database could not be reached.
    """
    places, _ = chosen(configuration, environments)
    if only_print:
        click.echo(schema.script(), nl=False)
        return
    visits = visit(configuration, places, (), _install)
    for one in visits:
        if one.result is not None:
            done, text = one.result
            say(f"{one.environment}: {safe(text, 500)}", "green" if done else "red")
    unreached(visits)
    if any(one.error is not None for one in visits):
        context.exit(os.EX_UNAVAILABLE)
    context.exit(int(not all(one.result and one.result[0] for one in visits)))


async def _install(place: Place) -> tuple[bool, str]:
    """Whether it is there now, and what was done."""
    await place.server()
    before = place.schema.version
    try:
        await place.session.script(schema.script())
    except psycopg.Error as error:
        if error.sqlstate is None:
            raise
        said = primary_message(error) or error.sqlstate
        return False, f"not installed: {said}; have an administrator apply `queuewarden install --print`"
    now = await schema.read_schema(place.session)
    if now.version is None:
        raise UnavailableError("the schema is not to be seen after it was installed")
    if now.faults:
        return False, now.faults[0]
    if before is None:
        return True, f"schema queuewarden installed, version {now.version}"
    if before != now.version:
        return True, f"schema queuewarden upgraded from version {before} to {now.version}"
    return True, f"schema queuewarden is there, version {now.version}"
