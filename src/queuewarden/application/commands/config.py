"""``queuewarden config``: show, validate and explain the configuration. Never connects."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from queuewarden.application.commands.options import config_option, load_or_exit
from queuewarden.errors import UnavailableError
from queuewarden.settings.listening import unusable
from queuewarden.settings.reference import reference
from queuewarden.settings.show import shown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from queuewarden.settings.configuration import Configuration
    from queuewarden.settings.secret import SecretSource
    from queuewarden.settings.show import Shown


_COLUMN = 50


@click.group()
def config() -> None:
    """Show, validate and explain the configuration; never connects."""


@config.command()
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(config_file: Path | None, *, as_json: bool) -> None:
    """Print each value with where it comes from, secrets masked."""
    values = shown(load_or_exit(config_file))
    click.echo(json.dumps(values, indent=2, ensure_ascii=False) if as_json else "\n".join(_lines(values)))


@config.command()
@config_option
def validate(config_file: Path | None) -> None:
    """Say all that is wrong with the configuration, and exit 78 if anything is."""
    configuration = load_or_exit(config_file).configuration
    # A state of a file, which the daemon looks at again: it stops nothing.
    for line in _unreadable(configuration):
        click.echo(f"queuewarden: {line}", err=True)
    names = ", ".join(environment.name for environment in configuration.environments)
    click.echo(f"valid: environments {names}")


@config.command("reference")
def print_reference() -> None:
    """Print every variable with its meaning and default, as a file to begin with."""
    click.echo(reference(), nl=False)


def _unreadable(configuration: Configuration) -> Iterator[str]:
    """What is wrong just now with secrets that lie in files."""
    secrets: list[tuple[str, SecretSource | None]] = []
    for environment in configuration.environments:
        place = f"environment {environment.name}"
        secrets += [
            (place, environment.dsn),
            (f"{place}: upkeep", environment.upkeep_dsn),
            (f"{place}: scratch", environment.scratch_dsn),
            (f"{place}: ping", environment.ping),
        ]
    secrets += [(f"channel {channel.name}", channel.url) for channel in configuration.channels]
    for place, source in (*secrets, ("ping", configuration.ping)):
        try:
            if source is not None:
                source.read()
        except UnavailableError as error:
            yield f"{place}: {error}"
    http = configuration.http
    if http is not None:
        tokens = [token for token in (http.read_token, http.write_token) if token is not None]
        yield from (f"HTTP API: {fault}" for fault in unusable(tokens))


def _lines(values: dict[str, Any]) -> Iterator[str]:
    yield from _block("for the whole daemon", values["settings"])
    for name, queue in values["queues"].items():
        yield from _block(f"queue {name}", queue)
    for name, channel in values["channels"].items():
        yield from _block(f"channel {name}", channel)
    for name, rule in values["rules"].items():
        yield from _block(f"rule {name}", rule)
    for name, environment in values["environments"].items():
        everywhere = environment["settings"]
        secrets = ("dsn", "upkeep_dsn", "scratch_dsn", "ping_url")
        own = {key: environment[key] for key in secrets if key in environment}
        yield from _block(f"environment {name}", own | everywhere)
        if any(one["origin"] != "default" for one in environment["upkeep"].values()):
            yield from _block(f"environment {name}, upkeep", environment["upkeep"])
        for queue, settings in environment["queues"].items():
            if environment["discover"]:
                yield from _block(
                    f"environment {name}, if preset {queue} is recognised", _other(settings, everywhere)
                )
            else:
                yield from _block(f"environment {name}, queue {queue}", _other(settings, everywhere))


def _other(settings: Shown, everywhere: Shown) -> Shown:
    """What a queue has otherwise than its environment."""
    return {key: one for key, one in settings.items() if one != everywhere[key]}


def _block(title: str, values: Shown) -> Iterator[str]:
    if not values:
        return
    yield title
    names = max(map(len, values))
    widest = max((len(one["value"]) for one in values.values() if len(one["value"]) <= _COLUMN), default=0)
    for name, one in values.items():
        yield f"  {name:{names}}  {one['value']:{widest}}  {one['origin']}"
    yield ""
