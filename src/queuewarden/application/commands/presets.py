"""``queuewarden presets``: the queues known by name."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from queuewarden.application.by_hand import visit
from queuewarden.application.commands.choice import chosen, env_option, json_option
from queuewarden.application.commands.options import config_option, load_or_exit, with_configuration
from queuewarden.application.commands.paint import safe, say, waiting
from queuewarden.application.commands.presentation import unreached
from queuewarden.application.diagnosis.libraries import proof, reports_only
from queuewarden.application.discovery import NOTHING, recognise
from queuewarden.application.preset_fit import preset_fits
from queuewarden.queues import presets as known
from queuewarden.redact import redact
from queuewarden.settings.names import nearest, variable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from queuewarden.application.by_hand import Visit
    from queuewarden.application.discovery import Recognised
    from queuewarden.application.preset_fit import PresetFit
    from queuewarden.queues.presets import Library, Preset
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
@env_option()
@json_option
@config_option
@click.pass_context
def show(
    context: click.Context,
    /,
    name: str,
    *,
    environments: tuple[str, ...],
    as_json: bool,
    config_file: Path | None,
) -> None:
    """Print what a preset maps, as the variables that would do the same, and what it knows of its library.

    With --env also what differs there. Exit code 0; 1: something does; 69: a database could not be reached.
    """
    preset = known.presets().get(name.strip().lower())
    if preset is None:
        raise click.BadParameter(f"unknown preset; {nearest(name, known.presets())}", param_hint="NAME")
    visits = _held(preset, environments, config_file) if environments else []
    if as_json:
        fits = {one.environment: _document(one) for one in visits}
        held = redact({"environments": fits}, names=False) if visits else {}
        click.echo(json.dumps(_described(preset) | held, indent=2))
    else:
        _print(preset)
        for one in visits:
            if one.result is not None:
                _print_fits(one.environment, preset, one.result)
    unreached(visits)
    if any(one.error is not None for one in visits):
        context.exit(os.EX_UNAVAILABLE)
    context.exit(int(any(fit.differs or fit.faults for one in visits for fit in one.result or ())))


def _held(
    preset: Preset, environments: tuple[str, ...], config_file: Path | None
) -> list[Visit[list[PresetFit]]]:
    configuration = load_or_exit(config_file).configuration
    places, _ = chosen(configuration, environments)
    with waiting("looking", len(places)) as step:
        return visit(configuration, places, None, lambda place: preset_fits(place, preset), step)


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
        "library": asdict(preset.library) if preset.library is not None else None,
    }


def _document(visit_: Visit[list[PresetFit]]) -> dict[str, Any]:
    queues = [asdict(one) for one in visit_.result or ()]
    return {"error": visit_.error, "queues": queues}


def _print(preset: Preset) -> None:
    click.echo(f"{preset.title}\n\n{preset.notes}\n")
    for key, value in _variables(preset).items():
        click.echo(f"{key}={value}")
    library = preset.library
    if library is None:
        return
    click.echo(f"\n{library.name} {library.versions}, {proof(library)}")
    after = f" (after {library.rescue_after})" if library.rescue_after else ""
    facts = {
        "stuck": library.stuck,
        "does": library.does,
        "never": library.never,
        "effects": library.effects,
        "rescuer": library.rescuer + after,
        "mode": _default(preset, library),
        "rights": "; ".join(library.rights),
        "sources": "\n           ".join(library.sources),
    }
    for name, text in facts.items():
        if text:
            click.echo(f"  {name:7}  {text}")


def _default(preset: Preset, library: Library) -> str:
    if reports_only(library):
        return "only reported, whatever MODE says"
    observed = preset.guard.get("mode") == "observe"
    return "observed until MODE=repair is set" if observed else "repaired once it is named"


def _print_fits(environment: str, preset: Preset, fits: Sequence[PresetFit]) -> None:
    say("")
    if not fits:
        say(f"{environment}: no table of {preset.name} was found")
    for one in fits:
        place = f"{environment}/{one.queue}" if one.queue is not None else environment
        version = f", version {one.version}" if one.version is not None else ""
        fitting = "differs" if one.differs else "fits"
        say(safe(f"{place}: {one.table}{version}, {fitting}", 300), "yellow" if one.differs else "green")
        say(f"    {safe(one.mode, 500)}")
        for line in one.differs:
            say(f"    differs: {safe(line, 500)}", "yellow")
        for line in one.faults:
            say(f"    {safe(line, 2000)}", "red")
        for line in one.notes:
            say(f"    note: {safe(line, 500)}")


def _variables(preset: Preset) -> dict[str, str]:
    settings: dict[tuple[str, ...], str] = {**preset.mapping}
    settings |= {(name,): value for name, value in preset.guard.items()}
    return {variable(("queue", preset.name, *path)): value for path, value in settings.items()}
