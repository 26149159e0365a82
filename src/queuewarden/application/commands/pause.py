"""``queuewarden pause``: hold all daemons off a database, for a while or in maintenance windows."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import click

from queuewarden.application.by_hand import caller, visit
from queuewarden.application.commands.choice import Duration, chosen
from queuewarden.application.commands.ledger_view import require_ledger
from queuewarden.application.commands.options import with_configuration
from queuewarden.application.commands.paint import aligned, safe, say
from queuewarden.application.commands.presentation import unreached
from queuewarden.engine import pauses
from queuewarden.engine.cron import last_fire
from queuewarden.settings.types import spelled

if TYPE_CHECKING:
    from datetime import timedelta

    from queuewarden.application.by_hand import Place
    from queuewarden.settings.configuration import Configuration


@click.command()
@click.argument("environment", metavar="ENV")
@click.option("--for", "lasts", type=Duration(), metavar="30m", help="How long; with --cron: each time.")
@click.option("--reason", metavar="TEXT", help="Why: everybody who looks will read it.")
@click.option("--cron", metavar="EXPR", help='Whenever this fires, such as "0 2 * * 0".')
@click.option("--zone", metavar="ZONE", help="The time zone of --cron.  [default: UTC]")
@click.option("--list", "only_list", is_flag=True, help="List pauses and windows instead.")
@with_configuration
@click.pass_context
def pause(
    context: click.Context,
    configuration: Configuration,
    /,
    *,
    environment: str,
    lasts: timedelta | None,
    reason: str | None,
    cron: str | None,
    zone: str | None,
    only_list: bool,
) -> None:
    """Hold all daemons off a database: they observe, and repair nothing.

    Written into the database, so that it survives restarts and holds for every daemon, whatever name it gives
    the environment. Commands by hand go on. When this returns, no daemon is repairing any more. Exit code 0;
    69: the database could not be reached, or has no ledger.
    """
    places, _ = chosen(configuration, [environment])
    if not only_list:
        if lasts is None or not (reason or "").strip():
            raise click.UsageError("say how long and why: --for 30m --reason TEXT")
        _check(cron, zone)

    async def work(place: Place) -> list[pauses.Pause]:
        await require_ledger(place)
        if lasts is not None and reason is not None and not only_list:
            await pauses.set_pause(
                place.session,
                place.config.name,
                reason=reason.strip(),
                by=caller(),
                lasts=lasts,
                cron=cron,
                zone=(zone or "UTC") if cron is not None else None,
            )
        return list(pauses.pauses(await place.session.rows(pauses.ACTIVE)))

    visits = visit(configuration, places, (), work)
    for one in visits:
        told = one.result or []
        for line in aligned([_cells(found) for found in told]):
            say(f"{one.environment}: {line}")
        if one.result == []:
            say(f"{one.environment}: no pause, no maintenance window")
    unreached(visits)
    context.exit(os.EX_UNAVAILABLE if any(one.error is not None for one in visits) else 0)


def _check(cron: str | None, zone: str | None) -> None:
    if zone is not None and cron is None:
        raise click.UsageError("--zone goes with --cron")
    try:
        ZoneInfo(zone or "UTC")
    except (KeyError, ValueError, OSError):
        raise click.BadParameter(f"{safe(zone)} is no time zone", param_hint="--zone") from None
    if cron is not None:
        try:
            last_fire(cron, zone or "UTC", datetime.now(UTC))
        except ValueError as error:
            raise click.BadParameter(safe(error, 200), param_hint="--cron") from None


def _cells(one: pauses.Pause) -> tuple[str, ...]:
    if one.cron is None:
        when = f"until {one.until:%Y-%m-%d %H:%M:%S %Z}"
    else:
        when = f"{one.cron} {one.zone} for {spelled(one.lasts)}"
    return f"{one.kind} {one.id}", when, safe(one.reason, 200), f"by {safe(one.set_by)}"
