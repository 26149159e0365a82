"""Choosing environments and queues on the command line, with completion of their names."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from queuewarden.errors import ConfigurationError
from queuewarden.queues.presets import presets
from queuewarden.settings import load, types
from queuewarden.settings.names import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from datetime import timedelta

    from queuewarden.settings.configuration import Configuration, EnvironmentConfig


class Duration(click.ParamType):  # type: ignore[type-arg]  # generic only since click 8.2
    """``30s``, ``5m``, ``2h``, ``1d``."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Read it as the settings do."""
        try:
            return types.duration(str(value))
        except ValueError as error:
            self.fail(f"{value}: {error}", param, ctx)


def _queues(config: EnvironmentConfig) -> set[str]:
    """The queues that an environment has, or may turn out to have."""
    return set(presets()) if config.discover else {mapping.name for mapping in config.queues}


def _configured() -> tuple[EnvironmentConfig, ...]:
    """For completion, which stays silent whatever is wrong."""
    try:
        return load.load(os.environ, None).environments
    except ConfigurationError:
        return ()


def _complete_environment(_: click.Context, __: click.Parameter, start: str) -> list[str]:
    return [one.name for one in _configured() if one.name.startswith(start.lower())]


def _complete_queue(_: click.Context, __: click.Parameter, start: str) -> list[str]:
    names = {queue for one in _configured() for queue in _queues(one)}
    return sorted(name for name in names if name.startswith(start.lower()))


def env_option(*, required: bool = False) -> Callable[[Any], Any]:
    """``--env``, which may be repeated: argument ``environments``."""
    return click.option(
        "--env",
        "environments",
        multiple=True,
        required=required,
        metavar="E",
        shell_complete=_complete_environment,
        help="Only this environment; may be repeated.",
    )


queue_option = click.option(
    "--queue",
    "queues",
    multiple=True,
    metavar="Q",
    shell_complete=_complete_queue,
    help="Only this queue; may be repeated.",
)
"""``--queue``, which may be repeated: argument ``queues``."""


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
"""``--json``: argument ``as_json``."""


def chosen(
    configuration: Configuration, environments: Collection[str], queues: Collection[str] = ()
) -> tuple[list[EnvironmentConfig], frozenset[str] | None]:
    """The environments that were named (default: all) and have one of the queues named, and those queues.

    Raises:
        click.BadParameter: no such environment, or none of them has such a queue; names the nearest.
    """
    known = {one.name: one for one in configuration.environments}
    picked = []
    for name in dict.fromkeys(map(_folded, environments)):
        if name not in known:
            raise click.BadParameter(
                f"unknown environment {name}; {nearest(name, known)}", param_hint="--env"
            )
        picked.append(known[name])
    picked = picked or list(known.values())
    wanted = frozenset(map(_folded, queues))
    if not wanted:
        return picked, None
    there = {queue for one in picked for queue in _queues(one)}
    for name in sorted(wanted - there):
        where = "" if len(picked) == len(known) else f" in {', '.join(one.name for one in picked)}"
        raise click.BadParameter(f"unknown queue {name}{where}; {nearest(name, there)}", param_hint="--queue")
    return [one for one in picked if wanted & _queues(one)], wanted


def _folded(name: str) -> str:
    return name.strip().lower()
