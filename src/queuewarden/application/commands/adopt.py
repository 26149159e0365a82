"""``queuewarden adopt``: look at a database, propose how to guard the queues in it, write that down."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from queuewarden.application.adoption import document
from queuewarden.application.adoption.looking import Looked, look
from queuewarden.application.adoption.planning import Plan, plan
from queuewarden.application.adoption.trying import attempt, hurried
from queuewarden.application.adoption.writing import WriteError, append
from queuewarden.application.by_hand import Visit, visit
from queuewarden.application.commands import adopt_view
from queuewarden.application.commands.choice import chosen, env_option, json_option
from queuewarden.application.commands.options import config_option, load_or_exit
from queuewarden.application.commands.paint import safe, say, waiting
from queuewarden.application.commands.presentation import SHOWN, Presentation, unreached
from queuewarden.errors import ConfigurationError
from queuewarden.redact import redact, visible
from queuewarden.settings import load, mapped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from queuewarden.application.adoption.trying import Tried
    from queuewarden.application.sweeps import Swept
    from queuewarden.model import Mode
    from queuewarden.queues.mapping import TableName


_INSTEAD = ", as in: QUEUEWARDEN_DSN=postgresql://you@host/database queuewarden adopt"


class _Table(click.ParamType):  # type: ignore[type-arg]  # generic only since click 8.2
    """``[schema.]name``, as a variable spells it."""

    name = "table"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> TableName:
        """Read it as the settings do."""
        try:
            return mapped.table(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command()
@env_option()
@click.option(
    "--table",
    "tables",
    multiple=True,
    type=_Table(),
    metavar="[S.]T",
    help="Only this table, however little it looks like a queue; may be repeated.",
)
@click.option(
    "--mode",
    type=click.Choice(["observe", "repair"]),
    help="What MODE to propose.  [default: observe for tables that no preset knows]",
)
@click.option(
    "--write", "file", type=click.Path(path_type=Path), metavar="FILE", help="Put the lines into this file."
)
@click.option("--yes", is_flag=True, help="Write without asking.")
@json_option
@config_option
@click.pass_context
def adopt(
    context: click.Context,
    /,
    *,
    environments: tuple[str, ...],
    tables: tuple[TableName, ...],
    mode: Mode | None,
    file: Path | None,
    yes: bool,
    as_json: bool,
    config_file: Path | None,
) -> None:
    """Look at databases, propose how to guard the queues in them, show what a sweep would find.

    Tables of known libraries are named by their preset. Others are mapped by what their columns are called,
    what points where, and what some thousand of their rows have in them; each choice is shown with its
    reason. The database is only read. With --write the variables go into a file, once you have said yes.

    Exit code 0: something is proposed, or guarded already; 1: nothing was found, or nothing was written;
    69: a database could not be reached.
    """
    if as_json and file is not None and not yes:
        raise click.UsageError("--json cannot ask: add --yes to have --write write")
    loaded = load_or_exit(config_file, instead=_INSTEAD)
    places, _ = chosen(loaded.configuration, environments)
    with waiting("looking", len(places)) as step:
        visits = visit(
            loaded.configuration,
            hurried(places),
            (),
            lambda place: look(place.session, () if place.config.discover else place.config.queues, tables),
            step,
        )
    found = {one.environment: one.result for one in visits if one.result is not None}
    proposed = plan(found, loaded, os.environ, config_file, mode)
    if not as_json:
        adopt_view.show_found(visits, proposed, named=bool(tables))
    with waiting("trying", len(found)) as step:
        tried = attempt(proposed, found, os.environ, config_file, SHOWN, step) if proposed.queues else []
    if not as_json:
        _show_tried(tried, proposed)
    if not as_json and file is None and proposed.queues:
        adopt_view.show_lines(proposed)
    written = _written(proposed, file, yes=yes) if file is not None and proposed.queues else None
    if as_json:
        whole = redact(document.document(visits, proposed, tried, written), names=False)
        # Names of tables and columns, and words: to be set as they are.
        click.echo(json.dumps({**whole, "variables": proposed.variables}, indent=2))
    elif file is None and proposed.queues:
        say()
        say("To have them put into a file: queuewarden adopt --write FILE")
    unreached([*visits, *(one for one in tried if one.error is not None)])
    context.exit(_code(visits, tried, written=written is not None or file is None))


def _show_tried(tried: Sequence[Visit[Tried]], proposed: Plan) -> None:
    swept = [Visit(one.environment, _unheld(one.result.swept)) for one in tried if one.result is not None]
    if swept:
        say()
        say("So configured, `queuewarden check` finds just now (nothing was written):", bold=True)
        adopt_view.show_counts(swept)
        Presentation().tell(swept, as_json=False)
    adopt_view.show_needed(tried, proposed)


def _unheld(swept: Swept) -> Swept:
    """Without the word, at each finding, that it is only observed: that is what was proposed."""
    queues = tuple(
        replace(queue, outcomes=tuple(replace(one, held=None) for one in queue.outcomes))
        for queue in swept.report.queues
    )
    return replace(swept, report=replace(swept.report, queues=queues))


def _written(proposed: Plan, file: Path, *, yes: bool) -> Path | None:
    """The file, with the queues in it that the person agreed to; None where that was none.

    Raises:
        click.BadParameter: it cannot be written.
    """
    say(err=True)
    place = visible(str(file))
    agreed = [
        one.name
        for one in proposed.queues
        if yes or click.confirm(f"Write queue {one.name} ({safe(one.table)}) into {place}?", err=True)
    ]
    if not agreed:
        say("nothing was written", "yellow", err=True)
        return None
    kept = proposed.of(agreed)
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    blocks = [
        (
            f"Queue {one.name}, table {visible(str(one.table))}: proposed by queuewarden adopt, {today}",
            one.variables,
        )
        for one in kept.queues
    ]
    if kept.having:
        blocks.append(("Which environment has which queues", dict(kept.having)))
    try:
        append(file, blocks)
    except WriteError as error:
        raise click.BadParameter(str(error), param_hint="--write") from None
    say(f"written into {place}: {', '.join(agreed)}", "green", err=True)
    say(f"next: {_next(file, place)}, then reload the daemon", err=True)
    return file


def _next(file: Path, place: str) -> str:
    """How to try what was written: the environments may stand in another file."""
    try:
        load.load(os.environ, file)
    except ConfigurationError:
        return "queuewarden check, once these lines stand with the DSN of the environment in one file"
    return f"queuewarden check --config {place}"


def _code(visits: Sequence[Visit[Looked]], tried: Sequence[Visit[Tried]], *, written: bool) -> int:
    if any(one.error is not None for one in visits) or any(one.error is not None for one in tried):
        return os.EX_UNAVAILABLE
    some = any(one.result.mapped for one in visits if one.result is not None) or bool(tried)
    return 0 if some and written else 1
