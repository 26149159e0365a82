"""`queuewarden run`: the daemon."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

import click

from queuewarden.application.commands.options import config_option, load_or_exit

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@config_option
def run(config_file: Path | None) -> None:
    """Guard the configured environments until SIGTERM; SIGHUP reads the configuration anew."""
    from queuewarden.adapters import logging
    from queuewarden.application.daemon import Daemon

    loaded = load_or_exit(
        config_file, announce=False, instead="; to see it at work without any, run `queuewarden demo`"
    )
    configuration = loaded.configuration
    logging.configure(configuration.log_level, configuration.log_format)
    os.umask(0o077)

    async def main() -> None:
        await Daemon(configuration, config_file).run()
        # It has ended well: a signal that comes once more, while Python goes, makes no failure of that.
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            asyncio.get_running_loop().remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)

    asyncio.run(main())
