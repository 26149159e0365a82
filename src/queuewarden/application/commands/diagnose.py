"""``queuewarden diagnose``: what is wrong in an environment, and what to do about each thing."""

from __future__ import annotations

import json
import os
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from queuewarden.application.by_hand import visit
from queuewarden.application.commands.choice import chosen, env_option, json_option, queue_option
from queuewarden.application.commands.options import with_configuration
from queuewarden.application.commands.paint import safe, say, waiting
from queuewarden.application.commands.presentation import unreached
from queuewarden.application.diagnosis import environment
from queuewarden.redact import redact

if TYPE_CHECKING:
    from collections.abc import Sequence

    from queuewarden.application.by_hand import Visit
    from queuewarden.application.diagnosis.remark import Remark
    from queuewarden.settings.configuration import Configuration

_COLOURS = {"ok": "green", "info": "cyan", "advice": "yellow", "wrong": "red"}
_TOPICS = (
    "connection", "rights", "clock", "mapping", "preset", "ledger", "indexes", "health", "brakes", "workers",
    "jobs", "anomalies",
)  # fmt: skip


@click.command()
@env_option()
@queue_option
@json_option
@with_configuration
@click.pass_context
def diagnose(
    context: click.Context,
    configuration: Configuration,
    /,
    *,
    environments: tuple[str, ...],
    queues: tuple[str, ...],
    as_json: bool,
) -> None:
    """Look at connection, rights, clock, mapping, presets, indexes, health, brakes, workers, jobs, anomalies.

    Nothing is written; statements are printed, never run. Exit code 0: nothing is wrong (advice and
    information do not count); 1: something is; 69: a database could not be reached.
    """
    places, wanted = chosen(configuration, environments, queues)
    with waiting("looking", len(places)) as step:
        look = partial(environment.diagnose, rules=configuration.rules)
        visits = visit(configuration, places, wanted, look, step)
    if as_json:
        found = {one.environment: _document(one) for one in visits}
        click.echo(json.dumps(redact({"environments": found}, names=False), indent=2))
    else:
        for one in visits:
            _print(one.environment, one.result or ())
    unreached(visits)
    if any(one.error is not None for one in visits):
        context.exit(os.EX_UNAVAILABLE)
    wrong = any(remark.level == "wrong" for one in visits for remark in one.result or ())
    context.exit(int(wrong))


def _document(visit_: Visit[list[Remark]]) -> dict[str, Any]:
    return {
        "error": visit_.error,
        "remarks": [
            {
                "topic": remark.topic,
                "level": remark.level,
                "queue": remark.queue,
                "text": remark.text,
                "remedy": list(remark.remedy),
                "facts": dict(remark.facts),
            }
            for remark in visit_.result or ()
        ],
    }


def _print(environment: str, remarks: Sequence[Remark]) -> None:
    if remarks:
        say(environment, bold=True)
    for topic in _TOPICS:
        for remark in remarks:
            if remark.topic == topic:
                place = f"{remark.queue}: " if remark.queue else ""
                say(
                    f"  {topic:10}  {remark.level:6}  {place}{safe(remark.text, 500)}", _COLOURS[remark.level]
                )
                for line in remark.remedy:
                    say(f"      {safe(line, 2000)}")
