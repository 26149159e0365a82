"""``queuewarden backup``: taken, listed, proven, restored."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click
import psycopg

from queuewarden.adapters.db.reasons import reason
from queuewarden.application import ending
from queuewarden.application.by_hand import caller
from queuewarden.application.commands import backup_view
from queuewarden.application.commands.choice import chosen, env_option, json_option
from queuewarden.application.commands.options import with_configuration
from queuewarden.application.commands.paint import safe, say
from queuewarden.application.opening import open_session
from queuewarden.application.upkeep.backups import physical, source, tasks
from queuewarden.application.upkeep.backups.backup import BadBackupError
from queuewarden.application.upkeep.backups.proving import Restorer
from queuewarden.application.upkeep.programs import Workshop
from queuewarden.application.upkeep.running import carry_out
from queuewarden.engine.ledger.schema import read_schema
from queuewarden.engine.primary import require_primary
from queuewarden.engine.upkeep.runs import Wanted
from queuewarden.errors import QueuewardenError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from queuewarden.adapters.db.session import Session
    from queuewarden.adapters.postgres.pgbackrest import Kind
    from queuewarden.application.commands.backup_view import Listed
    from queuewarden.application.upkeep.running import Ran
    from queuewarden.engine.upkeep.config import TaskName
    from queuewarden.engine.upkeep.task import Done, Progress
    from queuewarden.settings.configuration import Configuration, EnvironmentConfig

backup_option = click.option(
    "--backup", "name", metavar="NAME", help="This backup, as `backup list` names it (default: the newest)."
)


@click.group()
def backup() -> None:
    """Take backups, prove them by restoring them, and restore them."""


@backup.command()
@env_option()
@click.option(
    "--type",
    "kind",
    type=click.Choice(["full", "diff", "incr"]),
    help="What pgbackrest takes (default: a full one each week, a differential one each day, else the rest).",
)
@json_option
@with_configuration
@click.pass_context
def run(
    context: click.Context,
    configuration: Configuration,
    /,
    *,
    environments: tuple[str, ...],
    kind: Kind | None,
    as_json: bool,
) -> None:
    """Take a backup of each environment, and remove those that need not be kept any more.

    Exit code 0; 69: one could not be taken, and nothing of it is left; 75: one is being taken already.
    """
    places, _ = chosen(configuration, environments)
    dumped = [one.name for one in places if one.upkeep.pgbackrest is None]
    if kind is not None and dumped:
        raise click.UsageError(f"--type goes with pgbackrest: set UPKEEP__PGBACKREST for {', '.join(dumped)}")

    async def work(place: Workshop) -> Done:
        return await tasks.backup(place, kind)

    context.exit(_each(configuration, places, "backup", work, as_json=as_json))


@backup.command()
@env_option()
@backup_option
@json_option
@with_configuration
@click.pass_context
def verify(
    context: click.Context,
    configuration: Configuration,
    /,
    *,
    environments: tuple[str, ...],
    name: str | None,
    as_json: bool,
) -> None:
    """Prove a backup: restore it into a scratch database, compare, run the checks on it, drop it.

    Exit code 0: it is good; 1: it is not; 69: it could not be tried.
    """
    places, _ = chosen(configuration, environments)

    async def work(place: Workshop) -> Done:
        return await tasks.prove(place, name)

    context.exit(_each(configuration, places, "verify", work, as_json=as_json))


@backup.command("list")
@env_option()
@json_option
@with_configuration
@click.pass_context
def list_(
    context: click.Context, configuration: Configuration, /, *, environments: tuple[str, ...], as_json: bool
) -> None:
    """List the backups, the newest first, and what lies among them that is none.

    No database is asked. Exit code 0; 69: they cannot be read.
    """
    places, _ = chosen(configuration, environments)
    found = [(config, _listed(configuration, config)) for config in places]
    listed = [(config, one) for config, one in found if one is not None]
    if as_json:
        backup_view.tell_json({config.name: one.document for config, one in listed})
    else:
        for config, one in listed:
            backup_view.tell_listed(config, one)
    context.exit(os.EX_UNAVAILABLE if len(listed) < len(found) else 0)


def _listed(configuration: Configuration, config: EnvironmentConfig) -> Listed | None:
    """What there is; None where that cannot be told, which is said."""
    try:
        stanza = physical.stanza(config)
        if stanza is not None:
            return backup_view.held(ending.run(stanza.held()))
        return backup_view.shelved(*tasks.shelf(configuration, config).look())
    except QueuewardenError as error:
        backup_view.refused(config, error)
        return None


@backup.command()
@env_option(required=True)
@backup_option
@click.option(
    "--into", metavar="NEW", help="The new database (default: the old name, and when it was taken)."
)
@click.option(
    "--no-owner", "bare", is_flag=True, help="All is the restoring role's: no owners, no privileges."
)
@with_configuration
@click.pass_context
def restore(
    context: click.Context,
    configuration: Configuration,
    /,
    *,
    environments: tuple[str, ...],
    name: str | None,
    into: str | None,
    bare: bool,
) -> None:
    """Restore a backup into a new database on the environment's server, never over one that is there.

    The database has its name only once it is whole. Exit code 0; 1: the backup is no good; 69: it could not
    be restored.
    """
    places, _ = chosen(configuration, environments)
    if len(places) != 1:
        raise click.UsageError("one environment at a time")
    (config,) = places
    try:
        if (stanza := physical.stanza(config)) is not None:
            raise UnavailableError(
                "pgbackrest restores whole servers, into an empty data directory:"
                f" pgbackrest --stanza={stanza.name} --pg1-path=DIRECTORY restore"
            )
        one = tasks.shelf(configuration, config).find(name)
        new = f"{one.manifest.database}_{one.name}" if into is None else into
        with backup_view.progress(config) as tell:
            restoring = Restorer(configuration, config, tell).restore(one, new, bare=bare)
            ending.run(source.released(restoring))
    except QueuewardenError as error:
        backup_view.refused(config, error)
        context.exit(1 if isinstance(error, BadBackupError) else os.EX_UNAVAILABLE)
    told = f"restored into database {safe(new, 63)}: {one.manifest.rows} rows"
    say(f"{config.name}: {one.name} {told}", "green")


def _each(
    configuration: Configuration,
    places: list[EnvironmentConfig],
    task: TaskName,
    work: Callable[[Workshop], Awaitable[Done]],
    *,
    as_json: bool,
) -> int:
    """Do a task in one environment after the other, recorded where there is a ledger; the exit code."""
    from queuewarden.adapters import logging

    logging.configure(configuration.log_level, configuration.log_format)
    codes, document = [0], {}
    for config in places:
        try:
            with backup_view.progress(config) as tell:
                ran = ending.run(_run(configuration, config, task, work, tell))
        except (QueuewardenError, psycopg.Error) as error:
            backup_view.refused(config, error)
            document[config.name] = {"error": reason(error)}
            codes.append(os.EX_UNAVAILABLE)
            continue
        document[config.name] = backup_view.as_document(ran)
        if not as_json:
            backup_view.tell(config, ran)
        codes.append(backup_view.code(ran))
    if as_json:
        backup_view.tell_json(document)
    return max(codes)


async def _run(
    configuration: Configuration,
    config: EnvironmentConfig,
    task: TaskName,
    work: Callable[[Workshop], Awaitable[Done]],
    tell: Callable[[Progress], None],
) -> Ran:
    book: Session = await open_session(config)
    try:
        await require_primary(book)
        schema = await read_schema(book)
        place = Workshop(configuration, config, book, (), tell)
        wanted = Wanted(config.name, task, caller())
        recorded = book if schema.upkeep else None
        return await carry_out(recorded, wanted, lambda: work(place), config.upkeep.timeout)
    finally:
        book.shut()
        await book.close()
