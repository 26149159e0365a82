"""Reports by the clock: made, and handed to a file or to a channel."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from queuewarden.adapters import whole_file
from queuewarden.application.upkeep.gathering import gather
from queuewarden.application.upkeep.report_views.document import document
from queuewarden.application.upkeep.report_views.page import page
from queuewarden.application.upkeep.report_views.text import lines
from queuewarden.application.upkeep.report_views.words import message
from queuewarden.engine.cron import next_fire
from queuewarden.engine.upkeep.task import Done, Progress, Step
from queuewarden.errors import ChannelError, QueuewardenError
from queuewarden.redact import redact, visible

if TYPE_CHECKING:
    from collections.abc import Mapping

    from queuewarden.application.upkeep.programs import Workshop
    from queuewarden.engine.reading.patterns import Pattern
    from queuewarden.engine.upkeep.config import Upkeep
    from queuewarden.engine.upkeep.report.values import (
        Growth,
        Period,
        QueueFigures,
        Recommendation,
        Repairs,
        Report,
        WorstHour,
    )
    from queuewarden.settings.configuration import Configuration

P = TypeVar("P", "QueueFigures", "Repairs", "Pattern", "WorstHour", "Growth", "Recommendation")

WIDTH = 100
"""Columns of a report that is written as text."""

LONGEST = 300
"""Characters of a text that comes from a database."""


async def report(shop: Workshop) -> Done:
    """Make the report of the period that its schedule goes by, and hand it over.

    Raises:
        psycopg.Error: the database could not be read.
    """
    config, to = shop.config, shop.config.upkeep.report_to
    period = period_of(config.upkeep)
    if to is None:
        why = "REPORT_TO names neither a file nor a channel"
        return Done((Step(config.name, f"report of a {period}", "skipped", why),))

    def tell(queue: str, done: int, total: int) -> None:
        shop.tell(Progress(queue, "reading", done, total))

    made = cleaned(await gather(shop.session, config.name, shop.targets, period, tell=tell))
    subject = to if "/" not in to else str(destination(to, made))
    if shop.dry_run:
        return Done((Step(subject, f"would be given the report of a {period}", "done"),))
    try:
        if "/" in to:
            whole_file.write(Path(subject), rendered({config.name: made}, Path(subject)))
        else:
            await _send(shop.configuration, to, made)
    except QueuewardenError as error:
        return Done((Step(subject, f"report of a {period}", "failed", str(error)),))
    return Done((Step(subject, f"given the report of a {period}", "done"),))


def period_of(upkeep: Upkeep) -> Period:
    """What a report is about: the time from one moment of its schedule to the next; unscheduled, a week."""
    cron = upkeep.schedule.get("report")
    if cron is None:
        return "week"
    now, gaps = datetime.now(UTC), []
    for _ in range(3):
        following = next_fire(cron, upkeep.time_zone, now)
        if following is None:
            break
        gaps.append(following - now)
        now = following
    shortest = min(gaps[1:], default=timedelta(days=31))
    if shortest <= timedelta(days=2):
        return "day"
    return "week" if shortest <= timedelta(days=10) else "month"


def destination(to: str, made: Report) -> Path:
    """The file, with the environment and the period in its name where that asks for them."""
    filled = to.replace("{environment}", made.frame.environment).replace("{period}", made.frame.period)
    return Path(filled)


def rendered(reports: Mapping[str, Report | str], path: Path) -> str:
    """As the name of a file asks for it: HTML, JSON, or text."""
    if path.suffix == ".json":
        return json.dumps(document(reports), indent=2) + "\n"
    if path.suffix in (".html", ".htm"):
        return page(reports)
    text = []
    for name, one in reports.items():
        if isinstance(one, str):
            text.append(f"{name}: {one}")
        else:
            text += [visible(line.text) for line in lines(one, WIDTH)]
    return "\n".join(text) + "\n"


def cleaned(made: Report) -> Report:
    """Without secrets: whatever a database told may hold some."""
    return replace(
        made,
        queues=_each(made.queues, "queue", "table"),
        repairs=_each(made.repairs, "queue", "check", "event", "reason"),
        errors=_each(made.errors, "pattern", "example_id"),
        worst=_each(made.worst, "queue"),
        growth=_each(made.growth, "queue", "table"),
        recommendations=_each(made.recommendations, "queue", "text", "reason"),
        notes=tuple(_clean(note) for note in made.notes),
    )


def _each(several: tuple[P, ...], *names: str) -> tuple[P, ...]:
    """Parts of a report with some of their texts cleaned."""

    def cleaned_(one: P) -> P:
        texts: dict[str, Any] = {name: _clean(getattr(one, name)) for name in names}
        return replace(one, **texts)

    return tuple(map(cleaned_, several))


def _clean(text: str) -> str:
    return " ".join(visible(str(redact(text, limit=LONGEST))).split())


async def _send(configuration: Configuration, channel: str, made: Report) -> None:
    """Tell a channel in a few words.

    Raises:
        ChannelError, UnavailableError: it was not taken.
    """
    known = {one.name: one for one in configuration.channels}
    if channel not in known:
        raise ChannelError(f"there is no channel {channel}: set QUEUEWARDEN_ALERT__{channel.upper()}__URL")
    from queuewarden.adapters.notify.courier import Courier

    title, body = message(made)
    courier, config = Courier(), known[channel]
    try:
        await courier.send(
            config.url.read(), title=title, body=body, kind="info", timeout=config.timeout.total_seconds()
        )
    finally:
        await courier.close()
