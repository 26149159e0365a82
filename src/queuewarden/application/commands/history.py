"""``queuewarden history``: the ledger, as a table, JSON or CSV."""

from __future__ import annotations

import csv
import io
import json
import os
from typing import TYPE_CHECKING, Any

import click

from queuewarden.application.by_hand import visit
from queuewarden.application.changes import document
from queuewarden.application.commands.choice import (
    Duration,
    chosen,
    env_option,
    json_option,
    queue_option,
)
from queuewarden.application.commands.ledger_view import cells, require_ledger
from queuewarden.application.commands.options import with_configuration
from queuewarden.application.commands.paint import aligned, say
from queuewarden.application.commands.presentation import unreached
from queuewarden.checks import CHECKS, by_hand
from queuewarden.engine.ledger.entries import Wanted, batches
from queuewarden.redact import visible

if TYPE_CHECKING:
    from datetime import timedelta

    from queuewarden.application.by_hand import Place
    from queuewarden.model import Change
    from queuewarden.settings.configuration import Configuration


_CHECKS = [*CHECKS, by_hand.NAME]


@click.command()
@env_option()
@queue_option
@click.option("--job", metavar="ID", help="Only this job or worker; commas between the values of its key.")
@click.option("--check", "checks", multiple=True, type=click.Choice(_CHECKS), help="Only this check.")
@click.option("--sweep", metavar="S", help="Only this sweep, as log lines name it.")
@click.option("--since", type=Duration(), metavar="1d", help="Only changes within this time.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="At most so many.")
@json_option
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@with_configuration
@click.pass_context
def history(
    context: click.Context,
    configuration: Configuration,
    /,
    *,
    environments: tuple[str, ...],
    queues: tuple[str, ...],
    job: str | None,
    checks: tuple[str, ...],
    sweep: str | None,
    since: timedelta | None,
    limit: int,
    as_json: bool,
    as_csv: bool,
) -> None:
    """List what was changed, the newest first: before, after, why, and by whom.

    Exit code 0; 69: a database could not be reached, or has no ledger.
    """
    if as_json and as_csv:
        raise click.UsageError("--json and --csv exclude each other")
    places, wanted = chosen(configuration, environments, queues)

    async def read(place: Place) -> list[Change]:
        await require_ledger(place)
        filter_ = Wanted(
            environment=place.config.name,
            queues=tuple(sorted(wanted or ())),
            checks=checks,
            job=job,
            sweep=sweep,
            since=since,
        )
        found: list[Change] = []
        async for batch in batches(place.session, filter_):
            found += batch.changes[: limit - len(found)]
            if len(found) == limit:
                break
        return found

    visits = visit(configuration, places, (), read)
    changes = [change for one in visits for change in one.result or ()]
    if as_json:
        click.echo(json.dumps([document(change) for change in changes], indent=2))
    elif as_csv:
        click.echo(_csv(changes), nl=False)
    else:
        for line in aligned([cells(change) for change in changes]):
            say(line)
        if not changes and all(one.error is None for one in visits):
            say("nothing was changed")
    unreached(visits)
    context.exit(os.EX_UNAVAILABLE if any(one.error is not None for one in visits) else 0)


_COLUMNS = (
    "id", "at", "environment", "queue", "check", "rule", "event", "reason", "table", "key", "actor", "epoch",
    "sweep", "undoes", "undone_by", "before", "after",
)  # fmt: skip


def _csv(changes: list[Change]) -> str:
    """As CSV; images as JSON in one cell. No cell is a formula to a spreadsheet, or harms a terminal."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(_COLUMNS)
    for change in changes:
        row = document(change)
        writer.writerow([_cell(row[name]) for name in _COLUMNS])
    return out.getvalue()


def _cell(value: Any) -> str:
    if isinstance(value, dict | list):
        value = json.dumps(value)
    text = "" if value is None else visible(str(value))
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
