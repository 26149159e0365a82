"""The text of messages: what people read of alerts, wherever it is sent. Plain text, no markup."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from queuewarden.engine.alerting.notices import Message
from queuewarden.engine.alerting.rules import SEVERITIES
from queuewarden.engine.alerting.wording import shown
from queuewarden.redact import redact, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from queuewarden.adapters.notify.courier import Kind
    from queuewarden.engine.alerting.notices import Alert, AlertNotice

LONGEST_TITLE = 160
LONGEST_LINE = 500

BLOCKS = 20
"""Alerts that one message describes; of more, it gives the number."""

_OVER = frozenset({"resolved", "acknowledged"})


def compose(notices: Sequence[AlertNotice], wall: Callable[[float], datetime], swallowed: int = 0) -> Message:
    """One message of all these notices, of which there is at least one.

    Args:
        notices: the loudest come first in the text, then in this order.
        wall: makes a monotonic moment a person's time.
        swallowed: notices that were held back since the last message.
    """
    ordered = sorted(notices, key=_loudness)
    blocks = [_block(notice, wall) for notice in ordered[:BLOCKS]]
    if len(ordered) > BLOCKS:
        blocks.append(f"and {len(ordered) - BLOCKS} more: queuewarden alerts list")
    if swallowed:
        blocks.append(
            f"{swallowed} {'notice was' if swallowed == 1 else 'notices were'} not sent here since the last"
            " message, for its hourly limit: queuewarden alerts list"
        )
    severity = max(notices, key=lambda notice: SEVERITIES.index(notice.alert.severity)).alert.severity
    return Message(severity, _title(ordered), "\n\n".join(blocks), tuple(ordered[:BLOCKS]), swallowed)


def kind(message: Message) -> Kind:
    """How a message is coloured: by the loudest of what is not over, else as good news."""
    lasting = [notice for notice in message.notices if notice.change not in _OVER]
    if not lasting:
        resolved = any(notice.change == "resolved" for notice in message.notices)
        return "success" if resolved else "info"
    if any(notice.change == "escalated" or notice.alert.severity == "critical" for notice in lasting):
        return "failure"
    return "warning" if any(notice.alert.severity == "warning" for notice in lasting) else "info"


def _loudness(notice: AlertNotice) -> tuple[bool, bool, int]:
    severity = SEVERITIES.index(notice.alert.severity)
    return notice.change in _OVER, notice.change != "escalated", -severity


def _title(ordered: Sequence[AlertNotice]) -> str:
    """Such as ``[critical] prod/mail: 120 jobs wait``, or ``[critical] prod: 3 alerts, 1 resolved``."""
    first = ordered[0]
    if len(ordered) == 1:
        return _cut(f"[{_word(first)}] {_named(first.alert)}", LONGEST_TITLE)
    over = Counter(notice.change for notice in ordered if notice.change in _OVER)
    lasting = len(ordered) - over.total()
    parts = [f"{lasting} {'alert' if lasting == 1 else 'alerts'}"] if lasting else []
    parts += [f"{number} {change}" for change, number in over.items()]
    if not lasting and len(over) == 1:
        parts = [f"{len(ordered)} alerts"]
    environments = {notice.alert.about.environment for notice in ordered}
    place = f"{_line(environments.pop())}: " if len(environments) == 1 and "" not in environments else ""
    return _cut(f"[{_word(first)}] {place}{', '.join(parts)}", LONGEST_TITLE)


def _word(notice: AlertNotice) -> str:
    if notice.change == "reminded":
        return f"still {notice.alert.severity}"
    return notice.alert.severity if notice.change == "fired" else notice.change


def _named(alert: Alert) -> str:
    """The summary, behind the place that it does not name itself."""
    place = "/".join(filter(None, (alert.about.environment, alert.about.queue)))
    summary = _line(alert.summary)
    unnamed = [
        part
        for part in (alert.about.environment, alert.about.queue)
        if part and not re.search(rf"(?<!\w){re.escape(_line(part))}(?!\w)", summary)
    ]
    return f"{_line(place)}: {summary}" if unnamed else summary


def _block(notice: AlertNotice, wall: Callable[[float], datetime]) -> str:
    alert = notice.alert
    lines = [f"{_word(notice).upper()} {_named(alert)}"]
    if notice.change == "resolved":
        end = f", until {_time(wall(alert.resolved))}" if alert.resolved is not None else ""
        lines.append(f"Since {_time(wall(alert.since))}{end}")
    else:
        lines.append(f"Since {_time(wall(alert.since))}")
    lines.append(f"Value: {shown('', alert.value)}, threshold: {shown('', alert.threshold)}")
    if alert.hint and notice.change not in _OVER:
        lines.append(f"What to do: {_line(alert.hint)}")
    if notice.times:
        lines.append(f"It came and went {notice.times} {'time' if notice.times == 1 else 'times'} meanwhile")
    if alert.acked_by is not None:
        lines.append(f"Acknowledged by {_line(alert.acked_by)}")
    lines.append(f"Rule: {_line(alert.rule)}, id: {_line(alert.id)}")
    if alert.acked_by is None and notice.change not in _OVER:
        lines.append(f"Acknowledge: queuewarden alerts ack {_line(alert.id)}")
    return "\n".join(lines)


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S %Z}".rstrip()


def _line(text: str) -> str:
    """On one line, without secrets or what a receiver would obey."""
    return _cut(visible(str(redact(text))), LONGEST_LINE)


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"
