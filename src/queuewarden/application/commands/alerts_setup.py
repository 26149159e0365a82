"""``queuewarden alerts test`` and ``rules``: whether what is configured works, and what it is."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from queuewarden.adapters.notify.courier import Courier
from queuewarden.application.commands.choice import json_option
from queuewarden.application.commands.options import with_configuration
from queuewarden.application.commands.paint import aligned, safe, say
from queuewarden.errors import ChannelError, UnavailableError
from queuewarden.settings.names import nearest
from queuewarden.settings.types import spelled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from queuewarden.settings.configuration import ChannelConfig, Configuration


@click.command()
@click.argument("channels", metavar="[CHANNEL]...", nargs=-1)
@with_configuration
@click.pass_context
def test(context: click.Context, configuration: Configuration, /, *, channels: tuple[str, ...]) -> None:
    """Send a test message to each channel, or to those named, and tell what came of it.

    Exit code 0; 69: a channel did not take it; 78: there is no channel.
    """
    known = {one.name: one for one in configuration.channels}
    if not known:
        say("no channel is configured: set QUEUEWARDEN_ALERT__NAME__URL, see config/channels.md", err=True)
        context.exit(os.EX_CONFIG)
    picked = [_channel(name, known) for name in channels] or list(known.values())
    failed = False
    for name, why in _sent(picked):
        failed = failed or why is not None
        say(f"{name}: {'sent' if why is None else why}", "green" if why is None else "red")
    context.exit(os.EX_UNAVAILABLE if failed else 0)


@click.command()
@json_option
@with_configuration
def rules(configuration: Configuration, /, *, as_json: bool) -> None:
    """List the rules that are enabled, the default ones included."""
    if as_json:
        click.echo(json.dumps([asdict(one) for one in configuration.rules], indent=2, default=str))
        return
    rows = [
        (
            one.name,
            one.severity,
            f"{one.metric} {one.comparison} {one.threshold:g}",
            f"for {spelled(one.hold)}" if one.hold else "at once",
        )
        for one in configuration.rules
    ]
    for line in aligned(rows):
        say(line)


def _sent(picked: Sequence[ChannelConfig]) -> list[tuple[str, str | None]]:
    """Each channel, and why it did not take the message."""
    title = f"[test] queuewarden on {socket.gethostname()}"

    async def main() -> list[tuple[str, str | None]]:
        courier = Courier()

        async def one(channel: ChannelConfig) -> str | None:
            body = f"Channel {channel.name} works: it takes {', '.join(sorted(channel.severities))}."
            try:
                await courier.send(
                    channel.url.read(),
                    title=title,
                    body=body,
                    kind="info",
                    timeout=channel.timeout.total_seconds(),
                )
            except (ChannelError, UnavailableError) as error:
                return str(error)
            return None

        try:
            answers = await asyncio.gather(*(one(channel) for channel in picked))
        finally:
            await courier.close()
        return list(zip((channel.name for channel in picked), answers, strict=True))

    return asyncio.run(main())


def _channel(name: str, known: dict[str, ChannelConfig]) -> ChannelConfig:
    folded = name.strip().lower()
    if folded not in known:
        raise click.BadParameter(
            f"unknown channel {safe(name)}; {nearest(folded, known)}", param_hint="CHANNEL"
        )
    return known[folded]
