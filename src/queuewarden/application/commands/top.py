"""``queuewarden top``: the databases watched live in the terminal; no daemon, no HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
import os
import shutil
import signal
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from queuewarden.application.commands.choice import Duration, chosen, env_option, json_option, queue_option
from queuewarden.application.commands.options import with_configuration
from queuewarden.application.top.watch import Watch
from queuewarden.redact import redact

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from queuewarden.settings.configuration import Configuration, EnvironmentConfig

LEAST = timedelta(milliseconds=500)
"""Time between two looks: a database is not there to be watched."""

_MOMENT = 0.05

_PIPE = 120
"""Columns where nobody says how wide the output may be."""


@click.command()
@env_option()
@queue_option
@click.option(
    "--every",
    type=Duration(),
    default="2s",
    show_default=True,
    help="Time between two looks, at least 500ms.",
)
@click.option("--once", is_flag=True, help="Print what is there now, and end.")
@json_option
@with_configuration
@click.pass_context
def top(
    context: click.Context,
    configuration: Configuration,
    /,
    *,
    environments: tuple[str, ...],
    queues: tuple[str, ...],
    every: timedelta,
    once: bool,
    as_json: bool,
) -> None:
    """Watch the queues live: counts, workers, what runs longest, what was repaired; writes nothing.

    \b
    Keys: q quits, p pauses, s sorts (problems, name, waiting, running, failed),
    d chooses how much is shown, arrows, j, k, PgUp and PgDn scroll.

    An environment that answers slowly is asked more rarely. Where the output is no terminal, one frame is
    printed; with --json, a line for each look, until it is ended. Exit code 0; with one frame, 69: none of
    the databases could be reached.
    """  # noqa: D301 -- click's own sign for lines that stay as they are
    if every < LEAST:
        raise click.BadParameter("shorter than 500ms", param_hint="--every")
    places, wanted = chosen(configuration, environments, queues)
    logging.getLogger("psycopg").setLevel(logging.ERROR)  # what it warns of, we meet as the error
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # bars, where the locale has none
    if as_json and not once:
        asyncio.run(_lines(places, wanted, every))
    elif as_json or once or not _is_terminal():
        context.exit(asyncio.run(_one(places, wanted, every, as_json=as_json)))
    else:
        asyncio.run(_screen(places, wanted, every))


def _is_terminal() -> bool:
    return sys.stdout.isatty() and os.environ.get("TERM", "") not in {"", "dumb", "unknown"}


async def _screen(
    places: Sequence[EnvironmentConfig], queues: Collection[str] | None, every: timedelta
) -> None:
    from queuewarden.application.top.screen import Screen

    watch = Watch(places, queues, every)
    async with watch.live():
        await Screen(watch).show()


async def _one(
    places: Sequence[EnvironmentConfig], queues: Collection[str] | None, every: timedelta, *, as_json: bool
) -> int:
    """Print one frame; the exit code."""
    watch = Watch(places, queues, every)
    await watch.once()
    if as_json:
        click.echo(_document(watch))
    else:
        _print(watch)
    return 0 if any(view.status.state == "up" for view in watch.views) else os.EX_UNAVAILABLE


def _print(watch: Watch) -> None:
    from rich.console import Console

    from queuewarden.application.top.drawing import Wish, frame

    width = shutil.get_terminal_size((_PIPE, 24)).columns
    console = Console(width=width)
    for line in frame(watch.views, Wish(), watch.every, width, None).lines:
        console.print(line, soft_wrap=True)


async def _lines(
    places: Sequence[EnvironmentConfig], queues: Collection[str] | None, every: timedelta
) -> None:
    """Print a line for each round of looks, the first once all have answered."""
    watch, ended = Watch(places, queues, every), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    async with watch.live():
        while not (ended.is_set() or watch.failed.is_set()):
            answered = all(view.status.state != "starting" for view in watch.views)
            if answered:
                click.echo(_document(watch))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), every.total_seconds() if answered else _MOMENT)


def _document(watch: Watch) -> str:
    found = {
        "at": datetime.now(UTC).isoformat(),
        "environments": {view.name: view.document() for view in watch.views},
    }
    return json.dumps(redact(found, names=False), separators=(",", ":"))
