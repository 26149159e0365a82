"""``queuewarden upkeep``: tasks by the clock: which there are, how they went, and to run one now."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, get_args

import click

from queuewarden.application.by_hand import Visit, visit
from queuewarden.application.commands import upkeep_view
from queuewarden.application.commands.choice import chosen, env_option, json_option
from queuewarden.application.commands.options import with_configuration
from queuewarden.application.commands.paint import safe, say
from queuewarden.application.commands.presentation import unreached
from queuewarden.application.upkeep.by_hand import Errand, run_due, run_task, unrecorded
from queuewarden.engine.upkeep import runs, sight
from queuewarden.engine.upkeep.config import SHOWN_FIRST, TaskName
from queuewarden.errors import UnavailableError
from queuewarden.redact import redact

if TYPE_CHECKING:
    from collections.abc import Sequence

    from queuewarden.application.by_hand import Place
    from queuewarden.application.commands.upkeep_view import State
    from queuewarden.application.upkeep.running import Ran
    from queuewarden.settings.configuration import Configuration, EnvironmentConfig

RUNS_SHOWN = 20


@click.group()
def upkeep() -> None:
    """Tasks by the clock: maintenance, checks, backups, reports. See config/upkeep.md."""


@upkeep.command("list")
@env_option()
@json_option
@with_configuration
def list_(configuration: Configuration, /, *, environments: tuple[str, ...], as_json: bool) -> None:
    """List all tasks, when they begin, and when next. No connection is made."""
    places, _ = chosen(configuration, environments)
    entries = [entry for one in places for entry in upkeep_view.entries(one)]
    if as_json:
        click.echo(json.dumps(entries, indent=2))
        return
    for line in upkeep_view.listed(entries):
        say(line)


@upkeep.command()
@env_option()
@json_option
@with_configuration
@click.pass_context
def status(
    context: click.Context, configuration: Configuration, /, *, environments: tuple[str, ...], as_json: bool
) -> None:
    """Show how each task went, what is overdue, and the latest runs.

    Exit code 0; 1: the last run of a task failed, or one is overdue by an hour; 69: a database could not be
    reached, or has no ledger.
    """
    places, _ = chosen(configuration, environments)

    async def look(place: Place) -> State:
        await place.server()
        if not place.schema.upkeep:
            raise UnavailableError(unrecorded(place))
        name, settings = place.config.name, place.config.upkeep
        seen = await sight.look(place.session, name, settings)
        return upkeep_view.State(
            place.config, seen, tuple(await runs.latest(place.session, name, most=RUNS_SHOWN))
        )

    visits = visit(configuration, places, (), look)
    states = [one.result for one in visits if one.result is not None]
    if as_json:
        document = {
            one.environment: upkeep_view.document(one.result)
            if one.result is not None
            else {"error": one.error}
            for one in visits
        }
        click.echo(json.dumps(redact(document, names=False), indent=2))
    else:
        for one in states:
            upkeep_view.tell(one)
    unreached(visits)
    if any(one.error is not None for one in visits):
        context.exit(os.EX_UNAVAILABLE)
    context.exit(int(any(one.bad for one in states)))


@upkeep.command()
@click.argument("task", required=False, type=click.Choice(get_args(TaskName)))
@env_option()
@click.option("--due", is_flag=True, help="Run whatever is due by the clock, and log as the daemon does.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and change nothing.")
@click.option(
    "--yes",
    "consent",
    is_flag=True,
    help="Do what is not done unasked: delete old jobs (prune), drop an index left over (reindex).",
)
@with_configuration
@click.pass_context
def run(
    context: click.Context,
    configuration: Configuration,
    /,
    *,
    task: TaskName | None,
    environments: tuple[str, ...],
    due: bool,
    dry_run: bool,
    consent: bool,
) -> None:
    """Run a task now, in one environment after the other; or, with --due, what the clock says.

    Where MODE of the environment is observe, a task that is SQL only says what it would do.

    A timer calls it with --due each minute. Tasks that are SQL are then left to the daemon where one guards
    the database. Exit code 0; 1: something failed; 69: a database could not be reached; 75: another task is
    at work there, so that this one was not begun (with --due that is no fault: it stays due).
    """
    if due and (task or dry_run or consent):
        raise click.UsageError("--due goes by the clock alone: without TASK, --dry-run and --yes")
    if task is None and not due:
        raise click.UsageError("name a TASK, or say --due")
    places, _ = chosen(configuration, environments)
    _log(configuration)
    if due:
        places = [one for one in places if one.upkeep.schedule]
    visits = [_visited(configuration, one, task, dry_run=dry_run, consent=consent) for one in places]
    shown = task in SHOWN_FIRST and not consent
    if not due:
        for one in visits:
            upkeep_view.tell_ran(one.environment, one.result or (), dry=dry_run or shown)
    if shown and not dry_run:
        say(f"{task} has only shown what it would do; --yes does it", err=True)
    unreached(visits)
    if any(one.error is not None for one in visits):
        context.exit(os.EX_UNAVAILABLE)
    results = {ran.result for one in visits for ran in one.result or ()}
    if "failed" in results:
        context.exit(1)
    context.exit(os.EX_TEMPFAIL if "skipped" in results and not due else 0)


def _visited(
    configuration: Configuration,
    config: EnvironmentConfig,
    task: TaskName | None,
    *,
    dry_run: bool,
    consent: bool,
) -> Visit[Sequence[Ran]]:
    with upkeep_view.bar(f"{config.name}: {task}" if task else None) as tell:
        errand = Errand(configuration, tell, dry_run=dry_run, consent=consent)

        async def work(place: Place) -> Sequence[Ran]:
            if not dry_run and task is not None and not place.schema.upkeep:
                say(f"{config.name}: not recorded ({safe(unrecorded(place), 200)})", err=True)
            return await (run_task(place, task, errand) if task is not None else run_due(place, errand))

        (found,) = visit(configuration, [config], None, work)
    return found


def _log(configuration: Configuration) -> None:
    from queuewarden.adapters import logging

    logging.configure(configuration.log_level, configuration.log_format)
