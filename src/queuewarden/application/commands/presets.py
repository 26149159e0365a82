"""``queuewarden presets``: the queues known by name."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from queuewarden.queues import presets as known
from queuewarden.settings.names import nearest, variable

if TYPE_CHECKING:
    from queuewarden.queues.presets import Preset


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
