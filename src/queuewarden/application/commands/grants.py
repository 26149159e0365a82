"""``queuewarden grants``: the role that suffices, as SQL."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click
from psycopg import sql

from queuewarden.adapters.db.session import Query
from queuewarden.application.by_hand import visit
from queuewarden.application.commands.choice import chosen, env_option
from queuewarden.application.commands.options import with_configuration
from queuewarden.application.commands.presentation import unreached
from queuewarden.engine.grants import statements

if TYPE_CHECKING:
    from queuewarden.application.by_hand import Place
    from queuewarden.engine.resolve import Resolution
    from queuewarden.settings.configuration import Configuration


@click.command()
@env_option(required=True)
@click.option("--role", default="queuewarden", show_default=True, metavar="NAME", help="The role's name.")
@with_configuration
@click.pass_context
def grants(
    context: click.Context,
    configuration: Configuration,
    /,
    *,
    environments: tuple[str, ...],
    role: str,
) -> None:
    """Print the SQL that makes a role with just the rights that a guard of this environment needs.

    It reads the catalog as whoever the DSN names, and writes nothing: an administrator applies what is
    printed, after `queuewarden install`. Exit code 0; 1: some queue could not be read; 69: the database could
    not be reached.
    """
    places, _ = chosen(configuration, environments)

    async def work(place: Place) -> tuple[list[str], list[str]]:
        await place.server()
        ((database,),) = await place.session.rows(Query(b"SELECT current_database()::text", {}))
        missing = [name for name, one in place.resolutions.items() if one.target is None or not _whole(one)]
        return statements(place.resolutions.values(), sql.Identifier(role), database), missing

    visits = visit(configuration, places, None, work)
    missing: list[str] = []
    for one in visits:
        if one.result is not None:
            lines, unread = one.result
            click.echo("\n".join(lines))
            missing += [f"{one.environment}/{queue}" for queue in unread]
    unreached(visits)
    for name in missing:
        click.echo(f"queuewarden: {name} does not fit the database: rights for it are missing here", err=True)
    if any(one.error is not None for one in visits):
        context.exit(os.EX_UNAVAILABLE)
    context.exit(int(bool(missing)))


def _whole(resolution: Resolution) -> bool:
    """All that the mapping names is there; that rights are missing is what the command is for."""
    return all("no right to" in fault or fault in resolution.fit.rights for fault in resolution.faults)
