"""What others count of the daemon, as numbers for Prometheus: alerts, messages to people, the API."""

from __future__ import annotations

import platform
from itertools import product
from typing import TYPE_CHECKING

from queuewarden import __version__
from queuewarden.engine.alerting.rules import SEVERITIES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from queuewarden.adapters.metrics.instruments import Instruments, Labels
    from queuewarden.application.alerting.delivery import ChannelState
    from queuewarden.application.alerting.own_readings import OwnReadings
    from queuewarden.application.http.counts import Counts
    from queuewarden.engine.alerting.notices import Alert

REFUSED = (401, 403, 429)
"""Answers of the API that are counted by themselves."""


def alert_counts(alerts: Iterable[Alert], environments: Iterable[str]) -> dict[Labels, float | None]:
    """How many fire, by environment and severity; those of the daemon itself under no environment."""
    counts: dict[Labels, float | None] = dict.fromkeys(product(("", *environments), SEVERITIES), 0)
    for alert in alerts:
        labels = alert.about.environment, alert.severity
        counts[labels] = (counts.get(labels) or 0) + 1
    return counts


def show(instruments: Instruments, own: OwnReadings) -> None:
    """Take in what the daemon knows of itself."""
    instruments.set("build_info", {(__version__, platform.python_version()): 1})
    instruments.set("config_reload_successful", {(): not own.config_rejected})
    if own.dispatch is not None:
        _show_channels(instruments, own.dispatch.states())
    if own.http is not None:
        _show_http(instruments, own.http)


def _show_channels(instruments: Instruments, channels: Mapping[str, ChannelState]) -> None:
    instruments.set("notices_queued", {(name,): state.queued for name, state in channels.items()})
    instruments.set("channel_failing", {(name,): not state.ok for name, state in channels.items()})
    for name, state in channels.items():
        instruments.count("notices_total", (name, "sent"), state.sent)
        instruments.count("notices_total", (name, "failed"), state.failed)
        instruments.count("notices_total", (name, "dropped"), state.dropped)
        instruments.count("notices_total", (name, "swallowed"), state.swallowed)


def _show_http(instruments: Instruments, http: Counts) -> None:
    for labels, answers in http.answers.items():
        instruments.count("http_requests_total", labels, answers)
    for route, seconds in http.seconds.items():
        instruments.count("http_request_seconds_total", (route,), seconds)
    for status in REFUSED:
        instruments.count("http_refused_total", (str(status),), http.refused[status])
