"""Options that commands share."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

import click

from queuewarden.errors import ConfigurationError
from queuewarden.settings import load
from queuewarden.settings.load import NO_ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Callable

    from queuewarden.settings.configuration import Configuration
    from queuewarden.settings.load import Loaded

P = ParamSpec("P")
R = TypeVar("R")

config_option = click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Read settings from this file; the process environment wins over it.",
)
"""The option alone, for commands that load the configuration themselves: argument ``config_file``."""


def load_or_exit(config_file: Path | None, *, announce: bool = True, instead: str = "") -> Loaded:
    """The configuration with its origins; faults go to stderr, a line each, and end the command with 78.

    Args:
        config_file: as ``--config`` names it.
        announce: say on stderr which source is used.
        instead: what to do where no environment is configured at all.
    """
    try:
        loaded = load.explain(os.environ, config_file)
    except ConfigurationError as error:
        for fault in error.faults:
            more = instead if fault == NO_ENVIRONMENT else ""
            click.echo(f"queuewarden: {fault}{more}", err=True)
        raise click.exceptions.Exit(os.EX_CONFIG) from None
    if announce:
        click.echo(f"queuewarden: configuration from {loaded.configuration.source}", err=True)
    return loaded


def with_configuration(command: Callable[Concatenate[Configuration, P], R]) -> Callable[P, R]:
    """Give a command ``--config`` and, as its first argument, the configuration."""

    @config_option
    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        config_file = kwargs.pop("config_file")
        loaded = load_or_exit(config_file if isinstance(config_file, Path) else None)
        return command(loaded.configuration, *args, **kwargs)

    return wrapped
