"""``queuewarden report``: what a day, a week or a month came to, for a terminal, a program or a browser."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from queuewarden.adapters import whole_file
from queuewarden.application.by_hand import visit
from queuewarden.application.commands.choice import chosen, env_option, json_option
from queuewarden.application.commands.options import with_configuration
from queuewarden.application.commands.paint import safe, say, waiting
from queuewarden.application.commands.presentation import unreached
from queuewarden.application.upkeep.gathering import gather
from queuewarden.application.upkeep.report_views.document import document
from queuewarden.application.upkeep.report_views.text import lines
from queuewarden.application.upkeep.reports import cleaned, rendered
from queuewarden.engine.upkeep.report.values import DAYS
from queuewarden.errors import QueuewardenError

if TYPE_CHECKING:
    from queuewarden.application.by_hand import Place
    from queuewarden.engine.upkeep.report.values import Period, Report
    from queuewarden.settings.configuration import Configuration

_UNITS = {"": 1, "kb": 2**10, "mb": 2**20, "gb": 2**30, "tb": 2**40}


class Size(click.ParamType):  # type: ignore[type-arg]  # generic only since click 8.2
    """``500MB``, ``20GB``, ``1TB``."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read it."""
        found = re.fullmatch(r"([0-9]{1,15})\s*(kb|mb|gb|tb|)", str(value).strip().lower())
        if found is None or not int(found[1]):
            self.fail(f"{value}: write a whole number and its unit, as in 500MB or 20GB", param, ctx)
        return int(found[1]) * _UNITS[found[2]]


@click.command()
@click.option(
    "--period", type=click.Choice(list(DAYS)), default="week", show_default=True, help="How far back it goes."
)
@env_option()
@json_option
@click.option(
    "--html",
    "html",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write one page that needs nothing else to this file.",
)
@click.option(
    "--size-limit",
    type=Size(),
    metavar="20GB",
    help="Tell in how many months a table reaches this size (otherwise: twice its own).",
)
@with_configuration
@click.pass_context
def report(
    context: click.Context,
    configuration: Configuration,
    /,
    *,
    period: Period,
    environments: tuple[str, ...],
    as_json: bool,
    html: Path | None,
    size_limit: int | None,
) -> None:
    """Tell what a period came to: availability, throughput, failures, repairs, growth, and what to do.

    From samples that the daemon keeps in the ledger, the ledger itself, and failed jobs. Nothing is written
    to a database. Exit code 0; 69: a database could not be reached, or the file not be written.
    """
    if as_json and html is not None:
        raise click.UsageError("--json and --html exclude each other")
    places, _ = chosen(configuration, environments)

    async def read(place: Place) -> Report:
        await place.server()
        made = await gather(place.session, place.config.name, place.targets, period, size_limit=size_limit)
        return cleaned(made)

    with waiting("reading", len(places)) as step:
        visits = visit(configuration, places, None, read, step)
    reports = {one.environment: one.result or safe(one.error or "it failed", 500) for one in visits}
    failed = any(one.error is not None for one in visits)
    if as_json:
        click.echo(json.dumps(document(reports), indent=2))
    elif html is not None:
        try:
            whole_file.write(html, rendered(reports, Path("report.html")))
        except QueuewardenError as error:
            say(f"queuewarden: {error}", err=True)
            context.exit(os.EX_UNAVAILABLE)
        say(f"queuewarden: {html} is written", err=True)
    else:
        _print([one for one in reports.values() if not isinstance(one, str)])
    unreached(visits)
    context.exit(os.EX_UNAVAILABLE if failed else 0)


def _print(reports: list[Report]) -> None:
    width = shutil.get_terminal_size((80, 24)).columns
    for place, one in enumerate(reports):
        if place:
            say()
        for line in lines(one, width):
            say(line.text, line.colour, bold=line.bold)
