"""``queuewarden undo``: rows back to what they were before a change."""

from __future__ import annotations

import json
import os
import uuid
from typing import TYPE_CHECKING

import click

from queuewarden.application.by_hand import caller, visit
from queuewarden.application.changes import document
from queuewarden.application.commands.choice import Duration, chosen, env_option, json_option
from queuewarden.application.commands.ledger_view import differences, require_ledger
from queuewarden.application.commands.options import with_configuration
from queuewarden.application.commands.paint import aligned, safe, say
from queuewarden.application.commands.presentation import unreached
from queuewarden.engine.ledger.book import Book
from queuewarden.engine.ledger.entries import Wanted
from queuewarden.engine.undo import EVENT, Undone
from queuewarden.engine.undo import undo as take_back

if TYPE_CHECKING:
    from datetime import timedelta

    from queuewarden.application.by_hand import Place
    from queuewarden.settings.configuration import Configuration

SHOWN = 20
"""Rows of each kind that people are shown."""


@click.command()
@env_option(required=True)
@click.option("--id", "ids", multiple=True, type=int, metavar="N", help="This change; may be repeated.")
@click.option("--sweep", metavar="S", help="All changes of this sweep, as log lines name it.")
@click.option("--since", type=Duration(), metavar="10m", help="All changes within this time.")
@click.option("--dry-run", is_flag=True, help="List what would be put back, and write nothing.")
@json_option
@with_configuration
@click.pass_context
def undo(
    context: click.Context,
    configuration: Configuration,
    /,
    *,
    environments: tuple[str, ...],
    ids: tuple[int, ...],
    sweep: str | None,
    since: timedelta | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Put rows back to what they were before a repair, where they still are what it made of them.

    A row that was put back is left alone by every check until it changes. An undo is in the ledger itself and
    can be undone by its id. Exit code 0: all was put back; 1: something was refused, or there was nothing to
    undo; 69: a database could not be reached, or has no ledger.
    """
    if sum((bool(ids), sweep is not None, since is not None)) != 1:
        raise click.UsageError("name the changes: --id (see `queuewarden history`), --sweep or --since")
    places, _ = chosen(configuration, environments)
    if ids and len(places) > 1:
        raise click.UsageError("ids are those of one database: name one environment")
    mark = uuid.uuid4().hex[:8]

    async def work(place: Place) -> None:
        await require_ledger(place)
        wanted = Wanted(
            environment=None if ids else place.config.name,
            ids=ids or None,
            sweep=sweep,
            since=since,
            undos=bool(ids),
        )
        async for one in take_back(place.session, wanted, Book(mark, caller()), dry=dry_run):
            done[place.config.name].append(one)

    # What was put back is told, whatever comes in between later.
    done: dict[str, list[Undone]] = {one.name: [] for one in places}
    visits = visit(configuration, places, (), work)
    unknown = sorted(set(ids) - {one.change.id for found in done.values() for one in found})
    if not dry_run:
        _narrate(configuration, done, mark)
    if as_json:
        shown = {
            name: [document(one.change) | {"refused": one.refused} for one in found]
            for name, found in done.items()
        }
        click.echo(json.dumps({"dry_run": dry_run, "environments": shown}, indent=2))
    else:
        told = [one.environment for one in visits if one.error is None or done[one.environment]]
        for name in told:
            _print(name, done[name], dry=dry_run)
    unreached(visits)
    if any(one.error is not None for one in visits):
        context.exit(os.EX_UNAVAILABLE)
    for number in unknown:
        say(f"queuewarden: the ledger has no change {number}", err=True)
    everything = [one for found in done.values() for one in found]
    context.exit(int(bool(unknown) or not everything or any(one.refused for one in everything)))


def _print(environment: str, found: list[Undone], *, dry: bool) -> None:
    back = [one for one in found if one.refused is None]
    left = [one for one in found if one.refused is not None]
    say(f"{environment}: {len(back)} {'would be ' if dry else ''}put back, {len(left)} refused", bold=True)
    for rows, colour in ((back, "green"), (left, "red")):
        lines = aligned([_cells(one) for one in rows[:SHOWN]], "    ")
        for line in lines:
            say(line, colour)
        if len(rows) > SHOWN:
            say(f"    and {len(rows) - SHOWN} more", colour)


def _cells(one: Undone) -> tuple[str, ...]:
    finding = one.change.finding
    key = ",".join(safe(part) for part in finding.key)
    what = f"refused: {safe(one.refused, 200)}" if one.refused is not None else _reversed(one)
    return str(one.change.id), f"{finding.queue}", key, what


def _reversed(one: Undone) -> str:
    return f"was {differences(one.change)}"


def _narrate(configuration: Configuration, done: dict[str, list[Undone]], mark: str) -> None:
    """One line for each environment, as for every command that writes."""
    import structlog

    from queuewarden.adapters import logging

    logging.configure(configuration.log_level, configuration.log_format)
    for name, found in done.items():
        back = [one.change.id for one in found if one.refused is None]
        if back:
            structlog.get_logger().info(
                EVENT,
                environment=name,
                sweep=mark,
                by=caller(),
                count=len(back),
                refused=len(found) - len(back),
                changes=back[:SHOWN],
            )
