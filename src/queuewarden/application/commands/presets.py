"""``queuewarden presets``: the queues known by name."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import click

from queuewarden.application.by_hand import visit
from queuewarden.application.commands.choice import chosen, env_option, json_option
from queuewarden.application.commands.options import with_configuration
from queuewarden.application.commands.paint import safe, say, waiting
from queuewarden.application.commands.presentation import unreached
from queuewarden.application.discovery import NOTHING, recognise
from queuewarden.queues import presets as known
from queuewarden.redact import redact
from queuewarden.settings.names import nearest, variable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from queuewarden.application.discovery import Recognised
    from queuewarden.queues.presets import Preset
    from queuewarden.settings.configuration import Configuration


@click.group()
def presets() -> None:
    """The queues that queuewarden knows by name."""


@presets.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(*, as_json: bool) -> None:
    """Name the presets."""
    every = known.presets().values()
    if as_json:
        click.echo(
            json.dumps([{"name": one.name, "title": one.title, "ours": one.ours} for one in every], indent=2)
        )
        return
    width = max(len(one.name) for one in every)
    for one in every:
        click.echo(f"{one.name:{width}}  {one.title}")


@presets.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(name: str, *, as_json: bool) -> None:
    """Print what a preset maps, as the variables that would do the same, and its notes."""
    preset = known.presets().get(name.strip().lower())
    if preset is None:
        raise click.BadParameter(f"unknown preset; {nearest(name, known.presets())}", param_hint="NAME")
    if as_json:
        click.echo(json.dumps(_described(preset), indent=2))
        return
    click.echo(f"{preset.title}\n\n{preset.notes}\n")
    for key, value in _variables(preset).items():
        click.echo(f"{key}={value}")


@presets.command()
@env_option()
@json_option
@with_configuration
@click.pass_context
def detect(
    context: click.Context,
    configuration: Configuration,
    /,
    *,
    environments: tuple[str, ...],
    as_json: bool,
) -> None:
    """Look for the tables of known queues, and print the variables that name them."""
    places, _ = chosen(configuration, environments)
    with waiting("looking", len(places)) as step:
        visits = visit(configuration, places, (), lambda place: recognise(place.session), step)
    if as_json:
        found = {
            one.environment: {
                "error": one.error,
                "queues": [_recognised(match) for match in one.result or ()],
            }
            for one in visits
        }
        click.echo(json.dumps(redact({"environments": found}, names=False), indent=2))
    else:
        for one in visits:
            if one.result is not None:
                _tell(one.environment, one.result)
    unreached(visits)
    context.exit(os.EX_UNAVAILABLE if any(one.error is not None for one in visits) else 0)


def _recognised(match: Recognised) -> dict[str, Any]:
    return {
        "preset": match.preset,
        "table": f"{match.schema}.{match.mapping.jobs.table.name}",
        "full": match.full,
        "guarded": match.guarded,
        "differing": list(match.differing),
        "variables": match.variables,
        "to_map": list(match.to_map),
    }


def _tell(environment: str, matches: Sequence[Recognised]) -> None:
    for match in matches:
        table = safe(f"{match.schema}.{match.mapping.jobs.table.name}")
        say(f"{environment}: {table} {'is' if match.full else 'resembles'} {match.preset}")
        for line in match.variables:
            say(f"    {safe(line, 300)}")
        for line in match.differing:
            say(f"    differs: {safe(line, 300)}", "yellow")
        for name in match.to_map:
            say(f"    {name}=    # its name in your table, or empty to unmap it")
    if not matches:
        say(f"{environment}: {NOTHING}")


def _described(preset: Preset) -> dict[str, Any]:
    return {
        "name": preset.name,
        "title": preset.title,
        "notes": preset.notes,
        "ours": preset.ours,
        "variables": _variables(preset),
    }


def _variables(preset: Preset) -> dict[str, str]:
    settings: dict[tuple[str, ...], str] = {**preset.mapping}
    settings |= {(name,): value for name, value in preset.guard.items()}
    return {variable(("queue", preset.name, *path)): value for path, value in settings.items()}
