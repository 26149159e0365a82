"""The command line. Each command is a file of its own, imported when it is called."""

from __future__ import annotations

import importlib
import logging
import os
import signal
import sys
import traceback
from pathlib import Path

import click

from queuewarden import __version__
from queuewarden.errors import UnavailableError
from queuewarden.redact import redact

COMMANDS = {
    "run": "queuewarden.application.commands.run:run",
    "adopt": "queuewarden.application.commands.adopt:adopt",
    "check": "queuewarden.application.commands.check:check",
    "repair": "queuewarden.application.commands.repair:repair",
    "reset": "queuewarden.application.commands.reset:reset",
    "retry": "queuewarden.application.commands.retry:retry",
    "status": "queuewarden.application.commands.status:status",
    "top": "queuewarden.application.commands.top:top",
    "install": "queuewarden.application.commands.install:install",
    "grants": "queuewarden.application.commands.grants:grants",
    "history": "queuewarden.application.commands.history:history",
    "undo": "queuewarden.application.commands.undo:undo",
    "pause": "queuewarden.application.commands.pause:pause",
    "resume": "queuewarden.application.commands.resume:resume",
    "backup": "queuewarden.application.commands.backup:backup",
    "upkeep": "queuewarden.application.commands.upkeep:upkeep",
    "report": "queuewarden.application.commands.report:report",
    "alerts": "queuewarden.application.commands.alerts:alerts",
    "diagnose": "queuewarden.application.commands.diagnose:diagnose",
    "config": "queuewarden.application.commands.config:config",
    "presets": "queuewarden.application.commands.presets:presets",
    "completion": "queuewarden.application.commands.completion:completion",
    "demo": "queuewarden.application.demo.command:demo",
}


class Lazy(click.Group):
    """Imports a command when it is asked for: `run` must start fast and stay small."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 -- click's signature
        """In the order of a person's first day with the program."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 -- as above
        """The command, or None where there is no such."""
        place = COMMANDS.get(cmd_name)
        if place is None:
            return None
        module, _, name = place.partition(":")
        command = getattr(importlib.import_module(module), name)
        if not isinstance(command, click.Command):
            raise TypeError(f"{place} is not a command")
        return command

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; whoever interrupts it, be it while it is imported, has found nothing."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            ctx.exit(128 + signal.SIGINT)


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="queuewarden")
def cli() -> None:
    """Guard job queues kept in PostgreSQL tables: reset stuck jobs, retire dead workers, do no harm."""


class _Redacting(logging.Handler):
    """Where nobody has set up a log: what a library has to say reaches a person, but no secret does."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print it."""
        click.echo(redact(self.format(record)), err=True)


def open_streams() -> None:
    """A standard stream that the caller closed (``2>&-``) leads nowhere.

    Else a connection would get its number, and whatever a library prints would go to the server.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
    sys.stdout = sys.stdout or os.fdopen(1, "w")
    sys.stderr = sys.stderr or os.fdopen(2, "w")


def main() -> None:
    """The console script: click's own exit codes, 69 for a database, 70 for an error that nobody expected."""
    open_streams()
    if sys.argv[1:2] == ["demo"]:
        signal.signal(signal.SIGINT, lambda *_: sys.exit(0))  # Ctrl-C is how it ends, even before it began
    logging.lastResort = _Redacting(logging.WARNING)
    try:
        cli.main(prog_name="queuewarden")
    except UnavailableError as error:
        click.echo(f"queuewarden: {redact(str(error))}", err=True)
        sys.exit(os.EX_UNAVAILABLE)
    except Exception as error:  # noqa: BLE001 -- the last line of defence: no traceback, which may hold secrets
        click.echo(f"queuewarden: internal error: {_described(error)}; please report it", err=True)
        sys.exit(os.EX_SOFTWARE)


def _described(error: Exception) -> str:
    """The error and where it came from, on one line and without secrets."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    message = redact(str(error), limit=200).replace("\n", " ")
    return f"{type(error).__name__}: {message} ({Path(place.filename).name}, line {place.lineno})"
