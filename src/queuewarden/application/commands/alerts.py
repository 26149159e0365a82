"""``queuewarden alerts``: what fires, who has taken note of it, and what nobody wants to hear."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

import click

from queuewarden.application.alerting.suppressions import LONGEST_REASON
from queuewarden.application.by_hand import caller, visit
from queuewarden.application.commands.alerts_setup import rules, test
from queuewarden.application.commands.alerts_view import document, show, what
from queuewarden.application.commands.choice import Duration, chosen, env_option, json_option
from queuewarden.application.commands.ledger_view import require_ledger
from queuewarden.application.commands.options import with_configuration
from queuewarden.application.commands.paint import safe, say
from queuewarden.application.commands.presentation import unreached
from queuewarden.engine.alerting.notices import Suppression
from queuewarden.engine.alerting.suppression import fits
from queuewarden.engine.ledger import alert_book
from queuewarden.errors import UnavailableError
from queuewarden.settings.names import nearest
from queuewarden.settings.types import spelled

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from queuewarden.application.by_hand import Place, Visit
    from queuewarden.engine.alerting.notices import Alert
    from queuewarden.settings.configuration import Configuration


@click.group()
def alerts() -> None:
    """What fires, who has taken note of it, and whether the channels work.

    Alerts are decided by the running daemon, which keeps them in the ledger: what is said here reaches it
    with its next sweep. Without a ledger they are in the daemon's memory, where the page and the HTTP API
    reach them.
    """


@alerts.command("list")
@env_option()
@click.option("--all", "everything", is_flag=True, help="Those that ended, too.")
@json_option
@with_configuration
@click.pass_context
def list_(
    context: click.Context,
    configuration: Configuration,
    /,
    *,
    environments: tuple[str, ...],
    everything: bool,
    as_json: bool,
) -> None:
    """List alerts that fire, and suppressions that hold.

    Exit code 0; 69: a database could not be reached, or has no ledger.
    """
    places, _ = chosen(configuration, environments)

    async def work(place: Place) -> tuple[list[Alert], list[Suppression]]:
        await require_alerts(place)
        now = time.monotonic()
        firing, holding = await alert_book.look(place.session, now)
        return [*firing, *(await alert_book.ended(place.session, now) if everything else ())], holding

    visits = visit(configuration, places, (), work)
    if as_json:
        click.echo(json.dumps({one.environment: document(one) for one in visits}, indent=2))
    else:
        for one in visits:
            if one.result is not None:
                show(one.environment, *one.result)
        unreached(visits)
    context.exit(os.EX_UNAVAILABLE if any(one.error is not None for one in visits) else 0)


@alerts.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@env_option()
@with_configuration
@click.pass_context
def ack(
    context: click.Context,
    configuration: Configuration,
    /,
    *,
    ids: tuple[str, ...],
    environments: tuple[str, ...],
) -> None:
    """Take note of alerts: nobody is reminded of them, and they are not escalated, until they end.

    Exit code 0; 1: one of them does not fire anywhere; 69: a database could not be reached, or has no ledger.
    """
    places, _ = chosen(configuration, environments)

    async def work(place: Place) -> list[str]:
        await require_alerts(place)
        now = time.monotonic()
        known = [await alert_book.acknowledge(place.session, one, caller(), now) for one in ids]
        return [alert.id for alert in known if alert is not None]

    visits = visit(configuration, places, (), work)
    taken = {name for one in visits for name in one.result or ()}
    for name in ids:
        if name in taken:
            say(f"{safe(name, 200)}: acknowledged", "green")
        elif not any(one.error for one in visits):  # else it may fire where nobody could look
            say(
                f"{safe(name, 200)}: no such alert fires; `queuewarden alerts list` shows those that do",
                "yellow",
            )
    _leave(context, visits, found=taken >= set(ids))


@alerts.command()
@click.option("--rule", metavar="RULE", help="Only alerts of this rule; * at the end stands for anything.")
@click.option("--env", "environment", metavar="E", help="Only alerts of this environment.")
@click.option("--queue", metavar="Q", help="Only alerts of this queue; * at the end stands for anything.")
@click.option(
    "--for", "lasts", type=Duration(), metavar="1h", default="1h", show_default=True, help="How long."
)
@click.option("--reason", metavar="TEXT", required=True, help="Why: everybody who looks will read it.")
@with_configuration
@click.pass_context
def suppress(
    context: click.Context,
    configuration: Configuration,
    /,
    *,
    rule: str | None,
    environment: str | None,
    queue: str | None,
    lasts: timedelta,
    reason: str,
) -> None:
    """Have alerts not sent for a while. They fire and end all the same, as the page and `list` show.

    Exit code 0; 69: a database could not be reached, or has no ledger.
    """
    reason = _said(reason)
    _require_known(rule, configuration)
    places, _ = chosen(configuration, [environment] if environment else [])

    async def work(place: Place) -> Suppression:
        await require_alerts(place)
        now = time.monotonic()
        until = now + lasts.total_seconds()
        wanted = Suppression("", until, reason, caller(), rule, place.config.name, queue)
        return await alert_book.suppress(place.session, wanted, now)

    visits = visit(configuration, places, (), work)
    for one in visits:
        if one.result is not None:
            say(
                f"{one.environment}: {what(one.result)} suppressed for {spelled(lasts)}; id {one.result.id}",
                "green",
            )
    _leave(context, visits)


@alerts.command()
@click.argument("environment", metavar="ENV")
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@with_configuration
@click.pass_context
def lift(
    context: click.Context, configuration: Configuration, /, *, environment: str, ids: tuple[str, ...]
) -> None:
    """End suppressions of an environment, by the ids that `list` shows.

    Exit code 0; 1: one of them does not hold; 69: the database could not be reached, or has no ledger.
    """
    places, _ = chosen(configuration, [environment])

    async def work(place: Place) -> list[str]:
        await require_alerts(place)
        now = time.monotonic()
        known = [await alert_book.lift(place.session, one, caller(), now) for one in ids]
        return [one.id for one in known if one is not None]

    visits = visit(configuration, places, (), work)
    ended = {name for one in visits for name in one.result or ()}
    for name in ids if not any(one.error for one in visits) else ():
        say(
            f"{safe(name)}: {'lifted' if name in ended else 'does not hold'}",
            "green" if name in ended else "yellow",
        )
    _leave(context, visits, found=ended >= set(ids))


async def require_alerts(place: Place) -> None:
    """Return where alerts are kept.

    Raises:
        UnavailableError: they are not.
    """
    await require_ledger(place)
    if place.schema.unkept is not None:
        raise UnavailableError(place.schema.unkept)


def _said(reason: str) -> str:
    reason = reason.strip()
    try:
        reason.encode()
    except UnicodeError:
        raise click.UsageError("--reason: not UTF-8 text") from None
    if not reason:
        raise click.UsageError("say why: --reason TEXT")
    if len(reason) > LONGEST_REASON:
        raise click.UsageError(f"--reason: more than {LONGEST_REASON} characters")
    return reason


def _require_known(rule: str | None, configuration: Configuration) -> None:
    """A misspelt name would suppress nothing, and nobody would know."""
    names = {one.name for one in configuration.rules}
    if rule is not None and not any(fits(rule, name) for name in names):
        raise click.UsageError(f"--rule: there is none of this name; {nearest(rule, names)}")


def _leave(context: click.Context, visits: Sequence[Visit[Any]], *, found: bool = True) -> None:
    unreached(visits)
    if any(one.error is not None for one in visits):
        context.exit(os.EX_UNAVAILABLE)
    context.exit(int(not found))


alerts.add_command(test)
alerts.add_command(rules)
